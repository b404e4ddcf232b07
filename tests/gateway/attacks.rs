//! Requests that two servers may read differently: each has one answer, and none reaches the upstream.

use tollgate::demo::MintRequest;

use crate::support::{Setup, Upstream, answer, mint};

/// A request head with a valid token; `{t}` stands for it.
fn attack(head: &str, token: &str) -> String {
    head.replace("{t}", token)
}

#[test]
fn ambiguous_requests_are_refused_before_anything_is_decided() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let auth = "Authorization: Bearer {t}\r\n";
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{auth}\r\n");
    let with = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{auth}{lines}\r\n");
    let post = |lines: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{auth}{lines}\r\n{body}");
    let cases = [
        ("rfc9112 no Host", format!("GET / HTTP/1.1\r\n{auth}\r\n"), 400),
        ("rfc9112 empty Host", format!("GET / HTTP/1.1\r\nHost:\r\n{auth}\r\n"), 400),
        ("rfc9112 two Hosts", format!("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n{auth}\r\n"), 400),
        ("rfc9112 Host list", format!("GET / HTTP/1.1\r\nHost: a, evil\r\n{auth}\r\n"), 400),
        ("rfc9112 Host with a path", format!("GET / HTTP/1.1\r\nHost: a/evil\r\n{auth}\r\n"), 400),
        ("rfc9112 Host with userinfo", format!("GET / HTTP/1.1\r\nHost: u@a\r\n{auth}\r\n"), 400),
        ("rfc9112 absolute form of another host", format!("GET http://b/ HTTP/1.1\r\nHost: a\r\n{auth}\r\n"), 400),
        ("rfc9112 target without a slash", get("admin"), 400),
        ("rfc9112 target is a query", get("?x"), 400),
        ("rfc9112 asterisk for GET", get("*"), 400),
        ("rfc9112 authority form for GET", get("h:80"), 400),
        ("rfc9112 tab in the target", get("/a\tb"), 400),
        ("rfc9112 fragment", get("/a#b"), 400),
        ("rfc3986 raw UTF-8", get("/é"), 400),
        ("rfc3986 bad escape", get("/%zz"), 400),
        ("rfc3986 dot segments", get("/x/../admin"), 400),
        ("rfc3986 single dot", get("/./x"), 400),
        ("rfc3986 escaped dot segments", get("/x/%2e%2e/admin"), 400),
        ("rfc3986 escaped slash", get("/a%2fb"), 400),
        ("rfc3986 escaped backslash", get("/a%5cb"), 400),
        ("rfc3986 backslash", get("/a\\b"), 400),
        ("rfc3986 double escape", get("/%252e%252e/admin"), 400),
        ("rfc3986 escaped NUL", get("/a%00"), 400),
        ("rfc3986 overlong UTF-8", get("/%c0%af"), 400),
        ("rfc3986 empty segment", get("//admin"), 400),
        ("rfc3986 path parameter", get("/admin;x=1"), 400),
        ("rfc9110 TRACE", format!("TRACE / HTTP/1.1\r\nHost: a\r\n{auth}\r\n"), 405),
        ("rfc9110 CONNECT", format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n{auth}\r\n"), 405),
        ("rfc9110 lower-case method", format!("get / HTTP/1.1\r\nHost: a\r\n{auth}\r\n"), 405),
        ("rfc9110 unknown method", format!("BREW / HTTP/1.1\r\nHost: a\r\n{auth}\r\n"), 405),
        ("rfc6750 two Authorizations", with(auth), 400),
        ("rfc9110 unknown expectation", with("Expect: 200-ok\r\n"), 417),
        ("underscore identity header", with("X_User_Id: root\r\n"), 400),
        ("dotted identity header", with("X.User.Id: root\r\n"), 400),
        ("Transfer_Encoding", with("Transfer_Encoding: chunked\r\n"), 400),
        ("Content_Length", with("Content_Length: 3\r\n"), 400),
        (
            "rfc9112 Content-Length and Transfer-Encoding",
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        ("rfc9112 the same Content-Length twice", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 400),
        ("rfc9112 two Content-Lengths", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), 400),
        ("rfc9112 Content-Length list", post("Content-Length: 3, 3\r\n", "abc"), 400),
        ("rfc9112 signed Content-Length", post("Content-Length: +3\r\n", "abc"), 400),
        ("rfc9112 gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400),
        ("rfc9112 identity, chunked", post("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"), 400),
        ("rfc9112 chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400),
        ("rfc9112 xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 400),
        (
            "rfc9112 HTTP/1.0 with Transfer-Encoding",
            format!("POST / HTTP/1.0\r\nHost: a\r\n{auth}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        ("rfc9112 bare line feeds", format!("GET / HTTP/1.1\nHost: a\n{}\n\n", auth.trim()), 400),
        ("rfc9112 obsolete folding", with("X: a\r\n b\r\n"), 400),
        ("rfc9112 no colon", with("nonsense\r\n"), 400),
        ("rfc9112 space before the colon", with("X : a\r\n"), 400),
        ("rfc9110 NUL in a value", with("X: a\0b\r\n"), 400),
        ("rfc6585 a hundred and one fields", with(&"X: y\r\n".repeat(101)), 431),
        ("rfc6585 one field of 60 kB", with(&format!("X: {}\r\n", "y".repeat(60_000))), 431),
        ("rfc9110 target of 9 kB", get(&format!("/{}", "y".repeat(9_000))), 414),
    ];
    let mut wrong = Vec::new();
    for (name, request, expected) in &cases {
        let status = gateway.send(&attack(request, &token)).map_or(0, |reply| reply.status);
        if status != *expected {
            wrong.push(format!("{name}: {status}, not {expected}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(upstream.seen(), Vec::<String>::new(), "nothing may have reached the upstream");
    assert_eq!(gateway.get_with("/", &token).status, 200, "the gateway still serves");
}

#[test]
fn refusals_say_nothing_but_a_reason_and_an_id() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let reply = gateway.get("//x");
    assert_eq!(reply.status, 400);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let document = reply.json();
    assert_eq!(document["reason"], "ambiguous_path");
    assert_eq!(document["title"], "Bad Request");
    assert_eq!(document["status"], 400);
    assert_eq!(document["request_id"], reply.header("x-request-id").unwrap());
    assert_eq!(document.as_object().unwrap().len(), 4);
    assert!(reply.header("server").is_none());
}

#[test]
fn a_client_cannot_speak_in_the_name_of_the_gateway() {
    let upstream = Upstream::named("main");
    let gateway =
        Setup::to(upstream.address()).identity("  forward_claims: { x-user-id: sub, x-org: org, x-none: nothing }\n").start();
    let token = mint(&MintRequest::of("acme", "pro").subject("u-1"));
    let lines = "X-User-Id: root\r\nx-org: evil\r\nX-None: evil\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\n\
                 X-Forwarded-Proto: https\r\nX-Forwarded-Uri: /evil\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n\
                 X-Original-URL: /evil\r\nX-Rewrite-URL: /evil\r\nX-HTTP-Method-Override: DELETE\r\nX-Request-Id: evil\r\n\
                 Connection: x-user-id, x-org, x-request-id\r\n";
    let request = format!("GET /a HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {token}\r\n{lines}\r\n");
    let reply = gateway.send(&request).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = upstream.last().to_ascii_lowercase();
    for line in [
        "x-user-id: u-1",
        "x-org: acme",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: api.example",
        "x-forwarded-proto: http",
    ] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} is missing in\n{seen}");
    }
    for word in ["root", "evil", "1.2.3.4", "x-none", "x-original-url", "x-rewrite-url", "forwarded: for", "method-override"] {
        assert!(!seen.contains(word), "{word} reached the upstream:\n{seen}");
    }
    assert_ne!(reply.header("x-request-id"), Some("evil"));
}

#[test]
fn an_anonymous_request_does_not_keep_identity_headers() {
    let upstream = Upstream::named("main");
    let setup = Setup::new().upstream("main", &[upstream.address()]).route("open", "/open/**", "none", "main");
    let gateway = setup.identity("  forward_claims: { x-user-id: sub }\n").start();
    assert_eq!(crate::support::get(gateway.address(), "/open/a", "X-User-Id: root\r\n").status, 200);
    assert!(!upstream.last().contains("root"));
}

#[test]
fn the_upstream_gets_the_spelling_that_was_judged() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    for (sent, expected) in [
        ("/%61dmin?x=%61", "GET /admin?x=%61 HTTP/1.1"),
        ("http://a/%7euser", "GET /~user HTTP/1.1"),
        ("/caf%c3%a9", "GET /caf%C3%A9 HTTP/1.1"),
        ("/plain?a=b&c", "GET /plain?a=b&c HTTP/1.1"),
        ("/a b", "GET /a%20b HTTP/1.1"),
    ] {
        let reply = gateway.send(&format!("GET {sent} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n")).unwrap();
        assert_eq!(reply.status, 200, "{sent}");
        assert_eq!(upstream.last().lines().next(), Some(expected));
    }
}

#[test]
fn cookies_in_several_fields_arrive_as_one() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n");
    assert_eq!(gateway.send(&request).unwrap().status, 200);
    assert!(upstream.last().to_ascii_lowercase().contains("\r\ncookie: a=1; b=2\r\n"), "{}", upstream.last());
}

#[test]
fn a_second_request_behind_the_body_is_not_smuggled() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "", "x")));
    let gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = format!("POST /outer HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n{inner}");
    assert_eq!(gateway.send(&request).unwrap().status, 200);
    assert!(upstream.seen().iter().all(|seen| !seen.starts_with("GET /smuggled")), "{:?}", upstream.seen());
}

#[test]
fn garbage_from_an_upstream_is_a_502() {
    for reply in
        ["nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 999999 X\r\n\r\n"]
    {
        let upstream = Upstream::answering(move |_| Some(reply.as_bytes().to_vec()));
        let gateway = Setup::to(upstream.address()).start();
        let got = gateway.get_as("/", &MintRequest::of("acme", "pro"));
        assert_eq!((got.status, got.reason().as_str()), (502, "upstream_error"), "{reply:?}");
    }
}
