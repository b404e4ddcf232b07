//! Every way out of the gateway settles exactly once.

use std::io::{Read, Write};
use std::net::TcpStream;

use tollgate::demo::MintRequest;

use crate::support::{Setup, Upstream, answer, free_port, mint, wait_for};

const METER: &str = r#"
fn on_complete(response) {
    if response.status >= 500 { return; }
    meter("calls", 1, #{ kind: if response.completed { "whole" } else { "cut" } });
    meter("bytes", response.body_bytes);
}"#;

fn setup(upstream: &Upstream) -> Setup {
    Setup::to(upstream.address()).rule("metering", METER).billed()
}

#[test]
fn an_answered_request_is_billed_once_with_its_bytes() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "", &"x".repeat(1000))));
    let gateway = setup(&upstream).start();
    for _ in 0..25 {
        assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200);
    }
    assert_eq!(gateway.get_as("/", &MintRequest::of("globex", "pro")).status, 200);
    wait_for("the ledger", || gateway.used("calls") == 26);
    assert_eq!(gateway.used("bytes"), 26_000);
    let rows = gateway.usage("account,meter");
    let quantity = |account: &str, meter: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["account"] == account && row["meter"] == meter).unwrap()["quantity"].as_u64()
    };
    assert_eq!((quantity("acme", "calls"), quantity("globex", "calls")), (Some(25), Some(1)));
    gateway.expect_metric("tollgate_meter_calls_total{kind=\"whole\"}", 26.0);
    gateway.expect_metric("tollgate_processing_duration_seconds_count{phase=\"response_rules\"}", 26.0);
    gateway.expect_metric("tollgate_usage_events_total{result=\"dropped\"}", 0.0);
}

#[test]
fn refused_requests_bill_nothing() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(request, claims) { meter(\"calls\"); if request.path == \"/no\" { deny(\"no\"); } throttle(claims.org, 1, \"1h\"); }";
    let gateway = setup(&upstream).rule("paths", rule).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    assert_eq!(gateway.get("/").status, 401);
    assert_eq!(gateway.get_with("/no", &token).status, 403);
    assert_eq!(gateway.get_with("//", &token).status, 400);
    assert_eq!(gateway.get_with("/", &token).status, 200);
    assert_eq!(gateway.get_with("/", &token).status, 429);
    wait_for("the ledger", || gateway.used("calls") == 2);
    let rows = gateway.usage("meter,kind");
    assert_eq!(rows.as_array().unwrap().iter().filter(|row| row["meter"] == "calls").count(), 2, "{rows}");
}

#[test]
fn our_own_failures_are_free() {
    let dead = ([127, 0, 0, 1], free_port()).into();
    let rule = "fn on_request() { meter(\"calls\"); }";
    let gateway = Setup::to(dead).rule("metering", METER).rule("entry", rule).billed().start();
    let token = mint(&MintRequest::of("acme", "pro"));
    assert_eq!(gateway.get_with("/", &token).status, 502);
    gateway.access_lines(1);
    assert_eq!(gateway.used("calls"), 0);
    let failing = Upstream::answering(|_| Some(answer("500 Internal Server Error", "", "oops")));
    let gateway = setup(&failing).start();
    assert_eq!(gateway.get_with("/", &token).status, 500);
    gateway.access_lines(1);
    assert_eq!(gateway.used("calls"), 0);
}

#[test]
fn a_client_that_leaves_is_billed_for_what_it_got() {
    let upstream = Upstream::answering(|_| {
        // A long answer of which the client reads the beginning only.
        Some(answer("200 OK", "", &"x".repeat(64 << 20)))
    });
    let gateway = setup(&upstream).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
    let mut beginning = [0; 64 << 10];
    stream.read_exact(&mut beginning).unwrap();
    drop(stream);
    wait_for("the ledger", || gateway.used("calls") == 1);
    let rows = gateway.usage("meter,kind");
    let cut = rows.as_array().unwrap().iter().find(|row| row["kind"] == "cut");
    assert!(cut.is_some(), "{rows}");
    let bytes = gateway.used("bytes");
    assert!((60_000..64 << 20).contains(&bytes), "{bytes}");
    let line = gateway.access_lines(1).remove(0);
    assert_eq!((line["outcome"].as_str(), line["cut_off"].as_bool()), (Some("client_closed"), Some(true)));
}

#[test]
fn nothing_is_lost_when_the_gateway_stops() {
    let upstream = Upstream::named("main");
    for signal in ["TERM", "INT"] {
        let mut gateway = setup(&upstream).start();
        let token = mint(&MintRequest::of("acme", "pro"));
        for _ in 0..50 {
            assert_eq!(gateway.get_with("/", &token).status, 200);
        }
        gateway.signal(signal);
        let (status, took) = gateway.wait();
        assert!(status.success(), "{signal}: {status}\n{}", gateway.log());
        assert!(took.as_secs() < 4, "{signal} took {took:?}");
        assert_eq!(gateway.used("calls"), 50, "{signal}");
    }
}

#[test]
fn a_killed_gateway_keeps_what_was_committed_and_counts_nothing_twice() {
    let upstream = Upstream::named("main");
    let mut gateway = setup(&upstream).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut answered = 0;
    for round in 0..6 {
        let before = answered;
        for _ in 0..40 {
            assert_eq!(gateway.get_with("/", &token).status, 200);
            answered += 1;
        }
        let patient = round % 2 == 0;
        if patient {
            wait_for("the commit", || gateway.used("calls") == answered);
        }
        gateway.signal("KILL");
        gateway.wait();
        let kept = gateway.used("calls");
        if patient {
            assert_eq!(kept, answered, "a committed line is lost, or counted twice");
        } else {
            // What was not committed yet is gone, which is no more than the last round.
            assert!((before..=answered).contains(&kept), "{before} <= {kept} <= {answered}");
            answered = kept;
        }
        gateway.restart();
    }
    assert_eq!(gateway.get_with("/", &token).status, 200);
    wait_for("the ledger", || gateway.used("calls") == answered + 1);
}
