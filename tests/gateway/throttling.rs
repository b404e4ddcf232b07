//! Limits, as clients feel them.

use std::thread;

use tollgate::demo::MintRequest;

use crate::support::{Setup, Upstream, mint};

const PER_ORG: &str = "fn on_request(claims) { throttle(claims.org, 60, \"1m\"); }";

#[test]
fn the_61st_call_of_a_minute_is_refused() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).rule("limits", PER_ORG).billed().start();
    let acme = mint(&MintRequest::of("acme", "free"));
    for call in 1..=60 {
        assert_eq!(gateway.get_with("/", &acme).status, 200, "call {call}");
    }
    let refused = gateway.get_with("/", &acme);
    assert_eq!((refused.status, refused.reason().as_str()), (429, "rate_limited"));
    let retry: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry), "{retry}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"limits\";q=60;w=60"));
    assert!(refused.header("ratelimit").unwrap().starts_with("\"limits\";r=0;t="));
    assert_eq!(gateway.get_as("/", &MintRequest::of("globex", "free")).status, 200, "another customer has a limit of its own");
    assert_eq!(upstream.seen().len(), 61);
    gateway.expect_metric("tollgate_throttle_decisions_total{result=\"rejected\",rule=\"limits\"}", 1.0);
    gateway.expect_metric("tollgate_throttle_decisions_total{result=\"allowed\",rule=\"limits\"}", 61.0);
    let line = gateway.access_lines(62).remove(60);
    assert_eq!((line["outcome"].as_str(), line["rule"].as_str()), (Some("throttled"), Some("limits")));
}

#[test]
fn parallel_calls_get_exactly_the_limit() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).rule("limits", PER_ORG).start();
    let token = mint(&MintRequest::of("acme", "free"));
    let admitted: usize = thread::scope(|scope| {
        let calls: Vec<_> =
            (0..8).map(|_| scope.spawn(|| (0..25).filter(|_| gateway.get_with("/", &token).status == 200).count())).collect();
        calls.into_iter().map(|call| call.join().unwrap()).sum()
    });
    assert_eq!(admitted, 60);
}

#[test]
fn a_request_refused_by_one_limit_uses_up_no_other() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(request, claims) {\n throttle(`${claims.org}:all`, 3, \"1h\");\n if request.path == \"/narrow\" { throttle(`${claims.org}:narrow`, 0, \"1h\"); }\n}";
    let gateway = Setup::to(upstream.address()).rule("limits", rule).start();
    let token = mint(&MintRequest::of("acme", "free"));
    for _ in 0..10 {
        assert_eq!(gateway.get_with("/narrow", &token).status, 429);
    }
    let statuses: Vec<u16> = (0..4).map(|_| gateway.get_with("/", &token).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[test]
fn a_limit_with_a_burst_lets_the_burst_through() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(claims) { throttle(claims.org, 1, \"1h\", #{ burst: 5 }); }";
    let gateway = Setup::to(upstream.address()).rule("limits", rule).start();
    let token = mint(&MintRequest::of("acme", "free"));
    let statuses: Vec<u16> = (0..6).map(|_| gateway.get_with("/", &token).status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
}

#[test]
fn callers_without_the_key_share_one_limit() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(claims) { throttle(claims.org, 2, \"1h\"); }";
    let gateway = Setup::to(upstream.address()).rule("limits", rule).start();
    let keyless = |sub: &str| MintRequest { org: None, ..MintRequest::default().subject(sub) };
    let statuses: Vec<u16> = ["u-1", "u-2", "u-3"].iter().map(|sub| gateway.get_as("/", &keyless(sub)).status).collect();
    assert_eq!(statuses, [200, 200, 429]);
}
