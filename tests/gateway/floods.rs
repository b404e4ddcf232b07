//! Clients that want too much: connections, requests, headers, bodies, frames.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tollgate::demo::MintRequest;

use crate::support::{Gateway, Reply, Setup, Upstream, answer, ask, mint, wait_for};

fn setup(limits: &str, upstream: &Upstream) -> Setup {
    let setup = Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main");
    setup.with(&format!("limits: {{ {limits} }}\n"))
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A connection from another loopback address: all of 127.0.0.0/8 is this machine.
fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(from).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

fn get_from(last: u8, gateway: &Gateway) -> Option<Reply> {
    ask(connect_from(last, gateway.address()), GET)
}

fn refused(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric(&format!("tollgate_connections_refused_total{{reason=\"{reason}\"}}"))
}

#[test]
fn one_address_has_only_so_many_connections_and_gets_them_back() {
    let upstream = Upstream::named("main");
    let gateway = setup("connections_per_ip: 3", &upstream).start();
    let held: Vec<_> = (0..3).map(|_| connect_from(9, gateway.address())).collect();
    gateway.expect_metric("tollgate_connections", 3.0);
    assert!(get_from(9, &gateway).is_none(), "the fourth");
    assert_eq!(get_from(8, &gateway).unwrap().status, 200, "another address");
    for stream in &held {
        // Those that are in stay in.
        assert_eq!(ask(stream.try_clone().unwrap(), GET).unwrap().status, 200);
    }
    assert_eq!(refused(&gateway, "per_ip"), 1.0);
    drop(held);
    wait_for("a place", || get_from(9, &gateway).is_some_and(|reply| reply.status == 200));
    gateway.expect_metric("tollgate_connections", 0.0);
}

#[test]
fn all_together_have_only_so_many_connections() {
    let upstream = Upstream::named("main");
    let gateway = setup("connections: 4, connections_per_ip: 4", &upstream).start();
    let held: Vec<_> = (1..=4).map(|last| connect_from(last, gateway.address())).collect();
    gateway.expect_metric("tollgate_connections", 4.0);
    assert!(get_from(7, &gateway).is_none());
    assert!(refused(&gateway, "total") >= 1.0);
    assert_eq!(gateway.admin("/livez").unwrap().status, 200, "operators are not counted");
    let status = gateway.admin("/status").unwrap().json();
    assert_eq!(status["connections"]["open"], 4, "{status}");
    assert_eq!(status["connections"]["refused"], refused(&gateway, "total"), "{status}");
    drop(held);
    wait_for("a seat", || get_from(7, &gateway).is_some_and(|reply| reply.status == 200));
}

#[test]
fn places_are_given_back_however_a_connection_ends() {
    let upstream = Upstream::named("main");
    let gateway = setup("connections_per_ip: 1, header_timeout: 1s, header_size: 4KiB, write_timeout: 1s", &upstream).start();
    let ways: [&[u8]; 6] = [
        GET,
        b"nonsense\r\n\r\n",
        b"GET / HT",
        b"",
        &[b'x'; 100_000],
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
    ];
    for bytes in ways {
        let mut stream = connect_from(5, gateway.address());
        let _ = stream.write_all(bytes);
        drop(stream);
        wait_for("the place", || get_from(5, &gateway).is_some_and(|reply| reply.status == 200));
    }
}

#[test]
fn listed_addresses_are_refused_at_the_door_and_a_reload_changes_who() {
    let upstream = Upstream::named("main");
    let gateway = setup("deny_ips: [127.0.0.5, 127.0.0.16/28]", &upstream).start();
    for (last, expected) in [(5, false), (16, false), (31, false), (32, true), (4, true)] {
        assert_eq!(get_from(last, &gateway).is_some(), expected, "{last}");
    }
    assert_eq!(refused(&gateway, "denied"), 3.0);
    gateway.write("config.yaml", &gateway.config().replace("deny_ips: [127.0.0.5, 127.0.0.16/28]", "allow_ips: [127.0.0.5]"));
    wait_for("the reload", || get_from(5, &gateway).is_some_and(|reply| reply.status == 200));
    assert!(get_from(4, &gateway).is_none());
}

#[test]
fn an_address_that_floods_is_answered_429_before_its_token_is_looked_at() {
    let upstream = Upstream::named("main");
    let limits = "requests_per_ip: { requests: 1, per: 1h, burst: 3 }";
    let gateway = Setup::to(upstream.address()).with(&format!("limits: {{ {limits} }}\n")).start();
    let request = |token: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    let bad = request("not.a.token");
    for _ in 0..3 {
        assert_eq!(gateway.send(&bad).unwrap().status, 401);
    }
    let reply = gateway.send(&bad).unwrap();
    assert_eq!((reply.status, reply.reason().as_str()), (429, "rate_limited"));
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    // Not even a good token helps, and another address is not concerned.
    let good = request(&mint(&MintRequest::of("acme", "pro")));
    assert_eq!(gateway.send(&good).unwrap().status, 429);
    assert_eq!(ask(connect_from(3, gateway.address()), good.as_bytes()).unwrap().status, 200);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"valid\"}", 1.0);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_head_over_the_size_is_cut_before_it_is_read() {
    let upstream = Upstream::named("main");
    let gateway = setup("header_size: 8KiB", &upstream).start();
    let head = |size: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(size));
    assert_eq!(gateway.send(&head(7_000)).unwrap().status, 200);
    for size in [20_000, 200_000] {
        let reply = gateway.send(&head(size)).unwrap();
        assert_eq!((reply.status, reply.reason().as_str()), (431, "headers_too_large"));
    }
    assert_eq!(gateway.metric("tollgate_connections_cut_total{reason=\"header_size\"}"), 2.0);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_body_over_the_size_is_refused_by_its_length_and_by_its_chunks() {
    let upstream = Upstream::named("main");
    let gateway = setup("body_size: 1KiB", &upstream).start();
    let length = |size: usize| format!("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size));
    assert_eq!(gateway.send(&length(1_024)).unwrap().status, 200);
    let reply = gateway.send(&length(1_025)).unwrap();
    assert_eq!((reply.status, reply.reason().as_str()), (413, "body_too_large"));
    let announced = "POST /announced HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(gateway.send(announced).unwrap().status, 413);
    assert_eq!(upstream.seen().len(), 1, "the upstream saw the one that fits: {:?}", upstream.seen());

    let chunked = |chunks: usize| {
        let chunk = format!("80\r\n{}\r\n", "x".repeat(128));
        format!("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(chunks))
    };
    assert_eq!(gateway.send(&chunked(8)).unwrap().status, 200);
    let reply = gateway.send(&chunked(9)).unwrap();
    assert_eq!((reply.status, reply.reason().as_str()), (413, "body_too_large"));
    gateway
        .expect_metric("tollgate_http_requests_total{code=\"413\",method=\"POST\",outcome=\"bad_request\",route=\"all\"}", 3.0);
}

#[test]
fn more_requests_than_fit_are_answered_503_at_once() {
    let (finish, finished) = mpsc::channel::<()>();
    let finished = Mutex::new(finished);
    let upstream = Upstream::answering(move |_| {
        let _ = finished.lock().unwrap().recv_timeout(Duration::from_secs(10));
        Some(answer("200 OK", "", "done"))
    });
    let gateway = Arc::new(setup("requests: 2", &upstream).start());
    let begun = Arc::new(Barrier::new(3));
    let held: Vec<_> = (0..2)
        .map(|_| {
            let (gateway, begun) = (Arc::clone(&gateway), Arc::clone(&begun));
            thread::spawn(move || {
                let stream = TcpStream::connect(gateway.address()).unwrap();
                begun.wait();
                ask(stream, GET).unwrap().status
            })
        })
        .collect();
    begun.wait();
    wait_for("both at work", || gateway.admin("/status").unwrap().json()["requests_in_flight"] == 2);
    let reply = gateway.get("/");
    assert_eq!((reply.status, reply.reason().as_str()), (503, "overloaded"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    gateway.expect_metric("tollgate_requests_shed_total{reason=\"requests\"}", 1.0);
    finish.send(()).unwrap();
    finish.send(()).unwrap();
    let statuses: Vec<u16> = held.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(statuses, [200, 200]);
    finish.send(()).unwrap();
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn five_lines_are_protected() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main").start();
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    let _ = stream.write_all(&[b'x'; 60_000]);
    let mut said = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.read_to_end(&mut said);
    assert!(String::from_utf8_lossy(&said).starts_with("HTTP/1.1 4"), "{said:?}");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10485761\r\n\r\n";
    assert_eq!(gateway.send(post).unwrap().status, 413);
}
