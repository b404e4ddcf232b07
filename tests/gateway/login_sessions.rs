//! What a login leaves behind (facts/security.md, D11 to D15 and D20): sealed cookies, and tokens that are renewed once for everybody.

use std::time::Duration;

use serde_json::json;
use tollgate::demo::MintRequest;

use super::support::{
    Browser, Gateway, Provider, Reply, Upstream, answer, as_json, get, login_setup, login_setup_with, mint, short_lived, wait_for,
};

const SESSION: &str = "__Host-tollgate";
const KEY: &str = "a key for sessions that has enough letters";

fn start() -> (Provider, Upstream, Gateway) {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup(&provider, upstream.address()).start();
    (provider, upstream, gateway)
}

fn logged_in(gateway: &Gateway, provider: &Provider, person: MintRequest) -> Browser {
    provider.person(person);
    let mut browser = Browser::new();
    browser.log_in(gateway, provider, "/page");
    browser
}

fn set_cookies(reply: &Reply) -> Vec<&str> {
    let fields = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    fields.map(|(_, value)| value.as_str()).collect()
}

/// A person whose session needs several cookies.
fn large(subject: &str, bytes: usize) -> MintRequest {
    MintRequest::default().subject(subject).claim("large", "x".repeat(bytes))
}

/// What the gateway says to a script with these cookies.
fn status_of(gateway: &Gateway, cookies: &str) -> u16 {
    get(gateway.address(), "/api", &format!("Cookie: {cookies}\r\n")).status
}

#[test]
fn d11_cookies_have_exactly_these_flags() {
    let (provider, _upstream, gateway) = start();
    let mut browser = Browser::new();
    let sent = browser.open(&gateway, "/page");
    let [login] = set_cookies(&sent)[..] else { panic!("{sent:?}") };
    let (pair, attributes) = login.split_once(';').unwrap();
    assert!(pair.starts_with("__Host-tollgate-login.") && !pair.ends_with('='), "{login}");
    assert_eq!(attributes, " Max-Age=900; Path=/; Secure; HttpOnly; SameSite=Lax");
    let done = browser.open(&gateway, &provider.authorize(sent.header("location").unwrap()));
    let fields = set_cookies(&done);
    assert_eq!(fields.len(), 2, "{fields:?}");
    let (pair, attributes) = fields[0].split_once(';').unwrap();
    assert!(pair.starts_with("__Host-tollgate=1."), "{pair}");
    assert_eq!(attributes, " Max-Age=1800; Path=/; Secure; HttpOnly; SameSite=Lax");
    let (name, _) = login.split_once('=').unwrap();
    assert_eq!(fields[1], format!("{name}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"));
    assert!(fields.iter().all(|field| field.len() <= 4096));
}

#[test]
fn d11_names_and_lifetimes_are_configured() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let session = "    idle: 5m\n    absolute: 8h\n    cookie: who\n    same_site: none\n";
    let gateway = login_setup_with(&provider, upstream.address(), "", session).start();
    let done = Browser::new().log_in(&gateway, &provider, "/page");
    let field = set_cookies(&done)[0];
    assert!(field.starts_with("__Host-who=1.") && field.ends_with("; Max-Age=300; Path=/; Secure; HttpOnly; SameSite=None"));
}

#[test]
fn d12_a_login_has_a_session_of_its_own_whatever_the_browser_had_before() {
    let (provider, _upstream, gateway) = start();
    let attacker = logged_in(&gateway, &provider, MintRequest::default().subject("mallory"));
    // Somebody put a session into the victim's browser, who then logs in: the page of a route that knows no session.
    for planted in [attacker.cookies[SESSION].clone(), "1.planted".into()] {
        let mut victim = Browser::new();
        provider.person(MintRequest::default().subject("victim"));
        let sent = victim.open(&gateway, "/page");
        victim.cookies.insert(SESSION.into(), planted.clone());
        let done = victim.open(&gateway, &provider.authorize(sent.header("location").unwrap()));
        assert_eq!(done.status, 303);
        assert_ne!(victim.cookies[SESSION], planted);
        // The name of a session is the part of the cookie that is not hidden.
        let id = |cookie: &str| cookie.get(2..32).unwrap_or_default().to_owned();
        assert_ne!(id(&victim.cookies[SESSION]), id(&planted));
        victim.open(&gateway, "/mine");
    }
    let lines = gateway.access_lines(8);
    let subjects: Vec<_> = lines.iter().filter(|line| line["path"] == "/mine").map(|line| line["sub"].clone()).collect();
    assert_eq!(subjects, [json!("victim"), json!("victim")]);
}

#[test]
fn d13_what_we_did_not_seal_is_nobody() {
    let (provider, upstream, gateway) = start();
    let ann = logged_in(&gateway, &provider, large("ann", 4_000));
    let bob = logged_in(&gateway, &provider, large("bob", 4_000));
    let [a0, a1, a2] = ["", ".1", ".2"].map(|end| ann.cookies[&format!("{SESSION}{end}")].clone());
    let b1 = &bob.cookies[&format!("{SESSION}.1")];
    let three = |one: &str, two: &str, three: &str| format!("{SESSION}={one}; {SESSION}.1={two}; {SESSION}.2={three}");
    assert_eq!(status_of(&gateway, &three(&a0, &a1, &a2)), 200);
    let flipped = |text: &str, place: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let mut forged = vec![
        three(&a0, b1, &a2),
        three(&a0, &a2, &a1),
        format!("{SESSION}={a0}; {SESSION}.1={a1}"),
        format!("{SESSION}={a0}; {SESSION}.2={a2}"),
        format!("{SESSION}={a0}"),
        format!("{SESSION}.1={a1}; {SESSION}.2={a2}"),
        format!("{}; {SESSION}={a0}", three(&a0, &a1, &a2)),
        format!("{}; {SESSION}.1={a1}", three(&a0, &a1, &a2)),
        format!("{}; {SESSION}.3=x; {SESSION}.4=x", three(&a0, &a1, &a2)),
        three(&a0.replacen("3.", "99999999.", 1), &a1, &a2),
        three(&a0.replacen("3.", "2.", 1), &a1, &a2),
        three(&a0, &a1, &a2[..a2.len() - 1]),
        three(&a0, &a1, &a2[..a2.len() / 2]),
        three(&a0, &a1, ""),
        format!("{SESSION}="),
        format!("{SESSION}=1."),
        format!("{SESSION}=1.{}", "A".repeat(3_000)),
        format!("{SESSION}=1.{}", "\u{e9}".repeat(100)),
        (0..200).map(|n| format!("{SESSION}.{n}=x")).collect::<Vec<_>>().join("; "),
    ];
    for place in (2..a0.len()).step_by(131) {
        forged.push(three(&flipped(&a0, place), &a1, &a2));
    }
    for place in (0..a2.len()).step_by(97) {
        forged.push(three(&a0, &a1, &flipped(&a2, place)));
    }
    let before = upstream.seen().len();
    for cookies in &forged {
        assert_eq!(status_of(&gateway, cookies), 401, "{}", &cookies[..cookies.len().min(100)]);
        let page = get(gateway.address(), "/page", &format!("Accept: text/html\r\nCookie: {cookies}\r\n"));
        assert_eq!(page.status, 302);
    }
    assert_eq!(upstream.seen().len(), before);
    // Far more than any browser sends: nobody reads it.
    let huge = format!("GET /api HTTP/1.1\r\nHost: localhost\r\nCookie: {SESSION}=1.{}\r\n\r\n", "A".repeat(1 << 20));
    assert_eq!(gateway.send(&huge).unwrap().status, 431);
    gateway.expect_metric("tollgate_sessions_total{result=\"valid\"}", 1.0);
}

#[test]
fn d13_the_browser_forgets_cookies_that_are_none_of_ours() {
    let (_provider, _upstream, gateway) = start();
    let mut browser = Browser::new();
    browser.cookies = [(SESSION, "1.AAAA"), ("__Host-tollgate.1", "x"), ("other", "y")].map(|(n, v)| (n.into(), v.into())).into();
    assert_eq!(browser.open(&gateway, "/page").status, 302);
    assert!(!browser.cookies.contains_key(SESSION) && !browser.cookies.contains_key("__Host-tollgate.1"));
    assert_eq!(browser.cookies["other"], "y");
}

#[test]
fn d13_a_session_outlives_the_change_of_keys_until_the_old_one_is_gone() {
    let (provider, _upstream, gateway) = start();
    let browser = logged_in(&gateway, &provider, MintRequest::default());
    let line = format!("{SESSION}={}", browser.cookies[SESSION]);
    const FRESH: &str = "another key for sessions with enough letters";
    gateway.reload(|text| text.replace(&format!("[\"{KEY}\"]"), &format!("[\"{FRESH}\", \"{KEY}\"]")));
    assert_eq!(status_of(&gateway, &line), 200);
    gateway.reload(|text| text.replace(&format!(", \"{KEY}\"]"), "]"));
    assert_eq!(status_of(&gateway, &line), 401);
}

#[test]
fn a_session_that_no_browser_would_keep_is_refused_with_a_page() {
    let (provider, _upstream, gateway) = start();
    provider.person(large("ann", 9_000));
    let mut browser = Browser::new();
    let sent = browser.open(&gateway, "/page");
    let reply = browser.open(&gateway, &provider.authorize(sent.header("location").unwrap()));
    assert_eq!(reply.status, 500);
    assert!(reply.body.contains("session_too_large") && reply.body.contains("<html"));
    assert!(!browser.is_logged_in());
}

#[test]
fn sessions_end_when_they_are_idle_and_when_they_are_old() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    for session in ["    idle: 2s\n", "    idle: 3s\n    absolute: 3s\n"] {
        let gateway = login_setup_with(&provider, upstream.address(), "", session).start();
        let mut browser = logged_in(&gateway, &provider, MintRequest::default());
        assert_eq!(browser.fetch(&gateway, "/api").status, 200);
        // The same cookies again and again: they do not grow younger.
        wait_for("the end of the session", || browser.clone().fetch(&gateway, "/api").status == 401);
        let reply = browser.open(&gateway, "/page");
        assert_eq!(reply.status, 302);
        assert!(!browser.is_logged_in(), "the browser forgets it");
        assert!(gateway.metric("tollgate_sessions_total{result=\"expired\"}") >= 2.0);
    }
    // Somebody who comes again and again stays.
    let gateway = login_setup_with(&provider, upstream.address(), "", "    idle: 2s\n").start();
    let mut browser = logged_in(&gateway, &provider, MintRequest::default());
    let began = std::time::Instant::now();
    wait_for("more than the idle time", || {
        assert_eq!(browser.fetch(&gateway, "/api").status, 200);
        began.elapsed() > Duration::from_millis(3_500)
    });
}

#[test]
fn d15_fifty_requests_at_once_renew_the_tokens_once() {
    let (provider, _upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, short_lived("ann"));
    provider.person(MintRequest::default().subject("ann"));
    provider.token_answer(|good| {
        // Long enough for the others to come.
        std::thread::sleep(Duration::from_millis(300));
        Some(as_json("200 OK", &good))
    });
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let gateway = &gateway;
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let mut tab = browser.clone();
                scope.spawn(move || tab.fetch(gateway, "/api"))
            })
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for reply in &replies {
        assert_eq!(reply.status, 200);
        assert!(set_cookies(reply).iter().any(|field| field.starts_with(SESSION)), "everybody learns of the new tokens");
    }
    assert_eq!(provider.refreshes(), 1);
    // Somebody whose answer was lost, or who was slow.
    assert_eq!(browser.clone().fetch(&gateway, "/api").status, 200);
    // And with the new cookies.
    browser.keep(&replies[7]);
    for _ in 0..3 {
        assert_eq!(browser.fetch(&gateway, "/api").status, 200);
    }
    assert_eq!(provider.refreshes(), 1);
    gateway.expect_metric("tollgate_session_refreshes_total{result=\"renewed\"}", 1.0);
}

#[test]
fn d15_one_time_refresh_tokens_last_through_many_renewals() {
    let (provider, _upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, short_lived("ann"));
    for round in 1..=5 {
        assert_eq!(browser.fetch(&gateway, "/api").status, 200);
        assert_eq!(provider.refreshes(), round);
    }
}

#[test]
fn d15_a_client_that_leaves_does_not_take_the_new_tokens_with_it() {
    let (provider, _upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, short_lived("ann"));
    provider.person(MintRequest::default().subject("ann"));
    provider.token_answer(|good| {
        std::thread::sleep(Duration::from_millis(500));
        Some(as_json("200 OK", &good))
    });
    let mut stream = std::net::TcpStream::connect(gateway.address()).unwrap();
    let request = format!("GET /api HTTP/1.1\r\nHost: localhost\r\n{}\r\n", browser.line());
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    wait_for("the renewal to begin", || provider.refreshes() == 1);
    drop(stream);
    assert_eq!(browser.fetch(&gateway, "/api").status, 200);
    assert_eq!(provider.refreshes(), 1);
}

#[test]
fn d15_a_refused_renewal_ends_the_session_with_302_or_401() {
    let (provider, _upstream, gateway) = start();
    let browser = logged_in(&gateway, &provider, short_lived("ann"));
    provider.forget();
    let (mut page, mut script) = (browser.clone(), browser.clone());
    let reply = script.fetch(&gateway, "/api");
    assert_eq!((reply.status, reply.header("location")), (401, None));
    assert!(!script.is_logged_in());
    assert_eq!(page.open(&gateway, "/page").status, 302);
    assert!(!page.is_logged_in());
    assert_eq!(provider.refreshes(), 1, "a no stands");
    gateway.expect_metric("tollgate_session_refreshes_total{result=\"refused\"}", 1.0);
    gateway.expect_metric("tollgate_sessions_total{result=\"ended\"}", 2.0);
}

#[test]
fn d15_while_the_issuer_is_away_good_tokens_go_on_and_bad_ones_are_503() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup_with(&provider, upstream.address(), "", "").start();
    gateway.reload(|text| text.replace("identity:\n", "identity:\n  clock_skew: 3s\n"));
    type Make = fn() -> Option<Vec<u8>>;
    let silent: [Make; 3] =
        [|| Some(answer("500 Internal Server Error", "", "")), || None, || Some(answer("200 OK", "", "<html>"))];
    for make in silent {
        let browser = logged_in(&gateway, &provider, short_lived("ann"));
        provider.outage(make);
        assert_eq!(browser.clone().fetch(&gateway, "/api").status, 200, "the token counts for three seconds more");
        wait_for("the end of the token", || browser.clone().fetch(&gateway, "/api").status == 503);
        let reply = browser.clone().open(&gateway, "/page");
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
        assert!(reply.body.contains("<html") && reply.body.contains("login_unavailable"));
        let mut script = browser.clone();
        let reply = script.fetch(&gateway, "/api");
        assert_eq!((reply.status, reply.reason().as_str()), (503, "login_unavailable"));
        assert!(script.is_logged_in(), "nobody said no");
        provider.behave();
        wait_for("the issuer to be asked again", || browser.clone().fetch(&gateway, "/api").status == 200);
    }
}

#[test]
fn d15_tokens_of_somebody_else_end_the_session() {
    let (provider, _upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, short_lived("ann"));
    provider.person(MintRequest::default().subject("mallory"));
    assert_eq!(browser.fetch(&gateway, "/api").status, 401);
    assert!(!browser.is_logged_in());
}

#[test]
fn d20_our_cookies_reach_no_upstream_and_none_of_theirs_replaces_them() {
    let provider = Provider::start();
    let upstream = Upstream::answering(|request| {
        let theirs = "Set-Cookie: theirs=1; Path=/\r\nSet-Cookie: __Host-tollgate=1.evil; Secure; Path=/\r\n\
                      Set-Cookie:  app.rt=evil\r\nSet-Cookie: __Host-tollgate.1=evil\r\nSet-Cookie: __Host-tollgate-login.aaaaaaaaaa=evil\r\n\
                      Set-Cookie: more=2\r\n";
        Some(answer("200 OK", if request.starts_with("GET /evil") { theirs } else { "" }, "app"))
    });
    let gateway = login_setup(&provider, upstream.address()).start();
    let browser = logged_in(&gateway, &provider, MintRequest::default());
    let session = &browser.cookies[SESSION];
    for (sent, arrives) in [
        (format!("a=b; {SESSION}={session};c=\"d e\" ;  f"), Some("a=b;c=\"d e\" ;  f")),
        (format!("{SESSION}={session}"), None),
        (format!("{SESSION}={session}; app.rt=secret; app.at=x; __Host-tollgate-login.aaaaaaaaaa=y"), Some("app.at=x")),
    ] {
        assert_eq!(status_of(&gateway, &sent), 200, "{sent}");
        let request = upstream.last();
        let cookies: Vec<_> = request.lines().filter(|line| line.to_ascii_lowercase().starts_with("cookie:")).collect();
        let expected: Vec<String> = arrives.iter().map(|value| format!("Cookie: {value}")).collect();
        assert_eq!(cookies.iter().map(|line| line.replace("cookie:", "Cookie:")).collect::<Vec<_>>(), expected, "{sent}");
    }
    // Also when somebody is known by a token.
    let reply = get(
        gateway.address(),
        "/evil",
        &format!("Authorization: Bearer {}\r\nCookie: {SESSION}={session}; x=y\r\n", mint(&MintRequest::default())),
    );
    assert!(!upstream.last().contains(session.as_str()) && upstream.last().contains("x=y"));
    assert_eq!(set_cookies(&reply), ["theirs=1; Path=/", "more=2"]);
}

#[test]
fn what_another_sites_page_sends_with_a_session_is_403() {
    let (provider, upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, MintRequest::default());
    let before = upstream.seen().len();
    let mut post = |headers: &str| {
        let headers = format!("Content-Length: 0\r\n{headers}");
        browser.send(&gateway, "POST /transfer", &headers)
    };
    for headers in [
        "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: https://evil.example\r\n",
        "Origin: https://localhost.evil.example\r\n",
        "Origin: null\r\n",
        "",
    ] {
        let reply = post(headers);
        assert_eq!((reply.status, reply.reason().as_str()), (403, "cross_site_request"), "{headers}");
    }
    assert_eq!(upstream.seen().len(), before);
    for headers in ["Sec-Fetch-Site: same-origin\r\n", "Sec-Fetch-Site: none\r\n", "Origin: https://localhost\r\n"] {
        assert_eq!(post(headers).status, 200, "{headers}");
    }
    // A site that the route trusts with cookies.
    gateway.reload(|text| {
        let cors = "cors: { origins: [https://app.example.com], credentials: true }";
        text.replace("    auth: required\n", &format!("    auth: required\n    {cors}\n"))
    });
    let mut post = |origin: &str| {
        let headers = format!("Content-Length: 0\r\nSec-Fetch-Site: cross-site\r\nOrigin: {origin}\r\n");
        browser.send(&gateway, "POST /transfer", &headers).status
    };
    assert_eq!((post("https://app.example.com"), post("https://evil.example")), (200, 403));
    // A link from another site shows a page.
    let reply =
        browser.send(&gateway, "GET /page", "Accept: text/html\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n");
    assert_eq!(reply.status, 200);
    // Another site's page cannot open a WebSocket.
    let socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let request =
        format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{socket}Origin: https://evil.example\r\n{}\r\n", browser.line());
    assert_eq!(gateway.send(&request).unwrap().status, 403);
    gateway.expect_metric("tollgate_sessions_total{result=\"cross_site\"}", 8.0);
}

#[test]
fn a_token_in_the_request_goes_before_the_session() {
    let (provider, _upstream, gateway) = start();
    let browser = logged_in(&gateway, &provider, MintRequest::default().subject("of-the-session"));
    let line = browser.line();
    let token = mint(&MintRequest::default().subject("of-the-token"));
    assert_eq!(get(gateway.address(), "/a", &format!("Authorization: Bearer {token}\r\n{line}")).status, 200);
    // A bad one is not made good by a session, and sends nobody to the login.
    let reply = get(gateway.address(), "/b", &format!("Authorization: Bearer nonsense\r\nAccept: text/html\r\n{line}"));
    assert_eq!((reply.status, reply.header("location")), (401, None));
    // What is no token counts as none.
    assert_eq!(get(gateway.address(), "/c", &format!("Authorization: Basic dTpw\r\n{line}")).status, 200);
    let lines = gateway.access_lines(5);
    let sub = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap().get("sub").cloned();
    assert_eq!(sub("/a"), Some(json!("of-the-token")));
    assert_eq!(sub("/b"), None);
    assert_eq!(sub("/c"), Some(json!("of-the-session")));
}

#[test]
fn rules_see_the_claims_of_a_session_like_those_of_a_token() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let rule = "fn on_request(claims) { if claims.org != \"acme\" { deny(\"other_org\"); } }";
    let gateway = login_setup(&provider, upstream.address()).rule("org", rule).start();
    let mut ours = logged_in(&gateway, &provider, MintRequest::of("acme", "pro"));
    let mut theirs = logged_in(&gateway, &provider, MintRequest::of("hooli", "pro"));
    assert_eq!(ours.fetch(&gateway, "/api").status, 200);
    let refused = theirs.fetch(&gateway, "/api");
    assert_eq!((refused.status, refused.reason().as_str()), (403, "other_org"));
}

#[test]
fn no_cache_keeps_an_answer_that_sets_a_sessions_cookie() {
    let provider = Provider::start();
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "Cache-Control: public, max-age=3600\r\n", "app")));
    let gateway = login_setup(&provider, upstream.address()).start();
    let mut browser = logged_in(&gateway, &provider, short_lived("ann"));
    provider.person(MintRequest::default().subject("ann"));
    let renewed = browser.fetch(&gateway, "/style.css");
    assert_eq!((set_cookies(&renewed).len(), renewed.header("cache-control")), (1, Some("no-store")));
    let later = browser.fetch(&gateway, "/style.css");
    assert_eq!((set_cookies(&later).len(), later.header("cache-control")), (0, Some("public, max-age=3600")));
}
