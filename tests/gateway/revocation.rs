//! Tokens that are taken back before they expire: what FusionAuth says by webhook holds from the next request on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tollgate::demo::{APPLICATION_ID, Issuer, MintRequest, TENANT_ID};

use crate::support::{
    Browser, Gateway, Provider, Setup, Upstream, event, login_setup, mint, post, signature_of, signed, tell, wait_for,
};

const USER: &str = "00000000-0000-0000-0000-111111111111";
const OTHER: &str = "00000000-0000-0000-0000-222222222222";
const SIGNED: &str = "  revocation: { webhooks: { signature: {} } }\n";

fn setup(upstream: &Upstream) -> Setup {
    Setup::to(upstream.address()).identity(SIGNED)
}

/// A token of a user that was issued some seconds ago.
pub(crate) fn issued(seconds_ago: u64) -> MintRequest {
    MintRequest::of("acme", "pro").claim("iat", now() - seconds_ago)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn deactivated(user: &str) -> Value {
    event("user.deactivate", json!({ "user": { "id": user, "active": false, "tenantId": TENANT_ID } }))
}

fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.get_with("/", token).status
}

const APPLIED: (u16, &str) = (200, "applied");

fn assert_told(gateway: &Gateway, event: &Value, expected: (u16, &str)) {
    let (status, word) = tell(gateway, event);
    assert_eq!((status, word.as_str()), expected, "{event}");
}

#[test]
fn a22_a_deactivated_users_tokens_are_worth_nothing_from_the_next_request_on() {
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    let (token, others) = (mint(&issued(60)), mint(&issued(60).subject(OTHER)));
    assert_eq!([status(&gateway, &token), status(&gateway, &others)], [200, 200], "both are verified and remembered now");
    let began = Instant::now();
    assert_told(&gateway, &deactivated(USER), APPLIED);
    assert!(began.elapsed() < Duration::from_secs(1), "w4: FusionAuth waited {:?}", began.elapsed());
    let reply = gateway.get_with("/", &token);
    assert_eq!((reply.status, reply.reason().as_str()), (401, "invalid_token"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    assert_eq!(status(&gateway, &others), 200);
    // A token that nobody has seen yet, and one that is issued later: `iat` decides, however long they live.
    assert_eq!(status(&gateway, &mint(&issued(30))), 401);
    let later = MintRequest::of("acme", "pro").claim("iat", now() + 2).expires_in(Duration::from_secs(20));
    assert_eq!(status(&gateway, &mint(&later)), 200);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"revoked\"}", 2.0);
    gateway.expect_metric("tollgate_revocations_total{kind=\"user\",source=\"webhook\"}", 1.0);
    gateway.expect_metric("tollgate_webhook_events_total{result=\"applied\"}", 1.0);
    gateway.expect_metric("tollgate_revoked_entries", 1.0);
    let said = gateway.admin("/status").unwrap().json();
    assert_eq!((&said["revocations"]["entries"], &said["revocations"]["last"]["source"]), (&json!(1), &json!("webhook")));
}

#[test]
fn each_shape_of_an_event_hits_what_it_names_and_nothing_else() {
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    let revoke = |members| event("jwt.refresh-token.revoke", members);
    // One device, while the others stay.
    let (one, two) = (mint(&issued(60).claim("sid", "s-1")), mint(&issued(60).claim("sid", "s-2")));
    let token = json!({ "id": "s-1", "applicationId": APPLICATION_ID, "userId": USER, "tenantId": TENANT_ID });
    let members = json!({ "userId": USER, "applicationId": APPLICATION_ID, "refreshToken": token });
    assert_told(&gateway, &revoke(members), APPLIED);
    assert_eq!([status(&gateway, &one), status(&gateway, &two)], [401, 200]);
    // A user in another application, then in this one.
    let elsewhere = json!({ "userId": USER, "applicationId": "00000000-0000-0000-0000-00000000000a" });
    assert_told(&gateway, &revoke(elsewhere), APPLIED);
    assert_eq!(status(&gateway, &two), 200);
    assert_told(&gateway, &revoke(json!({ "userId": USER, "applicationId": APPLICATION_ID })), APPLIED);
    assert_eq!([status(&gateway, &two), status(&gateway, &mint(&issued(60).subject(OTHER)))], [401, 200]);
    // A whole application, whose event names no user.
    let members = json!({ "applicationId": APPLICATION_ID, "applicationTimeToLiveInSeconds": { APPLICATION_ID: 600 } });
    assert_told(&gateway, &revoke(members), APPLIED);
    assert_eq!(status(&gateway, &mint(&issued(60).subject(OTHER))), 401);
    // An entity with the id of a user that was revoked.
    let entity = issued(60).claim("permissions", json!({ APPLICATION_ID: ["read"] }));
    let entity = ["applicationId", "roles", "auth_time", "authenticationType", "sid"]
        .iter()
        .fold(entity, |request, claim| request.claim(claim, Value::Null));
    assert_eq!(status(&gateway, &mint(&entity)), 200);
    assert_told(&gateway, &event("entity.delete", json!({ "entity": { "id": USER } })), APPLIED);
    assert_eq!(status(&gateway, &mint(&entity)), 401);
}

#[test]
fn new_roles_take_effect_with_the_next_token_and_the_old_one_is_refused() {
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    let token = mint(&issued(60).role("admin"));
    let update = |before: &[&str], after: &[&str]| {
        let registration = |roles: &[&str]| json!({ "applicationId": APPLICATION_ID, "id": "r", "roles": roles });
        let members = json!({
            "applicationId": APPLICATION_ID, "user": { "id": USER }, "original": registration(before), "registration": registration(after),
        });
        event("user.registration.update", members)
    };
    assert_told(&gateway, &update(&["admin"], &["admin"]), (200, "ignored"));
    assert_eq!(status(&gateway, &token), 200);
    assert_told(&gateway, &update(&["admin"], &[]), APPLIED);
    assert_eq!(status(&gateway, &token), 401);
}

#[test]
fn d19_passwords_and_deletions_count_and_other_events_are_only_acknowledged() {
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    for kind in
        ["user.reactivate", "user.login.success", "user.create", "user.email.update", "audit-log.create", "test", "made.up"]
    {
        assert_told(&gateway, &event(kind, json!({ "user": { "id": USER } })), (200, "ignored"));
    }
    for (number, kind) in ["user.password.update", "user.delete", "user.password.reset.success"].into_iter().enumerate() {
        let user = format!("user-{number}");
        let token = mint(&issued(60).subject(&user));
        assert_eq!(status(&gateway, &token), 200);
        assert_told(&gateway, &event(kind, json!({ "user": { "id": user } })), APPLIED);
        assert_eq!(status(&gateway, &token), 401, "{kind}");
    }
    gateway.expect_metric("tollgate_webhook_events_total{result=\"ignored\"}", 7.0);
}

#[test]
fn d19_the_session_of_a_deactivated_user_ends_with_his_tokens() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup(&provider, upstream.address()).identity(SIGNED).start();
    let log_in = |user: &str| {
        let mut browser = Browser::new();
        provider.person(issued(60).subject(user));
        browser.log_in(&gateway, &provider, "/");
        assert_eq!(browser.fetch(&gateway, "/api").status, 200, "{user}");
        browser
    };
    let (mut ann, mut bob) = (log_in("ann"), log_in("bob"));
    // FusionAuth revokes the refresh token of whom it deactivates. Bob's is gone, too, but nobody asks for it.
    provider.forget();
    assert_told(&gateway, &deactivated("ann"), APPLIED);
    assert_eq!(ann.fetch(&gateway, "/api").status, 401);
    assert!(!ann.is_logged_in());
    assert_eq!(ann.open(&gateway, "/page").status, 302, "to the login page, where FusionAuth says no");
    assert_eq!(bob.fetch(&gateway, "/api").status, 200);
}

/// Everything that must not count, each with the rest of it right: 401, and nothing is applied.
#[test]
fn w1_what_is_not_fusionauths_is_401_and_changes_nothing() {
    const JSON: &str = "Content-Type: application/json\r\n";
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    let body = deactivated(USER).to_string().into_bytes();
    let header = |token: String| format!("{JSON}X-FusionAuth-Signature-JWT: {token}\r\n");
    let with = |name: &str, value: Value| header(mint(&signature_of(&body).header(name, value)));
    let right = format!("{JSON}{}", signed(&body));
    let stranger = Issuer::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let good = parts(&mint(&signature_of(&body)));
    let none = { parts(&mint(&signature_of(&body).header("alg", "none")))[..2].join(".") };
    let pretty = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&body).unwrap()).unwrap();
    let mut huge = deactivated(USER);
    huge["event"]["user"]["data"] = "x".repeat(10 << 20).into();
    let huge = huge.to_string().into_bytes();
    let zipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, &body).unwrap();
        encoder.finish().unwrap()
    };
    let access = mint(&issued(60).claim("request_body_sha256", signature_of(&body).claims["request_body_sha256"].clone()));
    let plain = signed(&body);
    for (name, headers, body) in [
        ("unsigned", JSON.to_owned(), &body),
        ("an empty signature", header(String::new()), &body),
        ("nonsense", header("nonsense".into()), &body),
        ("a stranger's key", header(stranger.mint(&signature_of(&body)).unwrap()), &body),
        (
            "a stranger's key under our kid",
            {
                let kid = serde_json::from_slice::<Value>(&base64(&good[0])).unwrap()["kid"].clone();
                header(stranger.mint(&signature_of(&body).header("kid", kid)).unwrap())
            },
            &body,
        ),
        ("alg none", header(format!("{none}.")), &body),
        ("alg none with a signature", with("alg", "none".into()), &body),
        ("HS256 with the public key", with("alg", "HS256".into()), &body),
        ("another algorithm of the same family", with("alg", "RS512".into()), &body),
        ("a critical extension", with("crit", json!(["x"])), &body),
        ("a cut signature", header(format!("{}.{}.{}", good[0], good[1], &good[2][..20])), &body),
        ("the hash of another body", format!("{JSON}{}", signed(b"{}")), &body),
        ("a re-encoded body", right.clone(), &pretty),
        ("an access token with the claim", header(access), &body),
        ("an access token", header(mint(&issued(60))), &body),
        ("two signatures", format!("{right}{plain}"), &body),
        ("gzip, signed as sent", format!("{JSON}Content-Encoding: gzip\r\n{}", signed(&zipped)), &zipped),
        ("gzip, signed as meant", format!("{JSON}Content-Encoding: gzip\r\n{plain}"), &zipped),
        ("10 MB", format!("{JSON}{}", signed(&huge)), &huge),
        ("text/plain", format!("Content-Type: text/plain\r\n{plain}"), &body),
        ("no content type", plain.clone(), &body),
        ("a form", format!("Content-Type: application/x-www-form-urlencoded\r\n{plain}"), &body),
        ("the signature as a bearer token", format!("{JSON}Authorization: Bearer {}\r\n", good.join(".")), &body),
    ] {
        let reply = post(&gateway, &headers, body);
        assert_eq!(reply.status, 401, "{name}");
        assert!(reply.body.contains("refused") && !reply.body.contains("signature"), "{name}: {}", reply.body);
    }
    assert_eq!(status(&gateway, &mint(&issued(60))), 200, "nothing was applied");
    assert_eq!(gateway.metric("tollgate_revoked_entries"), 0.0);
    assert_eq!(post(&gateway, &right, &body).status, 200, "and the right one is");
    assert_eq!(status(&gateway, &mint(&issued(60))), 401);
    let get = gateway.get(crate::support::EVENTS);
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(upstream.seen().iter().filter(|request| request.contains("fusionauth-events")).count(), 0);
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[test]
fn w2_replays_late_events_and_other_tenants_change_nothing() {
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    let first = deactivated(USER);
    assert_told(&gateway, &first, APPLIED);
    assert_told(&gateway, &first, (200, "known"));
    // The same under a new id, and an older one that comes later: who logged in between stays in.
    let at = first["event"]["createInstant"].as_u64().unwrap();
    for instant in [at, at - 30_000] {
        let mut again = deactivated(USER);
        again["event"]["createInstant"] = instant.into();
        assert_told(&gateway, &again, (200, "known"));
    }
    let later = mint(&MintRequest::of("acme", "pro").claim("iat", at / 1000 + 1));
    assert_eq!(status(&gateway, &later), 200);
    // Older than any token can be.
    let mut stale = deactivated(OTHER);
    stale["event"]["createInstant"] = (at - 25 * 3_600_000).into();
    assert_told(&gateway, &stale, (200, "stale"));
    // From a clock that is ahead: applied, but nobody is locked out for longer than until now.
    let mut ahead = deactivated(OTHER);
    ahead["event"]["createInstant"] = (at + 3_600_000).into();
    assert_told(&gateway, &ahead, APPLIED);
    assert_eq!(status(&gateway, &mint(&issued(60).subject(OTHER))), 401);
    let soon = MintRequest::of("acme", "pro").subject(OTHER).claim("iat", now() + 2);
    assert_eq!(status(&gateway, &mint(&soon)), 200);
    // A tenant hits its own users only.
    let mut foreign = deactivated("third");
    foreign["event"]["tenantId"] = "00000000-0000-0000-0000-00000000ffff".into();
    assert_told(&gateway, &foreign, APPLIED);
    assert_eq!(status(&gateway, &mint(&issued(60).subject("third"))), 200);
    assert_eq!(gateway.metric("tollgate_revoked_entries"), 3.0);
}

#[test]
fn w2_a_tenant_that_is_none_of_ours_is_not_even_taken_in() {
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    gateway.reload(|text| text.replace("      cooldown: 1s\n", &format!("      cooldown: 1s\n      tenant: {TENANT_ID}\n")));
    let mut foreign = deactivated(USER);
    foreign["event"]["tenantId"] = "00000000-0000-0000-0000-00000000ffff".into();
    assert_told(&gateway, &foreign, (200, "other_tenant"));
    assert_eq!(gateway.metric("tollgate_revoked_entries"), 0.0);
    // And one that does not say whose it is can only be ours.
    let mut nobodys = deactivated(USER);
    nobodys["event"]["tenantId"] = Value::Null;
    nobodys["event"]["user"]["tenantId"] = Value::Null;
    assert_told(&gateway, &nobodys, APPLIED);
    assert_eq!(status(&gateway, &mint(&issued(60))), 401);
}

#[test]
fn w3_a_new_key_of_the_webhook_works_and_without_keys_nothing_does() {
    let upstream = Upstream::named("main");
    let issuer = Issuer::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let gateway = setup(&upstream).issuer(&issuer.url()).start();
    let tell = |event: &Value| {
        let body = event.to_string().into_bytes();
        let signature = issuer.mint(&signature_of(&body)).unwrap();
        post(&gateway, &format!("Content-Type: application/json\r\nX-FusionAuth-Signature-JWT: {signature}\r\n"), &body)
    };
    assert_eq!(tell(&deactivated("a")).status, 200);
    let again = deactivated("b");
    issuer.rotate_key().unwrap();
    // The cooldown after the first fetch is a second here.
    wait_for("the new key", || tell(&again).status == 200);
    issuer.forget_old_keys();

    let without = setup(&upstream).issuer("http://127.0.0.1:9").start_unready();
    let body = deactivated(USER).to_string().into_bytes();
    let reply = post(&without, &format!("Content-Type: application/json\r\n{}", signed(&body)), &body);
    assert_eq!((reply.status, reply.json()["result"].as_str()), (503, Some("unavailable")));
    assert_eq!(without.metric("tollgate_revoked_entries"), 0.0);
}

#[test]
fn keys_that_changed_are_fetched_at_once_and_withdrawn_ones_die() {
    let upstream = Upstream::named("main");
    let issuer = Issuer::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let gateway = setup(&upstream).issuer(&issuer.url()).start();
    let stolen = issuer.mint(&issued(60)).unwrap();
    assert_eq!(status(&gateway, &stolen), 200);
    issuer.rotate_key().unwrap();
    let body = event("jwt.public-key.update", json!({ "applicationIds": [APPLICATION_ID] })).to_string().into_bytes();
    let signature = issuer.mint(&signature_of(&body)).unwrap();
    let headers = format!("Content-Type: application/json\r\nX-FusionAuth-Signature-JWT: {signature}\r\n");
    wait_for("the key that signed this", || post(&gateway, &headers, &body).status == 200);
    issuer.forget_old_keys();
    let before = issuer.jwks_requests();
    let body = event("jwt.public-key.update", json!({})).to_string().into_bytes();
    let signature = issuer.mint(&signature_of(&body)).unwrap();
    let headers = format!("Content-Type: application/json\r\nX-FusionAuth-Signature-JWT: {signature}\r\n");
    assert_eq!(post(&gateway, &headers, &body).status, 200);
    wait_for("the end of the old key, long before the keys are due", || status(&gateway, &stolen) == 401);
    let fetched = issuer.jwks_requests();
    assert!(fetched > before);
    // The same event again asks for nothing.
    assert_eq!(post(&gateway, &headers, &body).json()["result"], "known");
}

#[test]
fn events_may_be_shown_by_a_secret_or_a_password_instead() {
    let upstream = Upstream::named("main");
    let section = "  revocation:\n    webhooks:\n      basic: { username: hook, password: \"a-long-password-1\" }\n      header: { name: X-API-Key, secret: \"a-long-secret-of-ours\" }\n";
    let gateway = Setup::to(upstream.address()).identity(section).start();
    let body = deactivated(USER).to_string().into_bytes();
    let headers = |basic: &str, key: &str| {
        use base64::Engine;
        let basic = base64::prelude::BASE64_STANDARD.encode(basic);
        format!("Content-Type: application/json\r\nAuthorization: Basic {basic}\r\nX-API-Key: {key}\r\n")
    };
    for (basic, key) in [
        ("hook:a-long-password-1", "a-long-secret-of-hers"),
        ("hook:a-long-password-2", "a-long-secret-of-ours"),
        ("look:a-long-password-1", "a-long-secret-of-ours"),
        ("hook:", ""),
    ] {
        assert_eq!(post(&gateway, &headers(basic, key), &body).status, 401, "{basic} {key}");
    }
    assert_eq!(post(&gateway, &headers("hook:a-long-password-1", "a-long-secret-of-ours"), &body).status, 200);
    assert_eq!(status(&gateway, &mint(&issued(60))), 401);
    assert!(!gateway.log().contains("a-long"), "no secret in the log");
}

#[test]
fn revocations_survive_a_kill_and_an_upgrade_and_end_with_the_tokens() {
    let upstream = Upstream::named("main");
    let mut gateway = setup(&upstream).server(", drain_wait: 0s, upgrade_socket: private/upgrade.sock").start();
    let token = mint(&issued(60));
    assert_told(&gateway, &deactivated(USER), APPLIED);
    gateway.signal("KILL");
    gateway.wait();
    gateway.restart();
    assert_eq!(status(&gateway, &token), 401, "kill -9 right after the 200");
    assert_told(&gateway, &deactivated(OTHER), APPLIED);
    assert!(gateway.upgrade().success());
    assert_eq!([status(&gateway, &token), status(&gateway, &mint(&issued(60).subject(OTHER)))], [401, 401]);
    // The file is nobody else's business, and names nobody.
    let path = gateway.path("data/revocations.db");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777, 0o600);
    let bytes = [std::fs::read(&path).unwrap(), std::fs::read(path.with_extension("db-wal")).unwrap_or_default()].concat();
    assert!(!String::from_utf8_lossy(&bytes).contains("111111111111"));
}

#[test]
fn two_processes_on_one_file_tell_each_other() {
    let upstream = Upstream::named("main");
    let one = setup(&upstream).start();
    let file = one.path("data/revocations.db");
    let section = format!("  revocation: {{ file: \"{}\" }}\n", file.display());
    let other = Setup::to(upstream.address()).identity(&section).start();
    let token = mint(&issued(60));
    assert_eq!(status(&other, &token), 200);
    assert_told(&one, &deactivated(USER), APPLIED);
    wait_for("the other process", || status(&other, &token) == 401);
}

#[test]
fn w4_a_disk_that_writes_nothing_is_said_to_fusionauth_within_a_second_and_the_event_holds() {
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    let file = gateway.path("data/revocations.db");
    let locked = rusqlite::Connection::open(&file).unwrap();
    locked.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let event = deactivated(USER);
    let began = Instant::now();
    assert_told(&gateway, &event, (503, "unwritten"));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(status(&gateway, &mint(&issued(60))), 401, "it holds already");
    locked.execute_batch("ROLLBACK").unwrap();
    // FusionAuth sends it again, and this time it is written.
    assert_told(&gateway, &event, (200, "known"));
    let written: i64 = locked.query_row("SELECT COUNT(*) FROM revoked", [], |row| row.get(0)).unwrap();
    assert_eq!(written, 1);
}
