//! Answers that become smaller, and those that must not be touched.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Gateway, Setup, Upstream, answer};

/// Head and body of an answer, the body without its chunks.
fn fetch(gateway: &Gateway, method: &str, path: &str, version: &str, lines: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "{method} {path} HTTP/{version}\r\nHost: a\r\n{lines}Connection: close\r\n\r\n").unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    let end = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(received[..end].to_vec()).unwrap().to_ascii_lowercase();
    let mut rest = &received[end + 4..];
    if !head.contains("transfer-encoding: chunked") {
        return (head, rest.to_vec());
    }
    let mut body = Vec::new();
    while !rest.is_empty() {
        let line = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
    }
    (head, body)
}

fn text() -> String {
    "Pack my box with five dozen liquor jugs. ".repeat(500)
}

fn decoded(coding: &str, body: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_string(&mut text).unwrap(),
        "br" => brotli::Decompressor::new(body, 4096).read_to_string(&mut text).unwrap(),
        _ => zstd::Decoder::new(body).unwrap().read_to_string(&mut text).unwrap(),
    };
    text
}

fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::answering(|request| {
        let path = request.split(' ').nth(1).unwrap();
        let (status, headers) = match path {
            "/json" => ("200 OK", "Content-Type: application/json\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\n"),
            "/encoded" => ("200 OK", "Content-Type: application/json\r\nContent-Encoding: identity2\r\n"),
            "/kept" => ("200 OK", "Content-Type: application/json\r\nCache-Control: no-transform\r\n"),
            "/part" => ("206 Partial Content", "Content-Type: application/json\r\nContent-Range: bytes 0-1/2\r\n"),
            "/png" => ("200 OK", "Content-Type: image/png\r\n"),
            "/small" => return Some(answer("200 OK", "Content-Type: application/json\r\n", "{}")),
            _ => ("200 OK", "Content-Type: application/json\r\n"),
        };
        if request.starts_with("HEAD") {
            return Some(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 20500\r\n\r\n").into_bytes());
        }
        if path == "/stream" {
            let chunk = format!("{:x}\r\n{}\r\n", text().len(), text());
            return Some(
                format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n").into_bytes(),
            );
        }
        Some(answer(status, headers, &text()))
    });
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text("  - name: plain\n    match: { path: /plain }\n    auth: none\n    upstream: main\n")
        .route_text("  - name: all\n    auth: none\n    upstream: main\n    compress: true\n")
        .start();
    (upstream, gateway)
}

#[test]
fn the_client_chooses_the_coding() {
    let (_upstream, gateway) = start();
    for (accept, coding) in
        [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("gzip;q=1, br;q=0.4", "gzip"), ("gzip, *", "zstd")]
    {
        let (head, body) = fetch(&gateway, "GET", "/json", "1.1", &format!("Accept-Encoding: {accept}\r\n"));
        assert!(head.contains(&format!("content-encoding: {coding}\r\n")), "{accept}: {head}");
        assert!(head.contains("vary: accept-encoding") && head.contains("etag: w/\"1\""), "{head}");
        assert!(!head.contains("content-length") && !head.contains("accept-ranges"), "{head}");
        assert!(body.len() < text().len() / 10, "{coding} made {} bytes", body.len());
        assert_eq!(decoded(coding, &body), text(), "{coding}");
    }
}

#[test]
fn a_body_of_unknown_length_is_compressed_piece_by_piece() {
    let (_upstream, gateway) = start();
    let (head, body) = fetch(&gateway, "GET", "/stream", "1.1", "Accept-Encoding: gzip\r\n");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert_eq!(decoded("gzip", &body), text().repeat(2));
    let line = &gateway.access_lines(1)[0];
    assert!(line["bytes_out"].as_u64().unwrap() < 10_000, "what was sent is counted: {line}");
}

#[test]
fn some_answers_stay_as_they_are() {
    let (_upstream, gateway) = start();
    for (path, varies) in
        [("/encoded", false), ("/kept", false), ("/part", false), ("/png", false), ("/small", false), ("/plain", false)]
    {
        let (head, body) = fetch(&gateway, "GET", path, "1.1", "Accept-Encoding: gzip\r\n");
        assert!(!head.contains("content-encoding: gzip"), "{path}: {head}");
        assert_eq!(head.contains("vary: accept-encoding"), varies, "{path}: {head}");
        assert!(body == text().as_bytes() || body == b"{}", "{path}");
    }
    for (method, version, lines) in
        [("GET", "1.1", ""), ("GET", "1.1", "Accept-Encoding: gzip;q=0\r\n"), ("GET", "1.0", "Accept-Encoding: gzip\r\n")]
    {
        let (head, body) = fetch(&gateway, method, "/json", version, lines);
        assert!(!head.contains("content-encoding"), "{lines}: {head}");
        assert!(head.contains("vary: accept-encoding"), "{lines}: {head}");
        assert_eq!(body, text().as_bytes());
    }
    let (head, body) = fetch(&gateway, "HEAD", "/json", "1.1", "Accept-Encoding: gzip\r\n");
    assert!(head.contains("content-length: 20500") && body.is_empty(), "{head}");
}

#[test]
fn http2_clients_get_it_too() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "Content-Type: text/plain\r\n", &text())));
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text("  - name: all\n    auth: none\n    upstream: main\n    compress: true\n    cors: { origins: [\"https://a.example\"] }\n")
        .listener("    protocols: [http1, http2]\n")
        .start();
    let prior = "--http2-prior-knowledge";
    let reply = gateway
        .curl("http://a.example/", &[prior, "--compressed", "-H", "accept-encoding: gzip", "-H", "origin: https://a.example"]);
    assert_eq!((reply.status, reply.version.as_str(), reply.header("content-encoding")), (200, "2", Some("gzip")));
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!((reply.header("transfer-encoding"), reply.body.as_str()), (None, &*text()));
    let preflight = ["-X", "OPTIONS", "-H", "origin: https://a.example", "-H", "access-control-request-method: GET"];
    let reply = gateway.curl("http://a.example/", &[&[prior][..], &preflight].concat());
    assert_eq!((reply.status, reply.header("access-control-allow-methods")), (204, Some("GET, HEAD, POST")));
}

#[test]
fn a_reload_switches_it_on() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "Content-Type: text/plain\r\n", &text())));
    let gateway = Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main").start();
    let (head, _) = fetch(&gateway, "GET", "/", "1.1", "Accept-Encoding: gzip\r\n");
    assert!(!head.contains("content-encoding"), "{head}");
    let config = gateway.config().replace("    upstream: main\n", "    upstream: main\n    compress: { algorithms: [gzip] }\n");
    gateway.write("config.yaml", &config);
    crate::support::wait_for("compression", || {
        fetch(&gateway, "GET", "/", "1.1", "Accept-Encoding: gzip, br\r\n").0.contains("content-encoding: gzip")
    });
}
