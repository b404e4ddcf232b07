//! Proxies before the gateway: the PROXY protocol, and whose `X-Forwarded-*` is believed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Authority, Reply, Setup, Upstream, ask, get};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\x0a\x00\x00\x01\x04\xd2\x01\xbb";

fn open(upstream: &Upstream) -> Setup {
    Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main")
}

fn asked(gateway: &crate::support::Gateway, header: &[u8]) -> Option<Reply> {
    let request = [header, b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"].concat();
    ask(TcpStream::connect(gateway.address()).unwrap(), &request)
}

fn client(upstream: &Upstream) -> String {
    let seen = upstream.last().to_ascii_lowercase();
    seen.lines().find_map(|line| line.strip_prefix("x-forwarded-for: ")).unwrap_or_default().to_owned()
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let upstream = Upstream::named("main");
    let required = open(&upstream).listener("    proxy_protocol: required\n").server(", trusted_proxies: [127.0.0.0/8]").start();
    let optional = open(&upstream).listener("    proxy_protocol: optional\n").server(", trusted_proxies: [127.0.0.1]").start();
    for gateway in [&required, &optional] {
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 1234 443\r\n".as_slice(), "192.0.2.7"),
            (b"PROXY TCP6 2001:db8::7 ::1 1234 443\r\n", "2001:db8::7"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (V2, "192.0.2.1"),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", "127.0.0.1"),
        ] {
            assert_eq!(asked(gateway, header).expect("an answer").status, 200, "{header:?}");
            assert_eq!(client(&upstream), expected, "{header:?}");
        }
    }
    assert_eq!(required.access_lines(5)[0]["client_ip"], "192.0.2.7");
    assert_eq!(asked(&optional, b"").unwrap().status, 200);
    assert_eq!(client(&upstream), "127.0.0.1");
    let count = upstream.seen().len();
    assert!(asked(&required, b"").is_none(), "a connection that nobody introduced is closed");
    for malformed in
        [b"PROXY TCP4 192.0.2.7\r\n".as_slice(), b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"]
    {
        assert!(asked(&required, malformed).is_none(), "{malformed:?}");
        assert!(asked(&optional, malformed).is_none(), "{malformed:?}");
    }
    assert_eq!(upstream.seen().len(), count);
    let series = |listener| format!("tollgate_proxy_protocol_refusals_total{{listener=\"{listener}\"}}");
    required.expect_metric(&series(required.address()), 4.0);
    optional.expect_metric(&series(optional.address()), 3.0);
}

#[test]
fn nobody_else_names_the_client() {
    let upstream = Upstream::named("main");
    let elsewhere = ", trusted_proxies: [10.0.0.0/8]";
    let off = open(&upstream).server(", trusted_proxies: [127.0.0.1]").start();
    let optional = open(&upstream).listener("    proxy_protocol: optional\n").server(elsewhere).start();
    let required = open(&upstream).listener("    proxy_protocol: required\n").server(elsewhere).start();
    let spoofed = b"PROXY TCP4 192.0.2.7 10.0.0.1 1234 443\r\n";
    for gateway in [&off, &optional] {
        assert_eq!(asked(gateway, spoofed).map(|reply| reply.status), Some(400), "it is no HTTP");
    }
    assert!(asked(&required, spoofed).is_none());
    assert_eq!(upstream.seen(), Vec::<String>::new());
}

#[test]
fn a_header_that_never_ends_is_cut() {
    let upstream = Upstream::named("main");
    let gateway = open(&upstream).listener("    proxy_protocol: required\n").server(", trusted_proxies: [127.0.0.1]").start();
    let mut slow = TcpStream::connect(gateway.address()).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    slow.write_all(b"PROXY TCP4 192").unwrap();
    let began = std::time::Instant::now();
    assert_eq!(slow.read(&mut [0; 16]).unwrap_or(0), 0);
    assert!((9..25).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[test]
fn the_header_comes_before_tls() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let setup = open(&upstream).certificate("a", &authority.server(&["a.example"])).file("ca.pem", &authority.pem());
    let gateway = setup
        .listener("    proxy_protocol: required\n    tls: { certificate: a.pem, private_key: a.key }\n")
        .server(", trusted_proxies: [127.0.0.1]")
        .start();
    assert_eq!(gateway.curl("https://a.example/", &["--haproxy-protocol"]).status, 200);
    assert_eq!(gateway.curl("https://a.example/", &[]).status, 0);
    assert_eq!(client(&upstream), "127.0.0.1");
}

#[test]
fn forwarded_headers_count_only_from_trusted_proxies() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(request) { set_header(\"x-seen\", `${request.client_ip} ${request.is_secure}`); }";
    let trusting = open(&upstream).rule("seen", rule).server(", trusted_proxies: [127.0.0.1, 10.0.0.0/8]").start();
    let lines = "X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.1.1.1\r\nX-Forwarded-Proto: http, https\r\n";
    assert_eq!(get(trusting.address(), "/", lines).status, 200);
    let seen = upstream.last().to_ascii_lowercase();
    for line in ["x-seen: 192.0.2.7 true", "x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https"] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} in {seen}");
    }
    assert_eq!(trusting.access_lines(1)[0]["client_ip"], "192.0.2.7");
    let alone = open(&upstream).rule("seen", rule).start();
    assert_eq!(get(alone.address(), "/", lines).status, 200);
    let seen = upstream.last().to_ascii_lowercase();
    for line in ["x-seen: 127.0.0.1 false", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} in {seen}");
    }
}
