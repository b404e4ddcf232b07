//! What must not be collected before it is passed on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tollgate::demo::MintRequest;

use crate::support::{Gateway, Setup, mint, wait_for};

const LONG: Duration = Duration::from_secs(10);

/// A server that serves one connection, and the gateway before it.
fn with(serve: impl FnOnce(TcpStream) + Send + 'static) -> Gateway {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        serve(stream);
    });
    Setup::to(address).with("limits: { body_size: 1GiB }\n").start()
}

fn head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    head
}

/// Sends a request's head, with its token.
fn ask(gateway: &Gateway, request: &str) -> BufReader<TcpStream> {
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(format!("{request}Host: a\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
    BufReader::new(stream)
}

#[test]
fn each_server_sent_event_arrives_when_it_was_sent() {
    let (next, go) = channel::<()>();
    let gateway = with(move |mut stream| {
        head(&mut BufReader::new(stream.try_clone().unwrap()));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let mut count = 0;
        // The next event is sent only when the one before has arrived: a gateway that waits for more would wait for ever.
        while go.recv().is_ok() {
            let event = format!("data: {count}\n\n");
            stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).unwrap();
            count += 1;
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let mut reader = ask(&gateway, "GET /events HTTP/1.1\r\nAccept: text/event-stream\r\n");
    next.send(()).unwrap();
    assert!(head(&mut reader).starts_with("HTTP/1.1 200 "));
    for count in 0..20 {
        let mut event = String::new();
        while !event.contains("\n\n") {
            assert_ne!(reader.read_line(&mut event).unwrap(), 0);
        }
        assert!(event.contains(&format!("data: {count}\n")), "{event}");
        next.send(()).unwrap();
    }
    drop(next);
    let mut rest = String::new();
    reader.get_mut().shutdown(std::net::Shutdown::Write).ok();
    let _ = reader.read_to_string(&mut rest);
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn long_bodies_pass_both_ways_in_flat_memory() {
    const SIZE: usize = 192 << 20;
    let gateway = with(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        head(&mut reader);
        let received = std::io::copy(&mut reader.take(SIZE as u64), &mut std::io::sink()).unwrap();
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nX-Received: {received}\r\n\r\n").as_bytes())
            .unwrap();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..SIZE >> 20 {
            stream.write_all(&piece).unwrap();
        }
    });
    let before = memory(gateway.pid());
    let mut reader = ask(&gateway, &format!("POST / HTTP/1.1\r\nContent-Length: {SIZE}\r\n"));
    let piece = vec![b'y'; 1 << 20];
    for _ in 0..SIZE >> 20 {
        reader.get_mut().write_all(&piece).unwrap();
    }
    let after_upload = memory(gateway.pid());
    let head = head(&mut reader);
    assert!(head.to_lowercase().contains(&format!("x-received: {SIZE}\r\n")), "{head}");
    // A client that reads nothing for a while: what the server sends meanwhile must wait at the server.
    thread::sleep(Duration::from_millis(500));
    let while_waiting = memory(gateway.pid());
    let received = std::io::copy(&mut reader.take(SIZE as u64), &mut std::io::sink()).unwrap();
    assert_eq!(received, SIZE as u64);
    let most = after_upload.max(while_waiting).max(memory(gateway.pid()));
    assert!(most < before + (24 << 20), "{} MiB became {} MiB", before >> 20, most >> 20);
}

#[test]
fn rfc8297_interim_answers_pass() {
    let gateway = with(|mut stream| {
        head(&mut BufReader::new(stream.try_clone().unwrap()));
        stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .unwrap();
        let _ = stream.read(&mut [0]);
    });
    let mut reader = ask(&gateway, "GET / HTTP/1.1\r\n");
    let early = head(&mut reader);
    assert!(early.starts_with("HTTP/1.1 103 ") && early.to_lowercase().contains("link: </style.css>"), "{early}");
    assert!(head(&mut reader).starts_with("HTTP/1.1 200 "));
}

#[test]
fn rfc9110_10_1_1_a_client_that_expects_100_is_asked_to_continue_by_the_server() {
    let gateway = with(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let request = head(&mut reader);
        assert!(request.to_lowercase().contains("expect: 100-continue\r\n"), "{request}");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 4];
        reader.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"body");
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let mut reader = ask(&gateway, "POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n");
    assert!(head(&mut reader).starts_with("HTTP/1.1 100 "));
    reader.get_mut().write_all(b"body").unwrap();
    assert!(head(&mut reader).starts_with("HTTP/1.1 201 "));
}

#[test]
fn rfc9110_10_1_1_a_refused_client_is_not_asked_for_its_body() {
    let gateway = with(|_| panic!("nothing reaches the server"));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").unwrap();
    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();
    assert!(received.starts_with("HTTP/1.1 401 ") && received.to_lowercase().contains("connection: close"), "{received}");
}

#[test]
fn rfc9110_9_3_2_an_answer_to_head_has_a_length_and_no_body() {
    let gateway = with(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        assert!(head(&mut reader).starts_with("HEAD / HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n").unwrap();
        let second = head(&mut reader);
        assert!(second.starts_with("GET /next "), "{second}");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let mut reader = ask(&gateway, "HEAD / HTTP/1.1\r\n");
    let answer = head(&mut reader);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.to_lowercase().contains("content-length: 5000\r\n"), "{answer}");
    let token = mint(&MintRequest::of("acme", "pro"));
    let next = format!("GET /next HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    reader.get_mut().write_all(next.as_bytes()).unwrap();
    assert!(head(&mut reader).starts_with("HTTP/1.1 200 "));
    wait_for("the counts", || gateway.metric("tollgate_http_response_body_bytes_total{route=\"all\"}") == 2.0);
}
