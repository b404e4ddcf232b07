//! What FusionAuth's browser SDKs expect of their server (`/app/…`), and what must not come of it.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::demo::{APPLICATION_ID, MintRequest};

use super::support::{Browser, CALLBACK, CLIENT_SECRET, Gateway, Provider, Reply, Setup, Upstream, answer, as_json};

const PAGE: &str = "https://app.localhost";

fn setup(provider: &Provider, upstream: &Upstream, more: &str) -> Setup {
    Setup::to(upstream.address()).issuer(&provider.url()).identity(&format!(
        "  hosted_backend:\n    client_id: {APPLICATION_ID}\n    client_secret: {CLIENT_SECRET}\n    url: https://localhost\n    \
         redirect_uris: [\"{PAGE}\", \"https://other.localhost/in\"]\n    keys: [\"a key for refresh tokens with enough letters\"]\n{more}"
    ))
}

fn start() -> (Provider, Upstream, Gateway) {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = setup(&provider, &upstream, "").start();
    (provider, upstream, gateway)
}

/// From the SDK's first call to the page that it came from.
fn log_in(gateway: &Gateway, provider: &Provider, browser: &mut Browser) -> Reply {
    let sent = browser.open(gateway, &format!("/app/login/?client_id={APPLICATION_ID}&redirect_uri={PAGE}&state=a+b"));
    assert_eq!(sent.status, 302, "{sent:?}");
    back(gateway, provider, browser, &sent)
}

fn back(gateway: &Gateway, provider: &Provider, browser: &mut Browser, sent: &Reply) -> Reply {
    let location = sent.header("location").unwrap().replace("/oauth2/register?", "/oauth2/authorize?");
    browser.open(gateway, &provider.authorize(&location).replace(CALLBACK, "/app/callback"))
}

fn logged_in(gateway: &Gateway, provider: &Provider, person: MintRequest) -> Browser {
    provider.person(person);
    let mut browser = Browser::new();
    assert_eq!(log_in(gateway, provider, &mut browser).status, 303);
    browser
}

/// What the SDK sends: no header but these, and the body's type is one that any page could send.
fn refresh(gateway: &Gateway, browser: &mut Browser, origin: &str) -> Reply {
    let line = format!("POST /app/refresh/?client_id={APPLICATION_ID}");
    browser.send(gateway, &line, &format!("{origin}Content-Type: text/plain\r\nContent-Length: 0\r\n"))
}

fn from(origin: &str) -> String {
    format!("Origin: {origin}\r\nSec-Fetch-Site: same-site\r\n")
}

fn set_cookies(reply: &Reply) -> Vec<&str> {
    let fields = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    fields.map(|(_, value)| value.as_str()).collect()
}

fn attributes<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
    let field = set_cookies(reply).into_iter().find(|field| field.starts_with(&format!("{name}="))).unwrap();
    field.split("; ").skip(1).collect()
}

#[test]
fn an_application_logs_in_and_gets_the_four_cookies() {
    let (provider, _upstream, gateway) = start();
    provider.person(MintRequest::default().subject("ann"));
    let mut browser = Browser::new();
    let sent = browser
        .open(&gateway, &format!("/app/login/?client_id={APPLICATION_ID}&redirect_uri={PAGE}&state=a+b&idp_hint=x&nonce=evil"));
    let query = sent.header("location").unwrap().split_once('?').unwrap().1;
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let named = |name: &str| pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect::<Vec<_>>();
    assert_eq!(named("redirect_uri"), ["https://localhost/app/callback"]);
    assert_eq!((named("scope"), named("idp_hint")), (vec!["openid offline_access"], vec!["x"]));
    assert_eq!((named("nonce").len(), named("nonce") == ["evil"]), (1, false));

    let done = back(&gateway, &provider, &mut browser, &sent);
    assert_eq!((done.status, done.header("location")), (303, Some("https://app.localhost?state=a+b")));
    assert_eq!(done.header("referrer-policy"), Some("no-referrer"));
    for (name, is_hidden) in [("app.at", true), ("app.rt", true), ("app.idt", false), ("app.at_exp", false)] {
        let attributes = attributes(&done, name);
        assert_eq!(attributes.contains(&"HttpOnly"), is_hidden, "{name}");
        assert_eq!(&attributes[1..4], ["Path=/", "Secure", "SameSite=Lax"], "{name}");
    }
    let expiry: u64 = browser.cookies["app.at_exp"].parse().unwrap();
    assert!(expiry < 10_000_000_000, "Unix seconds");
    assert_eq!(browser.cookies["app.at"].split('.').count(), 3);
    assert_eq!(browser.cookies["app.idt"].split('.').count(), 3);
    assert_eq!(browser.cookies.len(), 4, "nothing of the login is left");

    // FusionAuth's own form, with the application in the path.
    let mut second = Browser::new();
    let sent = second.open(&gateway, &format!("/app/register/{APPLICATION_ID}?scope=offline_access"));
    let location = sent.header("location").unwrap();
    assert!(location.starts_with(&format!("{}/oauth2/register?", provider.url())), "{location}");
    assert!(location.contains("scope=openid+offline_access"));
    assert_eq!(back(&gateway, &provider, &mut second, &sent).header("location"), Some(PAGE));
}

#[test]
fn the_cookies_open_the_api_and_upstreams_never_see_the_refresh_token() {
    let (provider, upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, MintRequest::default().subject("ann"));
    assert!(!browser.cookies["app.rt"].contains("refresh-"), "it is sealed");
    let reply = browser.send(&gateway, "GET /api/orders", &from(PAGE));
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = upstream.last();
    assert!(seen.contains("app.at=") && !seen.contains("app.rt"), "{seen}");
    // What changes something has to come from a page of the configuration.
    for (origin, status) in [
        (from(PAGE), 200),
        (from("https://localhost"), 200),
        ("Sec-Fetch-Site: same-origin\r\n".into(), 200),
        (from("https://evil.localhost"), 403),
        ("Sec-Fetch-Site: same-site\r\n".into(), 403),
        (format!("{}Origin: {PAGE}\r\n", from("https://evil.localhost")), 403),
        (String::new(), 403),
    ] {
        let reply = browser.send(&gateway, "POST /api/orders", &format!("{origin}Content-Length: 0\r\n"));
        assert_eq!(reply.status, status, "{origin}");
    }
    // A client that shows the token itself is no browser's page.
    let bearer = format!("Authorization: Bearer {}\r\nContent-Length: 0\r\n", browser.cookies["app.at"]);
    assert_eq!(Browser::new().send(&gateway, "POST /api/orders", &bearer).status, 200);
}

#[test]
fn d20_an_upstream_cannot_set_the_cookies() {
    let provider = Provider::start();
    let upstream = Upstream::answering(|_| {
        let fields = ["app.at=x", "app.rt=x; Path=/", "app.idt=x", "app.at_exp=1", "mine=y"]
            .map(|field| format!("Set-Cookie: {field}\r\n"));
        Some(answer("200 OK", &fields.concat(), ""))
    });
    let gateway = setup(&provider, &upstream, "").start();
    let mut browser = logged_in(&gateway, &provider, MintRequest::default());
    let reply = browser.send(&gateway, "GET /api", "");
    assert_eq!(set_cookies(&reply), ["mine=y"]);
}

#[test]
fn tokens_are_renewed_once_for_all_the_tabs_that_ask() {
    let (provider, _upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, MintRequest::default().subject("ann"));
    let before = browser.clone();
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let tabs: Vec<_> = (0..20).map(|_| scope.spawn(|| refresh(&gateway, &mut before.clone(), &from(PAGE)))).collect();
        tabs.into_iter().map(|tab| tab.join().unwrap()).collect()
    });
    assert!(replies.iter().all(|reply| reply.status == 204), "{replies:?}");
    assert_eq!(provider.token_requests().len(), 2, "the login and one renewal");
    browser.keep(&replies[0]);
    assert_ne!(browser.cookies["app.at"], before.cookies["app.at"]);
    let answer = &replies[7];
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!((answer.header("access-control-allow-credentials"), answer.header("vary")), (Some("true"), Some("Origin")));
    // The new refresh token is good for the next one.
    assert_eq!(refresh(&gateway, &mut browser, &from(PAGE)).status, 204);
    assert_eq!(provider.token_requests().len(), 3);
    gateway.expect_metric("tollgate_session_refreshes_total{result=\"renewed\"}", 2.0);
}

#[test]
fn h3_pages_of_other_origins_renew_nothing_and_read_nothing() {
    let (provider, _upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, MintRequest::default());
    for origin in [
        from("https://evil.example"),
        from("https://evil.localhost"),
        from("null"),
        "Sec-Fetch-Site: cross-site\r\n".into(),
        String::new(),
    ] {
        let refused = refresh(&gateway, &mut browser, &origin);
        assert_eq!((refused.status, refused.reason().as_str()), (403, "cross_site_request"), "{origin}");
        assert_eq!((refused.header("access-control-allow-origin"), refused.header("set-cookie")), (None, None));
    }
    let me = browser.send(&gateway, "GET /app/me", &from("https://evil.localhost"));
    assert_eq!(me.header("access-control-allow-origin"), None);
    assert_eq!(provider.token_requests().len(), 1);
    for (line, status) in [
        (format!("POST /app/refresh/?client_id={}", "x"), 400),
        ("POST /app/refresh/".into(), 400),
        (format!("GET /app/refresh/?client_id={APPLICATION_ID}"), 405),
        ("POST /app/me".into(), 405),
    ] {
        let reply = browser.send(&gateway, &line, &format!("{}Content-Length: 0\r\n", from(PAGE)));
        assert_eq!(reply.status, status, "{line}");
    }
    let preflight =
        browser.send(&gateway, "OPTIONS /app/refresh/", &format!("{}Access-Control-Request-Method: POST\r\n", from(PAGE)));
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, Some("POST")));
}

#[test]
fn what_cannot_be_renewed_is_over_and_an_issuer_that_is_away_ends_nothing() {
    let (provider, _upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, MintRequest::default());
    provider.token_answer(|_| Some(answer("503 Service Unavailable", "", "")));
    let reply = refresh(&gateway, &mut browser, &from(PAGE));
    assert_eq!((reply.status, reply.reason().as_str(), browser.cookies.len()), (503, "login_unavailable", 4));
    assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE), "the page may read why");

    let mut browser = logged_in(&gateway, &provider, {
        provider.behave();
        MintRequest::default()
    });
    provider.token_answer(|_| Some(as_json("400 Bad Request", &json!({ "error": "invalid_grant" }))));
    let reply = refresh(&gateway, &mut browser, &from(PAGE));
    assert_eq!((reply.status, browser.cookies.len()), (401, 0));
    // Cookies that are nobody's.
    for value in ["", "x", &"A".repeat(3000)] {
        let mut forged = Browser::new();
        forged.cookies.insert("app.rt".into(), value.into());
        assert_eq!(refresh(&gateway, &mut forged, &from(PAGE)).status, 401);
    }
}

#[test]
fn me_is_what_the_issuer_says_about_the_person_and_nobody_else() {
    let (provider, _upstream, gateway) = start();
    let mut browser = logged_in(&gateway, &provider, MintRequest::default().subject("ann"));
    let me = browser.send(&gateway, "GET /app/me/", &from(PAGE));
    assert_eq!((me.status, me.header("content-type")), (200, Some("application/json")));
    assert_eq!(serde_json::from_str::<Value>(&me.body).unwrap(), json!({ "sub": "ann", "email": "ann@example.com" }));
    assert_eq!(me.header("access-control-allow-origin"), Some(PAGE));

    assert_eq!(Browser::new().send(&gateway, "GET /app/me", "").status, 401);
    let mut twice = browser.clone();
    twice.cookies.insert("a".into(), format!("b; app.at={}", browser.cookies["app.at"]));
    assert_eq!(twice.send(&gateway, "GET /app/me", "").status, 401);
    for (answer, status) in [
        (Some(as_json("200 OK", &json!({ "sub": "bob" }))), 502),
        (Some(answer("200 OK", "", "<html>")), 502),
        (Some(answer("401 Unauthorized", "", "")), 401),
        (Some(answer("500 Internal Server Error", "", "")), 503),
        (None, 503),
    ] {
        provider.userinfo(move |_| answer.clone());
        assert_eq!(browser.send(&gateway, "GET /app/me", "").status, status);
    }
}

#[test]
fn d9_an_application_is_sent_only_where_the_configuration_says() {
    let (provider, _upstream, gateway) = start();
    for query in [
        "redirect_uri=https://evil.example",
        "redirect_uri=https://app.localhost/",
        "redirect_uri=https://app.localhost%40evil.example",
        "redirect_uri=//app.localhost",
        "redirect_uri=https://app.localhost&redirect_uri=https://evil.example",
        "redirect_uri=javascript:alert(1)",
    ] {
        for endpoint in ["login", "register"] {
            let refused = Browser::new().open(&gateway, &format!("/app/{endpoint}/?client_id={APPLICATION_ID}&{query}"));
            assert_eq!((refused.status, refused.header("location")), (400, None), "{endpoint} {query}");
        }
    }
    assert_eq!(Browser::new().open(&gateway, "/app/login/?client_id=other").status, 400);
    assert_eq!(Browser::new().open(&gateway, "/app/login/").status, 400);
    // Anything else below /app is the upstream's.
    assert_eq!(Browser::new().open(&gateway, "/app/dashboard").status, 401);
    assert!(provider.token_requests().is_empty());
}

#[test]
fn d1_d2_d6_a_callback_works_once_and_in_the_browser_that_began() {
    let (provider, _upstream, gateway) = start();
    let mut browser = Browser::new();
    let sent = browser.open(&gateway, &format!("/app/login/{APPLICATION_ID}"));
    let callback = provider.authorize(sent.header("location").unwrap()).replace(CALLBACK, "/app/callback");
    assert_eq!(Browser::new().open(&gateway, &callback).status, 400);
    let mut again = browser.clone();
    assert_eq!(browser.open(&gateway, &callback).status, 303);
    assert_eq!(again.open(&gateway, &callback).status, 400);
    assert_eq!(again.cookies.len(), 0);
    assert_eq!(Browser::new().open(&gateway, "/app/callback").status, 400);
}

#[test]
fn d14_a_logout_ends_the_refresh_token_and_only_an_application_starts_it() {
    let (provider, _upstream, gateway) = start();
    let browser = logged_in(&gateway, &provider, MintRequest::default());
    let line = format!("GET /app/logout/?client_id={APPLICATION_ID}&post_logout_redirect_uri={PAGE}");
    let navigation = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    for headers in [
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n".to_owned(),
        format!("Sec-Fetch-Site: cross-site\r\nReferer: {PAGE}/\r\n{navigation}"),
        format!("Sec-Fetch-Site: same-site\r\nReferer: https://evil.localhost/\r\n{navigation}"),
        format!("Sec-Fetch-Site: same-site\r\nReferer: {PAGE}.evil.example/\r\n{navigation}"),
        format!("Sec-Fetch-Site: same-site\r\n{navigation}"),
        String::new(),
    ] {
        let asked = browser.clone().send(&gateway, &line, &headers);
        assert_eq!((asked.status, asked.header("set-cookie")), (200, None), "{headers}");
        assert!(asked.body.contains("<form method=\"post\">"));
    }
    let mut leaving = browser.clone();
    let reply = leaving.send(&gateway, &line, &format!("Sec-Fetch-Site: same-site\r\nReferer: {PAGE}/\r\n{navigation}"));
    assert_eq!((reply.status, leaving.cookies.len()), (303, 0));
    let wanted = format!(
        "{}/oauth2/logout?client_id={APPLICATION_ID}&post_logout_redirect_uri=https%3A%2F%2Fapp.localhost",
        provider.url()
    );
    assert_eq!(reply.header("location"), Some(&*wanted));
    let mut thief = browser.clone();
    assert_eq!(refresh(&gateway, &mut thief, &from(PAGE)).status, 401, "a copy of the cookie is worth nothing");
    // The question's own form, and nobody else's.
    let post =
        |origin: &str| browser.clone().send(&gateway, &line.replace("GET", "POST"), &format!("{origin}Content-Length: 0\r\n"));
    assert_eq!(post(&from("https://localhost")).status, 303);
    assert_eq!(post(&from("https://evil.localhost")).status, 403);
    let elsewhere = line.replace(PAGE, "https://evil.example");
    let refused =
        browser.clone().send(&gateway, &elsewhere, &format!("Sec-Fetch-Site: same-site\r\nReferer: {PAGE}/\r\n{navigation}"));
    assert_eq!((refused.status, refused.header("location")), (400, None));
}

#[test]
fn cookies_have_the_configured_domain_and_end_in_time() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = Setup::to(upstream.address())
        .issuer(&provider.url())
        .identity(&format!(
            "  hosted_backend:\n    client_id: {APPLICATION_ID}\n    client_secret: {CLIENT_SECRET}\n    url: https://api.example.com\n    \
             redirect_uris: [\"https://app.example.com\"]\n    keys: [\"a key for refresh tokens with enough letters\"]\n    \
             cookie_domain: example.com\n    lifetime: 2h\n"
        ))
        .start();
    provider.person(MintRequest::default().subject("ann").expires_in(Duration::from_secs(60)));
    let host = |line: &str, cookies: &str| {
        let request = format!("GET {line} HTTP/1.1\r\nHost: api.example.com\r\n{cookies}Connection: close\r\n\r\n");
        super::support::send(gateway.address(), request.as_bytes()).unwrap()
    };
    let sent = host(&format!("/app/login/{APPLICATION_ID}"), "");
    let mut browser = Browser::new();
    browser.keep(&sent);
    let done = host(&provider.authorize(sent.header("location").unwrap()).replace(CALLBACK, "/app/callback"), &browser.line());
    assert_eq!(done.status, 303, "{done:?}");
    assert_eq!(attributes(&done, "app.rt")[..3], ["Max-Age=7200", "Path=/", "Domain=example.com"]);
    let lasts: u64 = attributes(&done, "app.at")[0].strip_prefix("Max-Age=").unwrap().parse().unwrap();
    assert!((50..=60).contains(&lasts), "{lasts}");
    // Under another name this is no server of the SDKs.
    assert_eq!(Browser::new().open(&gateway, &format!("/app/login/{APPLICATION_ID}")).status, 401);
}
