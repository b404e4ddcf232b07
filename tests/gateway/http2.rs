//! HTTP/2 from clients, over TLS and without.

use crate::support::{Authority, Frames, Setup, Upstream, Verdict};

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

/// A request that is fine, whose fields a case replaces or adds to.
fn fields<'a>(change: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];
    for (name, value) in change {
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
    }
    fields
}

#[test]
fn rfc9113_what_http1_could_not_say_never_reaches_an_upstream() {
    let upstream = Upstream::named("main");
    let gateway = open(&upstream).listener("    protocols: [http2]\n").start();
    let with = |change: &[(&'static str, &'static str)]| fields(change);
    let without = |name: &str| fields(&[]).into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>();
    let also = |field: (&'static str, &'static str)| [fields(&[]), vec![field]].concat();
    let cases = [
        ("CR LF in a value", with(&[("x", "a\r\nevil: b")])),
        ("LF in a value", with(&[("x", "a\nevil: b")])),
        ("NUL in a value", with(&[("x", "a\0b")])),
        ("CR LF in a name", with(&[("x\r\nevil", "b")])),
        ("a colon in a name", with(&[("x:y", "b")])),
        ("a space in a name", with(&[("x y", "b")])),
        ("upper case in a name", with(&[("X-Up", "b")])),
        ("an empty name", with(&[("", "b")])),
        ("a space in :path", with(&[(":path", "/a b")])),
        ("CR LF in :path", with(&[(":path", "/a\r\nevil: b")])),
        ("an absolute :path", with(&[(":path", "http://evil/")])),
        ("an empty :path", with(&[(":path", "")])),
        ("a relative :path", with(&[(":path", "a")])),
        ("a :path of a star", with(&[(":path", "*")])),
        ("a space in :method", with(&[(":method", "GET /evil")])),
        ("an unknown :method", with(&[(":method", "TRACE")])),
        ("connection", with(&[("connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("keep-alive", with(&[("keep-alive", "5")])),
        ("te", with(&[("te", "gzip")])),
        (":path twice", also((":path", "/evil"))),
        (":authority twice", also((":authority", "evil"))),
        ("an unknown pseudo field", with(&[(":evil", "b")])),
        ("a pseudo field behind", [vec![("x", "y")], fields(&[])].concat()),
        ("no :method", without(":method")),
        ("no :scheme", without(":scheme")),
        ("no :path", without(":path")),
        ("no authority", without(":authority")),
        ("two authorities", with(&[("host", "evil")])),
        ("an authority with a user", with(&[(":authority", "user@a.example")])),
        ("an empty authority", with(&[(":authority", "")])),
        ("two hosts", [without(":authority"), vec![("host", "a.example"), ("host", "a.example")]].concat()),
    ];
    let mut verdicts = String::new();
    for (name, fields) in &cases {
        verdicts.push_str(&format!("{name}: {:?}\n", Frames::ask(gateway.address(), fields, None)));
    }
    assert_eq!(upstream.seen(), Vec::<String>::new());
    assert_eq!(verdicts, EXPECTED.trim_start());

    let host_only = [without(":authority"), vec![("host", "a.example")]].concat();
    assert_eq!(Frames::ask(gateway.address(), &host_only, None), Verdict::Status(200));
    let same = fields(&[("host", "a.example"), ("te", "trailers")]);
    assert_eq!(Frames::ask(gateway.address(), &same, None), Verdict::Status(200));
    let post = fields(&[(":method", "POST"), ("content-length", "3")]);
    assert_eq!(Frames::ask(gateway.address(), &post, Some("abc")), Verdict::Status(200));
    assert!(upstream.last().ends_with("\r\n\r\nabc"), "{}", upstream.last());
    let longer = fields(&[(":method", "POST"), ("content-length", "3")]);
    assert_eq!(Frames::ask(gateway.address(), &longer, Some("abcd")), Verdict::Reset(1));
}

/// The codec ends the connection for what is no HTTP/2 and the stream for what is no request; the rest is refused like over HTTP/1.1.
const EXPECTED: &str = "
CR LF in a value: GoAway(1)
LF in a value: GoAway(1)
NUL in a value: GoAway(1)
CR LF in a name: GoAway(1)
a colon in a name: GoAway(1)
a space in a name: GoAway(1)
upper case in a name: GoAway(1)
an empty name: GoAway(1)
a space in :path: Reset(1)
CR LF in :path: Reset(1)
an absolute :path: Reset(1)
an empty :path: Reset(1)
a relative :path: Reset(1)
a :path of a star: Status(400)
a space in :method: GoAway(1)
an unknown :method: Status(405)
connection: Reset(1)
transfer-encoding: Reset(1)
upgrade: Reset(1)
keep-alive: Reset(1)
te: Reset(1)
:path twice: Reset(1)
:authority twice: Reset(1)
an unknown pseudo field: GoAway(1)
a pseudo field behind: Reset(1)
no :method: Reset(1)
no :scheme: Reset(1)
no :path: Reset(1)
no authority: Status(400)
two authorities: Status(400)
an authority with a user: Status(400)
an empty authority: Reset(1)
two hosts: Status(400)
";
