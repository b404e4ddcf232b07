//! Sessions that several gateways share (facts/security.md, D14 and D15): in Redis, and renewals of those that are not.

use std::net::SocketAddr;

use tollgate::demo::{APPLICATION_ID, MintRequest};

use super::support::{
    Browser, CALLBACK, CLIENT_SECRET, Gateway, Provider, RedisServer, Reply, Setup, Upstream, as_json, get, login_setup_with,
    mint, short_lived, wait_for,
};

const OWN_FORM: &str = "Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n";

fn setup(provider: &Provider, upstream: SocketAddr, redis: &RedisServer, store: &str) -> Setup {
    login_setup_with(provider, upstream, "", store).with(&redis.section())
}

/// Two gateways that know each other only by way of Redis.
fn two(store: &str) -> (Provider, Upstream, RedisServer, [Gateway; 2]) {
    let (provider, upstream, redis) = (Provider::start(), Upstream::named("app"), RedisServer::start());
    let gateways = [(); 2].map(|()| setup(&provider, upstream.address(), &redis, store).start());
    (provider, upstream, redis, gateways)
}

const IN_REDIS: &str = "    store: redis\n";

/// Twenty requests at once, at both gateways by turns.
fn twenty(gateways: &[Gateway; 2], ask: impl Fn(&Gateway) -> Reply + Sync) -> Vec<Reply> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..20)
            .map(|number| {
                scope.spawn({
                    let ask = &ask;
                    move || ask(&gateways[number % 2])
                })
            })
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn a_session_is_known_to_every_gateway_and_its_cookie_holds_nothing() {
    let (provider, _upstream, redis, [one, other]) = two(IN_REDIS);
    provider.person(MintRequest::default().subject("ann-of-green-gables").claim("large", "x".repeat(6_000)));
    let mut browser = Browser::new();
    browser.log_in(&one, &provider, "/page");
    assert_eq!(browser.cookies.len(), 1, "however long the tokens are");
    assert!(browser.cookies["__Host-tollgate"].len() < 120, "{}", browser.cookies["__Host-tollgate"]);
    assert_eq!(browser.fetch(&one, "/api").status, 200);
    assert_eq!(browser.fetch(&other, "/api").status, 200);

    // What is in Redis opens nothing: no token, no name of anybody, no key that a cookie could be made of.
    let keys = redis.ask("KEYS *").unwrap();
    let key = keys.lines().find(|line| line.contains("session:")).unwrap().trim().to_owned();
    let value = redis.ask(&format!("GET {key}")).unwrap();
    for secret in ["eyJhbGciOi", "refresh-", "green-gables", "acme.com"] {
        assert!(!keys.contains(secret) && !value.contains(secret), "{secret}");
    }
    let lasts: i64 = redis.ask(&format!("TTL {key}")).unwrap().trim().trim_start_matches(':').parse().unwrap();
    assert!((1_700..=1_800).contains(&lasts), "the idle time: {lasts}");
    let copied: String = value.split("\r\n").nth(1).unwrap().chars().filter(char::is_ascii).skip(8).collect();
    let mut thief = Browser::new();
    for forged in [format!("1.{copied}"), copied, format!("1.{}", key.rsplit(':').next().unwrap())] {
        thief.cookies.insert("__Host-tollgate".into(), forged);
        assert_eq!(thief.clone().fetch(&one, "/api").status, 401);
    }
}

#[test]
fn d14_a_logout_at_one_gateway_is_one_at_the_other() {
    let (provider, _upstream, redis, [one, other]) = two(IN_REDIS);
    let mut browser = Browser::new();
    browser.log_in(&one, &provider, "/page");
    let copy = browser.clone();
    assert_eq!(browser.send(&one, "POST /logout", OWN_FORM).status, 303);
    assert_eq!(copy.clone().fetch(&other, "/api").status, 401);
    assert!(!redis.ask("KEYS *session:*").unwrap().contains("session:"));
}

#[test]
fn d15_twenty_requests_at_two_gateways_renew_a_session_once() {
    for store in [IN_REDIS, ""] {
        let (provider, _upstream, _redis, gateways) = two(store);
        provider.person(short_lived("ann"));
        let mut browser = Browser::new();
        browser.log_in(&gateways[0], &provider, "/page");
        assert_eq!(provider.token_requests().len(), 1);
        // The new tokens last, so that who comes late finds nothing to renew.
        provider.token_answer(|mut good| {
            good["access_token"] = mint(&MintRequest::default().subject("ann")).into();
            Some(as_json("200 OK", &good))
        });
        let replies = twenty(&gateways, |gateway| browser.clone().fetch(gateway, "/api"));
        assert!(replies.iter().all(|reply| reply.status == 200), "{store:?} {replies:?}");
        assert_eq!(provider.token_requests().len(), 2, "{store:?}: one login, one renewal");
    }
}

#[test]
fn d15_twenty_tabs_at_two_gateways_renew_an_applications_tokens_once() {
    let (provider, upstream, redis) = (Provider::start(), Upstream::named("app"), RedisServer::start());
    let gateways = [(); 2].map(|()| {
        let hosted = format!(
            "  hosted_backend:\n    client_id: {APPLICATION_ID}\n    client_secret: {CLIENT_SECRET}\n    url: https://localhost\n    \
             redirect_uris: [\"https://app.localhost\"]\n    keys: [\"a key for refresh tokens with enough letters\"]\n"
        );
        Setup::to(upstream.address()).issuer(&provider.url()).identity(&hosted).with(&redis.section()).start()
    });
    let mut browser = Browser::new();
    let sent = browser.open(&gateways[0], &format!("/app/login/{APPLICATION_ID}"));
    let callback = provider.authorize(sent.header("location").unwrap()).replace(CALLBACK, "/app/callback");
    assert_eq!(browser.open(&gateways[1], &callback).status, 303);
    let line = format!("POST /app/refresh/?client_id={APPLICATION_ID}");
    let headers = "Origin: https://app.localhost\r\nContent-Length: 0\r\n";
    let replies = twenty(&gateways, |gateway| browser.clone().send(gateway, &line, headers));
    assert!(replies.iter().all(|reply| reply.status == 204), "{replies:?}");
    assert_eq!(provider.token_requests().len(), 2, "one login, one renewal");
}

#[test]
fn a_renewal_that_the_issuer_refuses_ends_the_session_everywhere() {
    let (provider, _upstream, redis, gateways) = two(IN_REDIS);
    provider.person(short_lived("ann"));
    let mut browser = Browser::new();
    browser.log_in(&gateways[0], &provider, "/page");
    provider.token_answer(|_| Some(as_json("400 Bad Request", &serde_json::json!({ "error": "invalid_grant" }))));
    let replies = twenty(&gateways, |gateway| browser.clone().fetch(gateway, "/api"));
    assert!(replies.iter().all(|reply| reply.status == 401), "{replies:?}");
    assert_eq!(provider.token_requests().len(), 2);
    assert!(!redis.ask("KEYS *session:*").unwrap().contains("session:"));
}

#[test]
fn without_redis_sessions_wait_and_tokens_do_not() {
    let (provider, _upstream, mut redis, [one, _other]) = two(IN_REDIS);
    let mut browser = Browser::new();
    browser.log_in(&one, &provider, "/page");
    redis.stop();
    let reply = browser.fetch(&one, "/api");
    assert_eq!((reply.status, reply.reason().as_str()), (503, "login_unavailable"));
    assert!(browser.is_logged_in(), "the cookie is kept for better times");
    let bearer = format!("Authorization: Bearer {}\r\n", mint(&MintRequest::default()));
    assert_eq!(get(one.address(), "/api", &bearer).status, 200);
    // It comes back empty, as a cache does.
    redis.resume();
    wait_for("Redis", || browser.clone().fetch(&one, "/api").status == 401);
    assert_eq!(browser.open(&one, "/page").status, 302);
}
