//! WebSockets, byte by byte. What a real client and server make of them is in `tests/e2e`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tollgate::demo::MintRequest;

use crate::support::{Gateway, Setup, Upstream, answer, event, get, mint, tell, wait_for};

/// The key and its answer of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const METERING: &str =
    "fn on_request() { meter(\"calls\"); }\nfn on_complete(response) { meter(\"bytes\", response.body_bytes); }";

fn switching(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

fn handshake(token: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// A server that takes one connection after another, sends a handshake's head to the test, and goes on as the test says.
struct Server {
    address: SocketAddr,
    connections: Receiver<TcpStream>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = channel();
        thread::spawn(move || listener.incoming().flatten().all(|stream| sender.send(stream).is_ok()));
        Self { address, connections }
    }

    /// The next connection, once its head is read.
    fn next(&self) -> (TcpStream, String) {
        let mut stream = self.connections.recv_timeout(Duration::from_secs(10)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = head(&mut stream);
        (stream, head)
    }
}

/// Reads to the empty line and no further.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn open(gateway: &Gateway, token: &str) -> TcpStream {
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.write_all(handshake(token).as_bytes()).unwrap();
    client
}

/// A WebSocket through the gateway: the client's end and the server's.
fn tunnel(gateway: &Gateway, server: &Server, token: &str) -> (TcpStream, TcpStream) {
    let mut client = open(gateway, token);
    let (mut theirs, request) = server.next();
    assert!(request.to_lowercase().contains("upgrade: websocket\r\n"), "{request}");
    theirs.write_all(switching(ACCEPT).as_bytes()).unwrap();
    let answer = head(&mut client);
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains(ACCEPT), "{answer}");
    (client, theirs)
}

fn exchange(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut arrived = vec![0; bytes.len()];
    to.read_exact(&mut arrived).unwrap();
    assert_eq!(arrived, bytes);
}

fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

/// The payload of a masked close frame.
fn unmasked(frame: &[u8]) -> Vec<u8> {
    assert_eq!((frame[0], frame[1] & 0x80), (0x88, 0x80), "{frame:?}");
    frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

#[test]
fn bytes_pass_both_ways_and_are_one_request_billed_at_its_end() {
    let server = Server::start();
    let gateway = Setup::to(server.address).rule("metering", METERING).billed().start();
    let (mut client, mut theirs) = tunnel(&gateway, &server, &mint(&MintRequest::of("acme", "pro")));
    gateway.expect_metric("tollgate_websockets{route=\"all\"}", 1.0);
    for _ in 0..3 {
        exchange(&mut client, &mut theirs, b"\x81\x83\x01\x02\x03\x04abc");
        exchange(&mut theirs, &mut client, b"\x81\x05hello");
    }
    // Longer than the upstream's read timeout of one second: it does not hold for a tunnel.
    thread::sleep(Duration::from_millis(1_300));
    exchange(&mut theirs, &mut client, b"\x81\x05again");
    assert_eq!(gateway.used("calls"), 0, "it is not over");
    drop(client);
    assert_eq!(rest(&mut theirs), b"");
    wait_for("the bill", || gateway.used("calls") == 1 && gateway.used("bytes") == 28);
    gateway.expect_metric("tollgate_websockets{route=\"all\"}", 0.0);
    gateway.expect_metric("tollgate_websockets_closed_total{reason=\"closed\",route=\"all\"}", 1.0);
    let line = &gateway.access_lines(1)[0];
    assert_eq!((&line["status"], &line["bytes_in"], &line["bytes_out"]), (&101.into(), &27.into(), &28.into()), "{line}");
}

#[test]
fn a_server_that_closes_ends_it_too() {
    let server = Server::start();
    let gateway = Setup::to(server.address).start();
    let (mut client, mut theirs) = tunnel(&gateway, &server, &mint(&MintRequest::of("acme", "pro")));
    theirs.write_all(b"\x88\x02\x03\xe8").unwrap();
    drop(theirs);
    assert_eq!(rest(&mut client), b"\x88\x02\x03\xe8");
    wait_for("the end", || gateway.metric("tollgate_websockets{route=\"all\"}") == 0.0);
}

#[test]
fn an_expired_token_closes_a_silent_connection_with_1008() {
    let server = Server::start();
    let gateway = Setup::to(server.address).identity("  clock_skew: 0s\n").start();
    let token = mint(&MintRequest { expires_in: 3, ..MintRequest::of("acme", "pro") });
    let began = Instant::now();
    let (mut client, mut theirs) = tunnel(&gateway, &server, &token);
    exchange(&mut theirs, &mut client, b"\x81\x05hello");
    assert_eq!(rest(&mut client), b"\x88\x0f\x03\xf0token expired");
    assert!(began.elapsed() > Duration::from_millis(1_500), "not before its time: {:?}", began.elapsed());
    assert_eq!(unmasked(&rest(&mut theirs)), b"\x03\xf0token expired");
    wait_for("the count", || gateway.metric("tollgate_websockets_closed_total{reason=\"expired\",route=\"all\"}") == 1.0);
    gateway.expect_metric("tollgate_websockets{route=\"all\"}", 0.0);
}

#[test]
fn a_revoked_token_closes_its_connection_with_1008_and_no_other() {
    let server = Server::start();
    let gateway = Setup::to(server.address).identity("  revocation: { webhooks: { signature: {} } }\n").start();
    let token = |user: &str| mint(&MintRequest::of("acme", "pro").subject(user));
    let (mut client, mut theirs) = tunnel(&gateway, &server, &token("alice"));
    let (mut other, mut others) = tunnel(&gateway, &server, &token("bob"));
    for user in ["carol", "alice"] {
        assert_eq!(tell(&gateway, &event("user.delete", serde_json::json!({ "user": { "id": user } }))).0, 200);
    }
    let began = Instant::now();
    assert_eq!(rest(&mut client), b"\x88\x0f\x03\xf0token revoked");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(unmasked(&rest(&mut theirs)), b"\x03\xf0token revoked");
    exchange(&mut others, &mut other, b"\x81\x05hello");
    wait_for("the count", || gateway.metric("tollgate_websockets_closed_total{reason=\"revoked\",route=\"all\"}") == 1.0);
}

#[test]
fn a_close_frame_is_never_put_into_another_frame() {
    let server = Server::start();
    let gateway = Setup::to(server.address).server(", websocket_idle: 1s").start();
    let (mut client, mut theirs) = tunnel(&gateway, &server, &mint(&MintRequest::of("acme", "pro")));
    // Half of a frame towards the client, a whole one towards the server.
    exchange(&mut theirs, &mut client, b"\x81\x05hel");
    exchange(&mut client, &mut theirs, b"\x81\x80\x01\x02\x03\x04");
    assert_eq!(rest(&mut client), b"", "the connection just ends");
    assert_eq!(unmasked(&rest(&mut theirs)), b"\x03\xe9idle for too long");
    wait_for("the count", || gateway.metric("tollgate_websockets_closed_total{reason=\"idle\",route=\"all\"}") == 1.0);
}

#[test]
fn an_age_ends_a_busy_connection() {
    let server = Server::start();
    let gateway = Setup::to(server.address).server(", websocket_max_age: 1s").start();
    let (mut client, mut theirs) = tunnel(&gateway, &server, &mint(&MintRequest::of("acme", "pro")));
    theirs.set_nonblocking(true).unwrap();
    let busy = thread::spawn(move || {
        while theirs.write_all(b"\x81\x01x").is_ok() {
            thread::sleep(Duration::from_millis(20))
        }
    });
    let received = rest(&mut client);
    assert!(received.ends_with(b"\x81\x01x\x88\x13\x03\xe9open for too long"), "{received:?}");
    busy.join().unwrap();
    wait_for("the count", || gateway.metric("tollgate_websockets_closed_total{reason=\"max_age\",route=\"all\"}") == 1.0);
}

#[test]
fn a_stopping_gateway_says_going_away_and_exits_within_its_grace() {
    let server = Server::start();
    let mut gateway = Setup::to(server.address).rule("metering", METERING).billed().start();
    let (mut client, mut theirs) = tunnel(&gateway, &server, &mint(&MintRequest::of("acme", "pro")));
    exchange(&mut theirs, &mut client, b"\x81\x05hello");
    gateway.signal("TERM");
    assert_eq!(rest(&mut client), b"\x88\x0c\x03\xe9going away");
    assert_eq!(unmasked(&rest(&mut theirs)), b"\x03\xe9going away");
    drop((client, theirs));
    let (status, took) = gateway.wait();
    assert!(status.success());
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(gateway.used("calls"), 1);
}

#[test]
fn another_answer_than_101_is_an_answer_like_any() {
    let upstream = Upstream::answering(|request| {
        Some(if request.contains("/missing") { answer("404 Not Found", "", "no") } else { answer("200 OK", "", "plain") })
    });
    let gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut client = open(&gateway, &token);
    let first = head(&mut client);
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    let mut body = [0; 5];
    client.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"plain");
    // The connection is no tunnel: what comes next is a request, and is judged.
    client.write_all(b"GET /missing HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let second = head(&mut client);
    assert!(second.starts_with("HTTP/1.1 401 "), "{second}");
    assert_eq!(upstream.seen().len(), 1);
    let lines =
        format!("Authorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\n");
    let reply = gateway.send(&format!("GET /missing HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (404, "no"));
    gateway.expect_metric("tollgate_websockets{route=\"all\"}", 0.0);
}

#[test]
fn a_refused_handshake_reaches_no_server() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).rule("gate", "fn on_request() { deny(\"closed\"); }").start();
    let mut anonymous = open(&gateway, "nonsense");
    assert!(head(&mut anonymous).starts_with("HTTP/1.1 401 "));
    let mut denied = open(&gateway, &mint(&MintRequest::of("acme", "pro")));
    assert!(head(&mut denied).starts_with("HTTP/1.1 403 "));
    assert_eq!(upstream.seen(), Vec::<String>::new());
}

#[test]
fn bytes_sent_before_the_101_do_not_reach_the_server() {
    let server = Server::start();
    let gateway = Setup::to(server.address).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let smuggled = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(format!("{}{smuggled}", handshake(&token)).as_bytes()).unwrap();
    let (mut theirs, _) = server.next();
    theirs.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut early = [0; 64];
    match theirs.read(&mut early) {
        // Closed, or nothing for as long as the answer is open.
        Ok(count) => assert_eq!(count, 0, "{:?}", String::from_utf8_lossy(&early)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
    }
}

#[test]
fn a_101_that_does_not_answer_the_key_opens_no_tunnel() {
    let server = Server::start();
    let gateway = Setup::to(server.address).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut client = open(&gateway, &token);
    let (mut theirs, _) = server.next();
    theirs.write_all(switching("bm90IHRoZSBhbnN3ZXI=").as_bytes()).unwrap();
    let answer = head(&mut client);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(rest(&mut theirs), b"");
    gateway.expect_metric("tollgate_websockets{route=\"all\"}", 0.0);
}

#[test]
fn a_server_that_does_not_answer_a_handshake_is_given_up_in_time() {
    let server = Server::start();
    let gateway = Setup::to(server.address).start();
    let mut client = open(&gateway, &mint(&MintRequest::of("acme", "pro")));
    let (theirs, _) = server.next();
    let answer = head(&mut client);
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    drop(theirs);
    gateway.expect_metric("tollgate_upstream_errors_total{reason=\"timeout\",upstream=\"main\"}", 1.0);
    let line = &gateway.access_lines(1)[0];
    assert_eq!(line["outcome"], "upstream_error", "{line}");
}

#[test]
fn the_connection_of_a_refused_handshake_serves_on_past_the_handshakes_deadline() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut client = open(&gateway, &token);
    assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
    client.read_exact(&mut [0; 4]).unwrap();
    thread::sleep(Duration::from_millis(1_300));
    client.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
    assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
    assert_eq!(get(gateway.address(), "/", &format!("Authorization: Bearer {token}\r\n")).status, 200);
}
