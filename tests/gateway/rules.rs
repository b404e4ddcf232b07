//! What the operator's rules do to real requests.

use tollgate::demo::MintRequest;

use crate::support::{Setup, Upstream, answer, wait_for};

#[test]
fn claims_choose_the_upstream_and_the_last_word_wins() {
    let (shared, dedicated) = (Upstream::named("shared"), Upstream::named("dedicated"));
    let gateway = Setup::new()
        .upstream("shared", &[shared.address()])
        .upstream("dedicated", &[dedicated.address()])
        .route("all", "/**", "required", "shared")
        .rule("a-first", "fn on_request(claims) { route_to(\"dedicated\"); }")
        .rule("b-second", "fn on_request(claims) { if claims.plan != \"enterprise\" { route_to(\"shared\"); } }")
        .start();
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "free")).body, "shared");
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "enterprise")).body, "dedicated");
    let line = &gateway.access_lines(2)[0];
    assert_eq!((line["rule"].as_str(), line["upstream"].as_str()), (Some("b-second"), Some("shared")));
}

#[test]
fn denials_redirects_and_answers_reach_the_client_and_not_the_upstream() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address())
        .rule(
            "words",
            r#"
            fn on_request(request) {
                switch request.path {
                    "/deny" => deny("not_today"),
                    "/pay" => deny(402, "payment_required"),
                    "/login" => deny(401, "login_required"),
                    "/away" => redirect("https://example.com/there"),
                    "/moved" => redirect(308, "/elsewhere"),
                    "/closed" => respond(503, "back at noon"),
                    _ => (),
                }
            }"#,
        )
        .start();
    let ask = |path: &str| gateway.get_as(path, &MintRequest::of("acme", "pro"));
    let denied = ask("/deny");
    assert_eq!((denied.status, denied.reason().as_str()), (403, "not_today"));
    assert_eq!(ask("/pay").status, 402);
    assert!(ask("/login").header("www-authenticate").is_some());
    let away = ask("/away");
    assert_eq!((away.status, away.header("location")), (302, Some("https://example.com/there")));
    assert_eq!(ask("/moved").status, 308);
    let closed = ask("/closed");
    assert_eq!((closed.status, closed.body.as_str()), (503, "back at noon"));
    assert_eq!(upstream.seen().len(), 0);
    let outcomes: Vec<_> = gateway.access_lines(6).iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["denied", "denied", "denied", "redirected", "redirected", "responded"]);
}

#[test]
fn rules_edit_headers_in_both_directions() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "X-Secret: 42\r\nX-Kind: report\r\n", "ok")));
    let gateway = Setup::to(upstream.address())
        .rule(
            "headers",
            r#"
            fn on_request(request, claims) {
                set_header("x-plan", claims.plan);
                set_header("x-beta", claims.beta);
                remove_header("authorization");
                set_header("x-asked", request.query["q"] ?? "nothing");
            }
            fn on_response(response) {
                remove_header("x-secret");
                set_header("x-seen", `${response.status} ${response.headers["x-kind"]}`);
            }"#,
        )
        .start();
    let request = MintRequest::of("acme", "pro");
    let token = crate::support::mint(&request);
    let lines = format!("Authorization: Bearer {token}\r\nX-Beta: forged\r\n");
    let reply = crate::support::get(gateway.address(), "/?q=tea%20time", &lines);
    let seen = upstream.last().to_lowercase();
    assert!(seen.contains("\r\nx-plan: pro\r\n") && seen.contains("\r\nx-asked: tea time\r\n"), "{seen}");
    assert!(!seen.contains("authorization") && !seen.contains("x-beta"), "{seen}");
    assert_eq!((reply.header("x-secret"), reply.header("x-seen")), (None, Some("200 report")));
}

#[test]
fn a_failing_rule_denies_tells_nothing_and_bills_nothing() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address())
        .rule("a-meter", "fn on_request() { meter(\"calls\"); }")
        .rule("b-broken", "fn on_request(claims) { let secret_sauce = claims.nothing + 10; }")
        .billed()
        .start();
    let reply = gateway.get_as("/", &MintRequest::of("acme", "pro"));
    assert_eq!((reply.status, reply.reason().as_str()), (500, "rule_error"));
    assert!(!reply.body.contains("sauce") && !reply.body.contains("broken"), "{}", reply.body);
    assert_eq!(upstream.seen().len(), 0);
    wait_for("the operator's log", || gateway.log().contains("b-broken"));
    assert!(gateway.log().contains("secret_sauce"), "operators see the line:\n{}", gateway.log());
    assert_eq!(gateway.used("calls"), 0);
    let series = "tollgate_rule_evaluations_total{hook=\"on_request\",result=\"error\",rule=\"b-broken\"}";
    wait_for("the count", || gateway.metric(series) == 1.0);
    assert_eq!(gateway.access_lines(1)[0]["rule"], "b-broken");
}

#[test]
fn a_rule_that_may_be_skipped_is_and_one_that_loops_is_cut_off() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address())
        .rule_with("a-extra", "fn on_request(claims) { set_header(\"x-extra\", \"1\"); throw \"oops\"; }", ", on_error: skip")
        .rule_with("b-loop", "fn on_request(request) { if request.path == \"/loop\" { loop {} } }", "")
        .start();
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200);
    assert!(!upstream.last().contains("x-extra"), "nothing that a failed rule recorded is applied");
    let reply = gateway.get_as("/loop", &MintRequest::of("acme", "pro"));
    assert_eq!((reply.status, reply.reason().as_str()), (500, "rule_error"));
    let series = "tollgate_rule_evaluations_total{hook=\"on_request\",result=\"limit\",rule=\"b-loop\"}";
    wait_for("the count", || gateway.metric(series) == 1.0);
}

#[test]
fn shadow_rules_are_counted_and_never_felt() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address())
        .rule_with("strict", "fn on_request() { deny(402, \"would_refuse\"); }", ", mode: shadow")
        .rule_with("broken", "fn on_request() { throw \"oops\"; }", ", mode: shadow")
        .rule_with("off", "fn on_request() { deny(\"never\"); }", ", mode: disabled")
        .start();
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200);
    let series = "tollgate_rule_actions_total{action=\"deny\",mode=\"shadow\",rule=\"strict\"}";
    wait_for("the count", || gateway.metric(series) == 1.0);
    assert_eq!(gateway.access_lines(1)[0]["shadow"], serde_json::json!(["strict:deny"]));
}

#[test]
fn tags_and_log_lines_reach_the_operator() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address())
        .rule(
            "notes",
            "fn on_request(claims) { tag(\"canary\", true); tag(\"org\", claims.org); log_warn(`hello ${claims.org}`); }",
        )
        .start();
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200);
    let line = gateway.access_lines(1).remove(0);
    assert_eq!(line["tags"], serde_json::json!({ "canary": "true", "org": "acme" }));
    assert_eq!((line["account"].as_str(), line["issuer"].as_str()), (None, Some("test")));
    wait_for("the log line", || gateway.log().contains("hello acme"));
}
