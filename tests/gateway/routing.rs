//! Where requests go, and what comes back when they cannot.

use tollgate::demo::MintRequest;

use crate::support::{Setup, Upstream, answer, free_port, get, mint, wait_for};

#[test]
fn the_first_route_that_matches_wins() {
    let (a, b) = (Upstream::named("a"), Upstream::named("b"));
    let gateway = Setup::new()
        .upstream("a", &[a.address()])
        .upstream("b", &[b.address()])
        .route_text("  - name: host\n    match: { host: b.example, path: /** }\n    auth: none\n    upstream: b\n")
        .route_text("  - name: posts\n    match: { path: /v1/**, methods: [POST] }\n    auth: none\n    upstream: b\n")
        .route("v1", "/v1/**", "none", "a")
        .start();
    let ask = |method: &str, host: &str, path: &str| {
        gateway.send(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n")).unwrap()
    };
    assert_eq!(ask("GET", "a.example", "/v1/x").body, "a");
    assert_eq!(ask("POST", "a.example", "/v1/x").body, "b");
    assert_eq!(ask("GET", "B.Example:80", "/v1/x").body, "b");
    let none = ask("GET", "a.example", "/v2");
    assert_eq!((none.status, none.reason().as_str()), (404, "no_route"));
}

#[test]
fn servers_take_turns_and_a_dead_one_is_skipped() {
    let (a, b) = (Upstream::named("a"), Upstream::named("b"));
    let dead = ([127, 0, 0, 1], free_port()).into();
    let setup = Setup::new().upstream("main", &[a.address(), dead, b.address()]);
    let gateway = setup.route("all", "/**", "none", "main").start();
    let mut answers: Vec<String> = (0..12)
        .map(|_| {
            let reply = gateway.get("/");
            assert_eq!(reply.status, 200);
            reply.body
        })
        .collect();
    answers.sort();
    answers.dedup();
    assert_eq!(answers, ["a", "b"]);
    wait_for("the count", || gateway.metric("tollgate_upstream_errors_total{reason=\"connect\",upstream=\"main\"}") >= 4.0);
    wait_for("the count", || gateway.metric("tollgate_upstream_retries_total{upstream=\"main\"}") >= 4.0);
}

#[test]
fn an_upstream_that_is_away_is_502_slow_504_and_silent_502() {
    let dead = ([127, 0, 0, 1], free_port()).into();
    let slow = Upstream::answering(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        None
    });
    let silent = Upstream::answering(|_| None);
    let gateway = Setup::new()
        .upstream("dead", &[dead])
        .upstream("slow", &[slow.address()])
        .upstream("silent", &[silent.address()])
        .route("dead", "/dead", "none", "dead")
        .route("slow", "/slow", "none", "slow")
        .route("silent", "/silent", "none", "silent")
        .start();
    let reply = gateway.get("/dead");
    assert_eq!((reply.status, reply.reason().as_str()), (502, "upstream_error"));
    let reply = gateway.get("/slow");
    assert_eq!((reply.status, reply.reason().as_str()), (504, "upstream_timeout"));
    let reply = gateway.get("/silent");
    assert_eq!((reply.status, reply.reason().as_str()), (502, "upstream_error"));
    let outcomes: Vec<_> = gateway.access_lines(3).iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["upstream_error", "upstream_error", "upstream_error"]);
}

#[test]
fn a_post_is_not_sent_twice() {
    let upstream = Upstream::answering(|_| None);
    let gateway = Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main").start();
    let reply = gateway.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").unwrap();
    assert_eq!(reply.status, 502);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_connection_that_the_upstream_closed_meanwhile_is_replaced() {
    // Closes after each answer without saying so: the next request finds a dead connection in the pool.
    let upstream = Upstream::answering(|head| head.contains("GET").then(|| answer("200 OK", "", "ok")));
    let gateway = Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main").start();
    for _ in 0..5 {
        assert_eq!(gateway.get("/").status, 200);
    }
}

#[test]
fn bodies_pass_both_ways() {
    let upstream = Upstream::answering(|request| {
        let body = request.split_once("\r\n\r\n").unwrap().1.to_ascii_uppercase();
        Some(answer("201 Created", "X-Origin: yes\r\n", &body))
    });
    let gateway = Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main").start();
    let body = "abcdefgh".repeat(20_000);
    let request = format!("PUT /thing HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let reply = gateway.send(&request).unwrap();
    assert_eq!((reply.status, reply.header("x-origin")), (201, Some("yes")));
    assert_eq!(reply.body, body.to_ascii_uppercase());
    let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(gateway.send(chunked).unwrap().body, "ABCDE");
    let line = &gateway.access_lines(2)[0];
    assert_eq!((line["bytes_in"].as_u64(), line["bytes_out"].as_u64()), (Some(160_000), Some(160_000)));
}

#[test]
fn fixed_answers_need_no_upstream() {
    let gateway = Setup::new()
        .upstream("main", &[([127, 0, 0, 1], free_port()).into()])
        .route_text("  - name: health\n    match: { path: /healthz }\n    auth: none\n    respond: { status: 200, body: ok }\n")
        .route("rest", "/**", "required", "main")
        .start();
    let reply = gateway.get("/healthz");
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
    let head = gateway.send("HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("2")));
}

#[test]
fn a_keep_alive_connection_carries_many_requests() {
    use std::io::{Read, Write};
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut stream = std::net::TcpStream::connect(gateway.address()).unwrap();
    for _ in 0..20 {
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"main") {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "closed after {received:?}");
            received.extend_from_slice(&chunk[..count]);
        }
    }
    assert_eq!(upstream.seen().len(), 20);
}

#[test]
fn a_route_that_denies_by_default_needs_an_allow() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text("  - name: closed\n    match: { path: /** }\n    auth: required\n    default: deny\n    upstream: main\n")
        .rule("admins", "fn on_request(claims) { if claims.has_role(\"admin\") { allow(); } }")
        .start();
    let refused = gateway.get_as("/", &MintRequest::of("acme", "pro"));
    assert_eq!((refused.status, refused.reason().as_str()), (403, "not_allowed"));
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro").role("admin")).status, 200);
    assert_eq!(get(gateway.address(), "/", "").status, 401);
}
