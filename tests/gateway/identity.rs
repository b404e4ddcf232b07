//! Who may pass, as a client sees it.

use std::time::Duration;

use tollgate::demo::{Issuer, MintRequest};

use crate::support::{Setup, Upstream, get, mint, wait_for};

#[test]
fn rfc6750_challenges_say_no_more_than_they_must() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let none = gateway.get("/");
    assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(none.reason(), "token_required");

    let mut bodies = Vec::new();
    let good = mint(&MintRequest::of("acme", "pro"));
    let mut forged = good.clone();
    forged.replace_range(good.len() - 6.., "AAAAAA");
    for token in [
        mint(&MintRequest::of("acme", "pro").expired_for(Duration::from_secs(120))),
        mint(&MintRequest::of("acme", "pro").claim("iss", "evil.example")),
        mint(&MintRequest::of("acme", "pro").header("kid", "unknown")),
        forged,
        "nonsense".to_owned(),
    ] {
        let reply = gateway.get_with("/", &token);
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let mut document = reply.json();
        document["request_id"] = "".into();
        bodies.push(document.to_string());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "a refusal told why: {bodies:?}");
    assert_eq!(upstream.seen().len(), 0);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"expired\"}", 1.0);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"wrong_issuer\"}", 1.0);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"bad_signature\"}", 1.0);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"missing\"}", 1.0);
}

#[test]
fn optional_routes_tell_no_token_from_a_bad_one() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route("strict", "/strict", "optional", "main")
        .route_text("  - name: lenient\n    match: { path: /lenient }\n    auth: optional\n    invalid_token: ignore\n    upstream: main\n")
        .rule("mark", "fn on_request(claims) { set_header(\"x-known\", if claims.is_empty() { \"no\" } else { \"yes\" }); }")
        .start();
    assert_eq!(gateway.get("/strict").status, 200);
    assert!(upstream.last().to_lowercase().contains("x-known: no"));
    assert_eq!(gateway.get_as("/strict", &MintRequest::of("acme", "pro")).status, 200);
    assert!(upstream.last().to_lowercase().contains("x-known: yes"));
    assert_eq!(gateway.get_with("/strict", "nonsense").status, 401);
    assert_eq!(gateway.get_with("/lenient", "nonsense").status, 200);
    assert!(upstream.last().to_lowercase().contains("x-known: no"));
}

#[test]
fn without_keys_it_is_503_and_recovers_when_the_issuer_does() {
    let upstream = Upstream::named("main");
    let issuer = Issuer::start("127.0.0.1:0".parse().unwrap()).unwrap();
    issuer.stop();
    let gateway = Setup::to(upstream.address()).issuer(&issuer.url()).start_unready();
    let token = issuer.mint(&MintRequest::of("acme", "pro")).unwrap();
    let reply = gateway.get_with("/", &token);
    assert_eq!((reply.status, reply.reason().as_str()), (503, "identity_unavailable"));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(gateway.admin("/readyz").unwrap().status, 503);
    issuer.resume().unwrap();
    wait_for("recovery", || gateway.get_with("/", &token).status == 200);
    assert_eq!(gateway.admin("/readyz").unwrap().status, 200);
}

#[test]
fn a_new_key_works_at_once_and_made_up_ones_cost_nothing() {
    let upstream = Upstream::named("main");
    let issuer = Issuer::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let gateway = Setup::to(upstream.address()).issuer(&issuer.url()).start();
    std::thread::sleep(Duration::from_millis(1050)); // the cooldown of the first fetch
    let before = issuer.jwks_requests();
    for kid in 0..50 {
        let token = issuer.mint(&MintRequest::of("acme", "pro").header("kid", format!("made-up-{kid}"))).unwrap();
        assert_eq!(gateway.get_with("/", &token).status, 401);
    }
    assert!(issuer.jwks_requests() - before <= 2, "{} fetches", issuer.jwks_requests() - before);
    issuer.rotate_key().unwrap();
    let token = issuer.mint(&MintRequest::of("acme", "pro")).unwrap();
    wait_for("the new key", || gateway.get_with("/", &token).status == 200);
}

#[test]
fn tokens_may_come_in_a_cookie() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).identity("  token_from: [\"header:authorization\", \"cookie:app.at\"]\n").start();
    let token = mint(&MintRequest::of("acme", "pro"));
    assert_eq!(get(gateway.address(), "/", &format!("Cookie: a=b; app.at={token}\r\n")).status, 200);
    assert_eq!(get(gateway.address(), "/", "Cookie: app.at=nonsense\r\n").status, 401);
    assert_eq!(get(gateway.address(), &format!("/?access_token={token}"), "").status, 401);
}

#[test]
fn a_token_is_worth_nothing_after_it_expired_also_when_it_was_seen_before() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).identity("  clock_skew: 0s\n").start();
    let token = mint(&MintRequest::of("acme", "pro").expires_in(Duration::from_secs(2)));
    assert_eq!(gateway.get_with("/", &token).status, 200);
    wait_for("expiry", || gateway.get_with("/", &token).status == 401);
    wait_for("the count", || gateway.metric("tollgate_auth_tokens_total{result=\"expired\"}") >= 1.0);
}
