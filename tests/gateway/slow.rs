//! Clients that take their time: each is given some, and then cut; the others do not notice.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Gateway, Setup, Upstream, answer, ask};

const TICK: Duration = Duration::from_millis(50);

fn gateway(limits: &str, upstream: &Upstream) -> Gateway {
    let setup = Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main");
    setup.with(&format!("limits: {{ {limits} }}\n")).start()
}

/// Sends piece after piece until the peer ends the connection; what it said meanwhile, and when.
fn drip(mut stream: TcpStream, pieces: impl Iterator<Item = Vec<u8>>) -> (String, Duration) {
    let began = Instant::now();
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    stream.set_read_timeout(Some(TICK)).unwrap();
    for piece in pieces {
        let _ = stream.write_all(&piece);
        match stream.read(&mut chunk) {
            Ok(0) => return (String::from_utf8(said).unwrap(), began.elapsed()),
            Ok(count) => said.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return (String::from_utf8(said).unwrap(), began.elapsed()),
        }
    }
    panic!("the connection was not ended; it said {:?}", String::from_utf8_lossy(&said));
}

/// For at most `seconds`.
fn bytes(first: &str, then: &'static [u8], seconds: u64) -> impl Iterator<Item = Vec<u8>> {
    let ticks = usize::try_from(seconds * 1_000 / 50).unwrap();
    std::iter::once(first.as_bytes().to_vec()).chain(std::iter::repeat_n(then.to_vec(), ticks))
}

fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.address()).unwrap()
}

/// Not before the time, and not long after it even on a busy machine.
fn is_about(took: Duration, seconds: u64) -> bool {
    (Duration::from_secs(seconds)..Duration::from_secs(seconds + 8)).contains(&(took + TICK))
}

#[test]
fn a_head_that_drips_is_answered_408_in_time() {
    let upstream = Upstream::named("main");
    let gateway = gateway("header_timeout: 1s", &upstream);
    // A field a tick: no single read ever takes long.
    let (said, took) = drip(connect(&gateway), bytes("GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n", 20));
    assert!(said.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{said:?}");
    assert!(said.contains("\"reason\":\"request_timeout\""), "{said:?}");
    assert!(is_about(took, 1), "{took:?}");
    gateway.expect_metric("tollgate_connections_cut_total{reason=\"header_timeout\"}", 1.0);
    assert_eq!(gateway.get("/").status, 200, "others are served");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn the_second_head_of_a_connection_has_as_long_as_the_first() {
    let upstream = Upstream::named("main");
    let gateway = gateway("header_timeout: 1s, idle_timeout: 20s", &upstream);
    let stream = connect(&gateway);
    let reply = ask(stream.try_clone().unwrap(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(reply.status, 200);
    // Being idle for longer than a head may take is fine.
    thread::sleep(Duration::from_millis(1_500));
    let reply = ask(stream.try_clone().unwrap(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(reply.status, 200);
    let (said, took) = drip(stream, bytes("GET / HTTP/1.1\r\nHost: a\r\n", b"X", 20));
    assert!(said.starts_with("HTTP/1.1 408 "), "{said:?}");
    assert!(is_about(took, 1), "{took:?}");
}

#[test]
fn silence_ends_without_a_word() {
    let upstream = Upstream::named("main");
    let gateway = gateway("header_timeout: 1s, idle_timeout: 1s", &upstream);
    let (said, took) = drip(connect(&gateway), bytes("", b"", 20));
    assert_eq!(said, "");
    assert!(is_about(took, 1), "{took:?}");
    gateway.expect_metric("tollgate_connections_cut_total{reason=\"header_timeout\"}", 1.0);

    let stream = connect(&gateway);
    let reply = ask(stream.try_clone().unwrap(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(reply.status, 200);
    let (said, took) = drip(stream, bytes("", b"", 20));
    assert_eq!(said, "");
    assert!(is_about(took, 1), "{took:?}");
    gateway.expect_metric("tollgate_connections_cut_total{reason=\"idle\"}", 1.0);
    gateway.expect_metric("tollgate_connections", 0.0);
}

#[test]
fn a_body_that_drips_is_answered_408() {
    let upstream = Upstream::named("main");
    let gateway = gateway("body_min_rate: 1000, body_grace: 1s", &upstream);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let (said, took) = drip(connect(&gateway), bytes(head, b"x", 20));
    assert!(said.starts_with("HTTP/1.1 408 "), "{said:?}");
    assert!(said.contains("\"reason\":\"request_timeout\""), "{said:?}");
    assert!(is_about(took, 1), "{took:?}");
    gateway.expect_metric("tollgate_connections_cut_total{reason=\"body_rate\"}", 1.0);
    gateway
        .expect_metric("tollgate_http_requests_total{code=\"408\",method=\"POST\",outcome=\"bad_request\",route=\"all\"}", 1.0);
}

#[test]
fn a_body_that_never_comes_is_answered_408() {
    let upstream = Upstream::named("main");
    let gateway = gateway("body_grace: 1s", &upstream);
    for head in [
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let (said, took) = drip(connect(&gateway), bytes(head, b"", 20));
        assert!(said.contains("HTTP/1.1 408 "), "{said:?}");
        assert!(is_about(took, 1), "{took:?}");
    }
}

#[test]
fn a_slow_body_that_keeps_the_rate_arrives() {
    let upstream = Upstream::named("main");
    let gateway = gateway("body_min_rate: 100, body_grace: 1s", &upstream);
    let stream = connect(&gateway);
    let mut writer = stream.try_clone().unwrap();
    // 2.5 seconds at 800 bytes a second.
    writer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n").unwrap();
    for _ in 0..50 {
        writer.write_all(&[b'x'; 40]).unwrap();
        thread::sleep(TICK);
    }
    assert_eq!(ask(stream, b"").unwrap().status, 200);
    assert_eq!(gateway.metric("tollgate_connections_cut_total{reason=\"body_rate\"}"), 0.0);
}

#[test]
fn a_slow_upstream_is_not_taken_for_a_slow_client() {
    let upstream = Upstream::answering(|_| {
        thread::sleep(Duration::from_millis(900));
        Some(answer("200 OK", "", "late"))
    });
    let gateway = gateway("header_timeout: 1s, body_grace: 1s, idle_timeout: 1s, body_min_rate: 1000000", &upstream);
    let stream = connect(&gateway);
    for _ in 0..3 {
        let reply = ask(stream.try_clone().unwrap(), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (200, "late"));
    }
}

#[test]
fn who_reads_nothing_is_given_up() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "", &"x".repeat(16 << 20))));
    let gateway = gateway("write_timeout: 1s", &upstream);
    let mut stream = connect(&gateway);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    gateway
        .expect_metric("tollgate_http_requests_total{code=\"200\",method=\"GET\",outcome=\"client_closed\",route=\"all\"}", 1.0);
    gateway.expect_metric("tollgate_connections", 0.0);
}
