//! Revocations between gateways through a real Redis, and from FusionAuth's log of events.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate::demo::{MintRequest, TENANT_ID};

use crate::revocation::{deactivated, issued, now};
use crate::support::{Gateway, RedisServer, Setup, Upstream, answer, event, mint, tell, wait_for};

const USER: &str = "00000000-0000-0000-0000-111111111111";

fn gateway(upstream: &Upstream, redis: &RedisServer, keys: &str) -> Gateway {
    let identity = format!("  revocation: {{ webhooks: {{ signature: {{}} }}{keys} }}\n");
    Setup::to(upstream.address()).identity(&identity).with(&redis.section()).start()
}

fn feed(gateway: &Gateway) -> String {
    gateway.admin("/status").unwrap().json()["revocations"]["feed"]["state"].as_str().unwrap_or("none").to_owned()
}

fn follows(gateway: &Gateway) {
    wait_for("the feed", || feed(gateway) == "following");
}

fn token_of(user: &str) -> String {
    mint(&issued(60).subject(user))
}

fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.get_with("/", token).status
}

#[test]
fn a_revocation_reaches_the_other_gateway() {
    let (upstream, redis) = (Upstream::named("main"), RedisServer::start());
    let (one, other) = (gateway(&upstream, &redis, ""), gateway(&upstream, &redis, ""));
    follows(&one);
    follows(&other);
    let mut times = Vec::new();
    for number in 0..10 {
        let token = token_of(&format!("user-{number}"));
        assert_eq!(status(&other, &token), 200);
        assert_eq!(tell(&one, &deactivated(&format!("user-{number}"))).0, 200);
        let began = Instant::now();
        wait_for("the other gateway", || status(&other, &token) == 401);
        times.push(began.elapsed());
        assert_eq!(status(&one, &token), 401);
    }
    times.sort();
    eprintln!("after FusionAuth's 200 the other gateway refused within {:?}, in the median {:?}", times[9], times[5]);
    assert!(times[9] < Duration::from_secs(2), "{times:?}");
    other.expect_metric("tollgate_revocation_feed_entries_total{direction=\"received\"}", 10.0);
    one.expect_metric("tollgate_revocation_feed_entries_total{direction=\"sent\"}", 10.0);
    one.expect_metric("tollgate_revocation_feed_up", 1.0);
    assert!(one.metric("tollgate_revocation_feed_age_seconds") < 5.0);
    // What Redis has names nobody.
    let held = redis.ask("ZRANGE tollgate:revocations 0 -1 WITHSCORES").unwrap();
    assert!(held.starts_with("*20") && !held.contains("user-"), "{held}");
    assert!(!redis.ask("PTTL tollgate:revocations").unwrap().starts_with(":-"), "and it ends by itself");
}

#[test]
fn a_gateway_that_was_down_and_one_that_is_new_catch_up() {
    let (upstream, redis) = (Upstream::named("main"), RedisServer::start());
    let (one, mut other) = (gateway(&upstream, &redis, ""), gateway(&upstream, &redis, ""));
    follows(&other);
    other.signal("KILL");
    other.wait();
    for number in 0..200 {
        assert_eq!(tell(&one, &deactivated(&format!("user-{number}"))).0, 200);
    }
    other.restart();
    follows(&other);
    let new = gateway(&upstream, &redis, "");
    follows(&new);
    for number in [0, 199] {
        let token = token_of(&format!("user-{number}"));
        assert_eq!([status(&other, &token), status(&new, &token)], [401, 401]);
    }
    assert_eq!(other.metric("tollgate_revoked_entries"), 200.0);
}

#[test]
fn a_redis_that_was_away_and_forgot_everything_is_filled_again() {
    let (upstream, mut redis) = (Upstream::named("main"), RedisServer::start());
    let (one, other) = (gateway(&upstream, &redis, ""), gateway(&upstream, &redis, ""));
    follows(&one);
    follows(&other);
    assert_eq!(tell(&one, &deactivated("before")).0, 200);
    wait_for("the other gateway", || status(&other, &token_of("before")) == 401);
    redis.stop();
    let began = Instant::now();
    assert_eq!(tell(&one, &deactivated("meanwhile")).0, 200, "FusionAuth does not wait for Redis");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!([status(&one, &token_of("meanwhile")), status(&other, &token_of("meanwhile"))], [401, 200]);
    redis.resume();
    wait_for("what was missed", || status(&other, &token_of("meanwhile")) == 401);
    let third = gateway(&upstream, &redis, "");
    follows(&third);
    assert_eq!([status(&third, &token_of("before")), status(&third, &token_of("meanwhile"))], [401, 401]);
}

#[test]
fn whoever_hears_nothing_says_so_and_does_what_the_operator_wants() {
    let (upstream, mut redis) = (Upstream::named("main"), RedisServer::start());
    let allowing = gateway(&upstream, &redis, ", stale_after: 2s");
    let denying = gateway(&upstream, &redis, ", stale_after: 2s, on_stale: deny");
    follows(&allowing);
    follows(&denying);
    let token = token_of(USER);
    wait_for("the first token", || status(&denying, &token) == 200);
    redis.stop();
    wait_for("silence", || feed(&allowing) == "stale" && feed(&denying) == "stale");
    assert_eq!(status(&allowing, &token), 200);
    let reply = denying.get_with("/", &token);
    assert_eq!((reply.status, reply.reason().as_str()), (503, "identity_unavailable"));
    assert_eq!(allowing.metric("tollgate_revocation_feed_up"), 0.0);
    assert!(allowing.metric("tollgate_revocation_feed_age_seconds") >= 2.0);
    // What is known to be revoked stays refused, and is not called a failure of ours.
    assert_eq!(tell(&denying, &deactivated(USER)).0, 200);
    assert_eq!(status(&denying, &token), 401);
    redis.resume();
    wait_for("recovery", || status(&denying, &token_of("someone")) == 200);
    assert_eq!(feed(&denying), "following");
    for gateway in [&allowing, &denying] {
        assert_eq!(gateway.log().matches("revocations of other gateways may be missing").count(), 1);
        wait_for("a word", || gateway.log().contains("revocations of other gateways are heard again"));
    }
}

#[test]
fn a_gateway_that_must_know_lets_nobody_in_before_it_does() {
    let (upstream, mut redis) = (Upstream::named("main"), RedisServer::start());
    redis.stop();
    let gateway = gateway(&upstream, &redis, ", on_stale: deny");
    assert_eq!(status(&gateway, &token_of(USER)), 503);
    redis.resume();
    wait_for("knowledge", || status(&gateway, &token_of(USER)) == 200);
}

/// FusionAuth's `/api/system/webhook-event-log/search`, as its API describes it.
struct Log {
    upstream: Upstream,
    entries: Arc<Mutex<Vec<Value>>>,
}

impl Log {
    const KEY: &str = "an-api-key-of-fusionauth";

    fn start() -> Self {
        let entries: Arc<Mutex<Vec<Value>>> = Arc::default();
        let theirs = Arc::clone(&entries);
        let upstream = Upstream::answering(move |request| {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            if !head.starts_with("POST /api/system/webhook-event-log/search HTTP/1.1\r\n") {
                return Some(answer("404 Not Found", "", "{}"));
            }
            if !head.to_lowercase().contains(&format!("authorization: {}\r\n", Self::KEY)) {
                return Some(answer("401 Unauthorized", "", ""));
            }
            let search = serde_json::from_str::<Value>(body).unwrap()["search"].clone();
            assert_eq!(search["orderBy"], "insertInstant ASC");
            let number = |name: &str| search[name].as_u64().unwrap();
            let entries = theirs.lock().unwrap();
            let within = |entry: &&Value| (number("start")..number("end")).contains(&entry["insertInstant"].as_u64().unwrap());
            let found: Vec<&Value> = entries.iter().filter(within).collect();
            let page: Vec<&&Value> =
                found.iter().skip(number("startRow") as usize).take(number("numberOfResults") as usize).collect();
            Some(answer(
                "200 OK",
                "Content-Type: application/json\r\n",
                &json!({ "total": found.len(), "webhookEventLogs": page }).to_string(),
            ))
        });
        Self { upstream, entries }
    }

    fn add(&self, event: Value) {
        let entry = json!({
            "id": "e", "eventResult": "Failed", "eventType": event["event"]["type"], "insertInstant": event["event"]["createInstant"],
            "lastAttemptInstant": 0, "sequence": 1, "attempts": [], "event": event,
        });
        self.entries.lock().unwrap().push(entry);
    }

    fn gateway(&self, upstream: &Upstream, key: &str) -> Gateway {
        let issuer = format!("http://{}", self.upstream.address());
        let keys = format!("  revocation: {{ event_log: {{ issuer: fusionauth, api_key: {key}, every: 1s }} }}\n");
        let setup = Setup::to(upstream.address()).identity(&keys);
        let other = format!("    - {{ name: fusionauth, url: \"{issuer}\", issuer: log.example, audiences: [app] }}\n");
        setup.issuers(&other).start_unready()
    }
}

#[test]
fn events_that_never_arrived_are_found_in_fusionauths_log() {
    let (upstream, log) = (Upstream::named("main"), Log::start());
    // More than a page, one that is too old, one of another kind, and something that is no event at all.
    for number in 0..250 {
        log.add(deactivated(&format!("user-{number}")));
    }
    let mut old = deactivated("old");
    old["event"]["createInstant"] = ((now() - 90_000) * 1000).into();
    log.add(old);
    log.add(event("user.login.success", json!({ "user": { "id": "innocent" } })));
    log.entries.lock().unwrap().push(json!({ "insertInstant": now() * 1000, "event": { "event": { "type": "user.delete" } } }));
    let mut gateway = log.gateway(&upstream, Log::KEY);
    let revoked = |gateway: &Gateway, number: f64| wait_for("the log", || gateway.metric("tollgate_revoked_entries") == number);
    revoked(&gateway, 250.0);
    assert_eq!([status(&gateway, &token_of("user-249")), status(&gateway, &token_of("innocent"))], [401, 200]);
    gateway.expect_metric("tollgate_revocations_total{kind=\"user\",source=\"event_log\"}", 250.0);
    // While it runs, and while it is down; the second time only what is new is asked for.
    log.add(deactivated("later"));
    revoked(&gateway, 251.0);
    gateway.signal("KILL");
    gateway.wait();
    let mut inner = deactivated("while-down");
    inner = inner["event"].take();
    log.entries.lock().unwrap().push(json!({ "insertInstant": now() * 1000, "event": inner }));
    gateway.restart_unready();
    revoked(&gateway, 252.0);
    assert_eq!(status(&gateway, &token_of("while-down")), 401);
    let starts: Vec<u64> = log
        .upstream
        .seen()
        .iter()
        .filter_map(|request| {
            let body: Value = serde_json::from_str(request.split_once("\r\n\r\n")?.1).ok()?;
            body["search"]["start"].as_u64()
        })
        .collect();
    assert!(starts[0] < (now() - 86_000) * 1000 && *starts.last().unwrap() > (now() - 600) * 1000, "{starts:?}");
    assert!(gateway.admin("/status").unwrap().json()["revocations"]["event_log"]["read_at"].is_u64());
}

#[test]
fn an_api_key_that_is_not_accepted_is_said_without_saying_it() {
    let (upstream, log) = (Upstream::named("main"), Log::start());
    let gateway = log.gateway(&upstream, "another-key-of-somebody");
    let status = || gateway.admin("/status").unwrap().json()["revocations"]["event_log"]["last_error"].to_string();
    wait_for("the refusal", || status().contains("API key is not accepted"));
    assert!(!gateway.log().contains("another-key"));
    let token = mint(&MintRequest::of("acme", "pro").claim("tid", TENANT_ID));
    assert_eq!(gateway.get_with("/", &token).status, 200, "and nobody is kept out for it");
}
