//! Rules that look into bodies.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tollgate::demo::MintRequest;

use crate::support::{Gateway, Setup, Upstream, answer, mint};

const RULE: &str = r#"
fn on_request(request) {
    tag("body", if request.body == () { "unknown" } else { request.body.len() });
    if request.body == "forbidden" { deny("forbidden_word"); }
    let order = request.json;
    if type_of(order) == "map" && (order?.amount ?? 0) > 100 { deny(402, "too_much"); }
    if request.body == () { deny(411, "length_required"); }
}"#;

fn start() -> (Upstream, Gateway) {
    let upstream =
        Upstream::answering(|request| Some(answer("200 OK", "", &request.split_once("\r\n\r\n").unwrap().1.len().to_string())));
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text("  - name: read\n    match: { path: /read }\n    auth: none\n    upstream: main\n    rule_body: 16KiB\n")
        .route_text(
            "  - name: private\n    match: { path: /private }\n    auth: required\n    upstream: main\n    rule_body: 1KiB\n",
        )
        .route_text("  - name: unread\n    match: { path: /unread }\n    auth: none\n    upstream: main\n")
        .rule_with("look", RULE, ", routes: [read, private]")
        .rule_with(
            "blind",
            "fn on_request(request) { tag(\"body\", if request.body == () { \"unknown\" } else { \"seen\" }); }",
            ", routes: [unread]",
        )
        .start();
    (upstream, gateway)
}

fn post(gateway: &Gateway, path: &str, body: &str) -> crate::support::Reply {
    let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    gateway.send(&request).unwrap()
}

#[test]
fn rules_decide_by_the_body_and_the_upstream_still_gets_it() {
    let (upstream, gateway) = start();
    for (body, status) in [
        ("hello", 200),
        ("", 200),
        ("forbidden", 403),
        (r#"{"amount": 7}"#, 200),
        (r#"{"amount": 700}"#, 402),
        ("{\"amount\": 7", 200),
        ("[1]", 200),
    ] {
        let reply = post(&gateway, "/read", body);
        assert_eq!(reply.status, status, "{body}");
        if status == 200 {
            assert_eq!(reply.body, body.len().to_string());
            assert!(upstream.last().ends_with(&format!("\r\n\r\n{body}")), "{}", upstream.last());
        }
    }
    let largest = "é".repeat(8 << 10);
    assert_eq!(post(&gateway, "/read", &largest).body, (16 << 10).to_string());
    assert_eq!(post(&gateway, "/unread", "forbidden").status, 200);
    let lines = gateway.access_lines(9);
    assert_eq!(lines[0]["tags"]["body"], "5");
    assert_eq!(lines[0]["bytes_in"], 5);
    assert_eq!(lines[8]["tags"]["body"], "unknown", "{}", lines[8]);
}

#[test]
fn what_is_too_large_or_of_unknown_length_or_no_text_is_absent() {
    let (upstream, gateway) = start();
    let large = post(&gateway, "/read", &"x".repeat((16 << 10) + 1));
    assert_eq!((large.status, large.reason().as_str()), (411, "length_required"));
    let chunked =
        "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n9\r\nforbidden\r\n0\r\n\r\n";
    assert_eq!(gateway.send(chunked).unwrap().status, 411);
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n\xff\xfe").unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert!(received.starts_with(b"HTTP/1.1 411"), "{}", String::from_utf8_lossy(&received));
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn nobody_is_waited_for_who_has_no_token() {
    let (_upstream, gateway) = start();
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"POST /private HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly the beginning").unwrap();
    let mut received = [0; 12];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"HTTP/1.1 401");
}

#[test]
fn rfc9110_10_1_1_a_client_that_waits_is_told_to_go_on() {
    let (upstream, gateway) = start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "POST /private HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
    assert!(!upstream.last().to_ascii_lowercase().contains("expect:"), "{}", upstream.last());
    assert!(upstream.last().ends_with("\r\n\r\nhello"));
}

#[test]
fn a_body_that_was_read_is_sent_again_to_the_next_server() {
    let upstream = Upstream::answering(|request| Some(answer("200 OK", "", request.split_once("\r\n\r\n").unwrap().1)));
    let dead = ([127, 0, 0, 1], crate::support::free_port()).into();
    let gateway = Setup::new()
        .upstream("main", &[dead, upstream.address()])
        .route_text("  - name: read\n    auth: none\n    upstream: main\n    rule_body: 16KiB\n")
        .rule("look", "fn on_request(request) { tag(\"body\", request.body ?? \"\"); }")
        .start();
    for _ in 0..4 {
        assert_eq!(post(&gateway, "/", "hello").body, "hello");
    }
}

#[test]
fn a_route_has_a_limit_of_its_own() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text("  - name: small\n    match: { path: /small }\n    auth: none\n    upstream: main\n    body_size: 4\n")
        .route("all", "/**", "none", "main")
        .start();
    let large = post(&gateway, "/small", "12345");
    assert_eq!((large.status, large.reason().as_str()), (413, "body_too_large"));
    let chunked =
        "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n12345\r\n0\r\n\r\n";
    let chunked = gateway.send(chunked).unwrap();
    assert_eq!((chunked.status, chunked.reason().as_str()), (413, "body_too_large"));
    assert_eq!(post(&gateway, "/small", "1234").status, 200);
    assert_eq!(post(&gateway, "/else", "12345").status, 200);
}
