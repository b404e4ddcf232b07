//! HTTP/2 from clients, over TLS and without.

use crate::support::{Authority, Setup, Upstream};

fn open(upstream: &Upstream) -> Setup {
    Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main")
}

#[test]
fn rfc7301_the_protocol_is_agreed_on_in_the_handshake() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let tls = "    tls: { certificate: a.pem, private_key: a.key }\n";
    for (protocols, asked, version) in [
        ("", "--http2", "2"),
        ("", "--http1.1", "1.1"),
        ("    protocols: [http1]\n", "--http2", "1.1"),
        ("    protocols: [http2]\n", "--http2", "2"),
    ] {
        let setup = open(&upstream).certificate("a", &authority.server(&["a.example"])).file("ca.pem", &authority.pem());
        let gateway = setup.listener(tls).listener(protocols).start();
        let reply = gateway.curl("https://a.example/x?y", &[asked]);
        assert_eq!((reply.status, reply.version.as_str()), (200, version), "{protocols} {asked} {reply:?}");
        let seen = upstream.last().to_ascii_lowercase();
        assert!(seen.starts_with("get /x?y http/1.1\r\n") && seen.contains("\r\nhost: a.example\r\n"), "{seen}");
        assert!(
            seen.contains("\r\nx-forwarded-host: a.example\r\n") && seen.contains("\r\nx-forwarded-proto: https\r\n"),
            "{seen}"
        );
        let lines = gateway.access_lines(1);
        assert_eq!(lines[0]["protocol"], if version == "2" { "h2" } else { "http/1.1" });
        if protocols.contains("http2") {
            assert_eq!(gateway.curl("https://a.example/", &["--http1.1"]).status, 0, "no protocol in common");
        }
    }
}

#[test]
fn rfc9113_http2_without_tls_is_recognised_by_its_preface() {
    let upstream = Upstream::named("main");
    let gateway = open(&upstream).listener("    protocols: [http1, http2]\n").start();
    let reply = gateway.curl("http://a.example/", &["--http2-prior-knowledge"]);
    assert_eq!((reply.status, reply.version.as_str()), (200, "2"));
    let reply = gateway.curl("http://a.example/", &["--http1.1"]);
    assert_eq!((reply.status, reply.version.as_str()), (200, "1.1"));
    assert_eq!(gateway.send("GET / HTTP/1.0\r\n\r\n").unwrap().status, 400, "shorter than the preface, and no host");
    let only_1 = open(&upstream).start();
    assert_eq!(only_1.curl("http://a.example/", &["--http2-prior-knowledge"]).status, 0);
}

#[test]
fn rfc9113_cookie_crumbs_become_one_and_two_authorizations_none() {
    let upstream = Upstream::named("main");
    let gateway = open(&upstream).listener("    protocols: [http1, http2]\n").start();
    let prior = "--http2-prior-knowledge";
    let reply = gateway.curl("http://a.example/", &[prior, "-H", "cookie: a=1", "-H", "cookie: b=2"]);
    assert_eq!(reply.status, 200);
    assert!(upstream.last().to_ascii_lowercase().contains("\r\ncookie: a=1; b=2\r\n"), "{}", upstream.last());
    let reply = gateway.curl("http://a.example/", &[prior, "-H", "authorization: Bearer a", "-H", "authorization: Bearer b"]);
    assert_eq!((reply.status, reply.reason().as_str()), (400, "several_authorizations"));
    assert_eq!(gateway.curl("http://a.example/%2e%2e/x", &[prior, "--path-as-is"]).reason(), "ambiguous_path");
    assert_eq!(gateway.curl("http://a.example/", &[prior, "-H", "x_user: root"]).reason(), "invalid_header_name");
}
