//! Servers that answer what they should not: one defined answer for the client, and never a second request on such a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Gateway, Setup, ask, raw_server};

/// A server that answers the first request of every connection with some bytes and keeps the connection open; whatever comes
/// afterwards on it is counted.
struct Hostile {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    second_requests: Arc<AtomicUsize>,
}

impl Hostile {
    fn new(answer: impl Into<Vec<u8>>) -> Self {
        let (connections, second_requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, second, answer) = (Arc::clone(&connections), Arc::clone(&second_requests), answer.into());
        let address = raw_server(move |mut stream| {
            count.fetch_add(1, Ordering::SeqCst);
            read_head(&mut stream);
            let _ = stream.write_all(&answer);
            let mut rest = [0; 4096];
            while let Ok(bytes @ 1..) = stream.read(&mut rest) {
                let _ = bytes;
                second.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, connections, second_requests }
    }

    fn gateway(&self) -> Gateway {
        let keys = "timeouts: { read: 500ms }, retries: { attempts: 0 }, outlier_detection: false";
        Setup::open_to(&format!("{{ servers: [\"http://{}\"], {keys} }}", self.address)).threads(1).start()
    }

    fn assert_never_reused(&self, requests: usize, what: &str) {
        assert_eq!(self.connections.load(Ordering::SeqCst), requests, "{what}: each request has its own connection");
        assert_eq!(self.second_requests.load(Ordering::SeqCst), 0, "{what}");
    }
}

fn read_head(stream: &mut TcpStream) {
    let mut received = Vec::new();
    let mut byte = [0; 1];
    while !received.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        received.push(byte[0]);
    }
}

/// Two requests to a server that answers like this: the status of both, and no connection is used twice.
fn refused(what: &str, answer: impl Into<Vec<u8>>) {
    let hostile = Hostile::new(answer);
    let gateway = hostile.gateway();
    for _ in 0..2 {
        let reply = gateway.get("/");
        assert_eq!((reply.status, reply.reason().as_str()), (502, "upstream_error"), "{what}");
    }
    hostile.assert_never_reused(2, what);
}

#[test]
fn an_answer_whose_end_is_in_doubt_is_refused() {
    refused("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello");
    refused("a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello");
    refused("a length in a list", "HTTP/1.1 200 OK\r\nContent-Length: 5, 4\r\n\r\nhello");
    for coding in ["cow", "cow, chunked", "chunked, cow", "chunked, chunked", "identity"] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        refused(coding, answer);
    }
    refused("chunks from HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn an_answer_that_is_not_http_is_refused() {
    refused("nonsense", "SSH-2.0-OpenSSH_9.2\r\n");
    refused("a header without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n");
    refused("a CR in a value", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n");
    refused("a NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n");
    for status in ["20", "099", "600", "999"] {
        refused(status, format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n"));
    }
    refused("an answer of HTTP/0.9", "hello");
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let large = "x".repeat(140 * 1024);
    refused("one header", format!("HTTP/1.1 200 OK\r\nX-Large: {large}\r\nContent-Length: 0\r\n\r\n"));
    let many: String = (0..2_000).map(|i| format!("X-{i}: y\r\n")).collect();
    refused("many headers", format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n"));
    let huge = "x".repeat(10 << 20);
    refused("ten megabytes", format!("HTTP/1.1 200 OK\r\nX-Huge: {huge}\r\nContent-Length: 0\r\n\r\n"));
}

#[test]
fn a_flood_of_interim_answers_is_refused() {
    let flood = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".repeat(5_000);
    let hostile = Hostile::new(format!("{flood}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let gateway = hostile.gateway();
    let began = std::time::Instant::now();
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut received = String::new();
    let _ = stream.read_to_string(&mut received);
    assert!(received.matches("HTTP/1.1 103").count() <= 16, "{}", received.matches("HTTP/1.1 103").count());
    assert!(!received.contains("HTTP/1.1 200"), "{received}");
    assert!(began.elapsed().as_secs() < 8);
    hostile.assert_never_reused(1, "interim answers");
}

#[test]
fn an_upgrade_that_nobody_asked_for_is_refused() {
    refused(
        "101",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    );
}

/// What the client gets of an answer whose body is not what its head says.
fn cut(what: &str, answer: &str) -> String {
    let hostile = Hostile::new(answer);
    let gateway = hostile.gateway();
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(8))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut received = Vec::new();
    assert!(stream.read_to_end(&mut received).is_ok(), "{what}: the connection is closed, which is how a client sees the cut");
    assert_eq!(gateway.access_lines(1)[0]["cut_off"], true, "{what}");
    hostile.assert_never_reused(1, what);
    String::from_utf8_lossy(&received).into_owned()
}

#[test]
fn a_body_that_ends_too_early_is_visibly_cut() {
    let short = cut("a length that is not reached", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    assert!(short.ends_with("hello") && short.to_lowercase().contains("content-length: 10"), "{short}");
    let chunk = cut("a chunk that is not reached", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nff\r\nx");
    assert!(!chunk.ends_with("0\r\n\r\n"), "{chunk}");
    let broken = cut("a chunk size that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nx");
    assert!(!broken.ends_with("0\r\n\r\n"), "{broken}");
}

#[test]
fn what_follows_an_answer_is_never_taken_for_the_next_one() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (what, method, answer) in [
        ("a second answer", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"),
        ("a body after HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n"),
        ("a body after 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("a body after 304", "GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
    ] {
        let hostile = Hostile::new(format!("{answer}{EVIL}"));
        let gateway = hostile.gateway();
        for _ in 0..3 {
            let stream = TcpStream::connect(gateway.address()).unwrap();
            let request = format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let reply = ask(stream, request.as_bytes()).unwrap();
            assert!(!reply.body.contains("evil"), "{what}: {reply:?}");
        }
        hostile.assert_never_reused(3, what);
    }
}

/// What pingora puts right before anybody can see it, as RFC 9112 says: §6.3 (chunks win over a length), §2.2 (a bare LF may end a
/// line), §5.1 and §5.2 (blanks before the colon and folded lines are removed). The client gets one well-formed answer, and what
/// follows it is nobody's.
#[test]
fn what_may_be_put_right_is() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (what, answer, body) in [
        (
            "two framings",
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "hello",
        ),
        ("bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\nX-Folded: a\n\nhello", "hello"),
        ("a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", "hello"),
        ("a folded line", "HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", "hello"),
    ] {
        let hostile = Hostile::new(format!("{answer}{EVIL}"));
        let gateway = hostile.gateway();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(gateway.address()).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
            let mut received = String::new();
            stream.read_to_string(&mut received).unwrap();
            let (head, rest) = received.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.replace("\r\n", "").contains('\n'), "{what}: {head}");
            let lower = head.to_ascii_lowercase();
            assert!(lower.contains("content-length:") != lower.contains("transfer-encoding:"), "{what}: {head}");
            assert!(rest.contains(body) && !rest.contains("evil"), "{what}: {rest}");
        }
        hostile.assert_never_reused(2, what);
    }
}
