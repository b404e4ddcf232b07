//! Logging out (facts/security.md, D14): a session that is really over, and nobody who can do it for somebody else.

use tollgate::demo::MintRequest;

use super::support::{Browser, Gateway, Provider, Reply, Upstream, login_setup, login_setup_with, wait_for};

const OWN_FORM: &str = "Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n";
const OWN_LINK: &str = "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

fn start() -> (Provider, Upstream, Gateway, Browser) {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup(&provider, upstream.address()).start();
    let browser = log_in(&gateway, &provider);
    (provider, upstream, gateway, browser)
}

fn log_in(gateway: &Gateway, provider: &Provider) -> Browser {
    let mut browser = Browser::new();
    browser.log_in(gateway, provider, "/page");
    browser
}

/// Where the issuer's logout is asked to send the browser.
fn assert_leads_out(reply: &Reply, provider: &Provider, after: &str) {
    assert_eq!((reply.status, reply.header("cache-control")), (303, Some("no-store")), "{reply:?}");
    let query = reply.header("location").unwrap().strip_prefix(&format!("{}/oauth2/logout?", provider.url())).unwrap();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let application = tollgate::demo::APPLICATION_ID.to_owned();
    assert_eq!(pairs, [("client_id".into(), application), ("post_logout_redirect_uri".into(), after.to_owned())]);
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
}

#[test]
fn d14_a_form_of_the_site_ends_the_session_for_every_copy_of_its_cookies() {
    let (provider, upstream, gateway, mut browser) = start();
    let copy = browser.clone();
    assert_eq!(copy.clone().fetch(&gateway, "/api").status, 200);
    let reply = browser.send(&gateway, "POST /logout", OWN_FORM);
    assert_leads_out(&reply, &provider, "https://localhost/");
    assert!(!browser.is_logged_in());
    let before = upstream.seen().len();
    let mut thief = copy;
    assert_eq!(thief.fetch(&gateway, "/api").status, 401);
    assert!(!thief.is_logged_in(), "the copy is told to forget it, too");
    assert_eq!(upstream.seen().len(), before);
    assert!(provider.token_requests().len() == 1, "nobody renews what is over");
    // Somebody else's session, and the next one of the same person, are others.
    assert_eq!(log_in(&gateway, &provider).fetch(&gateway, "/api").status, 200);
}

#[test]
fn d14_a_link_of_the_site_logs_out_and_a_page_without_a_session_too() {
    let (provider, _upstream, gateway, mut browser) = start();
    assert_leads_out(&browser.send(&gateway, "GET /logout", OWN_LINK), &provider, "https://localhost/");
    assert!(!browser.is_logged_in());
    assert_leads_out(&browser.send(&gateway, "POST /logout", OWN_FORM), &provider, "https://localhost/");
}

#[test]
fn d14_nobody_else_logs_somebody_out() {
    let (_provider, _upstream, gateway, mut browser) = start();
    for (what, headers) in [
        ("an image", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n"),
        ("an image of this site", "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n"),
        ("another site's link", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"),
        ("a sister's link", "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"),
        ("a frame", "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n"),
        (
            "a prefetch",
            "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nSec-Purpose: prefetch\r\n",
        ),
        ("an old browser", "Referer: https://evil.example/\r\n"),
    ] {
        let asked = browser.send(&gateway, "GET /logout", headers);
        assert_eq!(asked.status, 200, "{what}");
        assert!(asked.body.contains("<form method=\"post\">"), "{what}");
        assert_eq!(asked.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
        assert_eq!(asked.header("set-cookie"), None, "{what}");
    }
    for (what, headers) in [
        ("another site's form", "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n"),
        ("a sister's form", "Sec-Fetch-Site: same-site\r\nOrigin: https://sister.localhost\r\n"),
        ("an old browser's", "Origin: https://evil.example\r\n"),
        ("nobody knows whose", ""),
    ] {
        let refused = browser.send(&gateway, "POST /logout", &format!("{headers}Content-Length: 0\r\n"));
        assert_eq!((refused.status, refused.reason().as_str()), (403, "cross_site_request"), "{what}");
    }
    assert_eq!(browser.send(&gateway, "PUT /logout", OWN_FORM).header("allow"), Some("GET, POST"));
    assert_eq!(browser.fetch(&gateway, "/api").status, 200, "the session is what it was");
}

#[test]
fn d9_d14_where_a_logout_leads_is_the_configurations_choice_alone() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup(&provider, upstream.address())
        .identity("  logout:\n    path: /bye\n    after: https://www.example.com/goodbye?x=1\n")
        .start();
    let query = "?post_logout_redirect_uri=https://evil.example&redirect_uri=https://evil.example&rd=//evil.example&state=x";
    let reply =
        Browser::new().send(&gateway, &format!("POST /bye{query}"), &format!("{OWN_FORM}X-Forwarded-Host: evil.example\r\n"));
    assert_leads_out(&reply, &provider, "https://www.example.com/goodbye?x=1");
    // The usual path is the upstream's then.
    assert_eq!(Browser::new().send(&gateway, "POST /logout", OWN_FORM).status, 401);
}

#[test]
fn d14_the_issuers_own_logout_page_ends_the_session_and_no_other_page_does() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup_with(&provider, upstream.address(), "    public_url: https://auth.localhost/idp\n", "").start();
    let framed = |headers: &str, query: &str| {
        let mut browser = Browser::new();
        let sent = browser.open(&gateway, "/page");
        let location = sent.header("location").unwrap().replace("https://auth.localhost/idp", &provider.url());
        assert_eq!(browser.open(&gateway, &provider.authorize(&location)).status, 303);
        let reply = browser.send(&gateway, &format!("GET /logout/frontchannel{query}"), headers);
        (reply, browser.is_logged_in())
    };
    for (headers, query) in [
        ("Referer: https://auth.localhost/\r\nSec-Fetch-Site: same-site\r\n", ""),
        ("Referer: https://auth.localhost/idp/oauth2/logout\r\n", "?iss=acme.com&sid=x"),
        ("Sec-Fetch-Site: same-site\r\nSec-Fetch-Dest: iframe\r\n", ""),
    ] {
        let (reply, is_logged_in) = framed(headers, query);
        assert_eq!((reply.status, is_logged_in), (200, false), "{headers}{query}");
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; frame-ancestors https://auth.localhost"));
    }
    for (headers, query) in [
        ("Referer: https://evil.example/\r\nSec-Fetch-Site: cross-site\r\n", ""),
        ("Referer: https://auth.localhost.evil.example/\r\n", ""),
        ("Sec-Fetch-Site: cross-site\r\n", ""),
        ("", ""),
        ("Referer: https://auth.localhost/\r\n", "?iss=evil.example"),
    ] {
        let (reply, is_logged_in) = framed(headers, query);
        assert_eq!((reply.status, reply.reason().as_str(), is_logged_in), (403, "cross_site_request", true), "{headers}{query}");
    }
}

#[test]
fn an_issuer_that_is_away_keeps_nobody_logged_in() {
    let (provider, _upstream, gateway, mut browser) = start();
    let url = provider.url();
    provider.discovery(|_| None);
    let reply = browser.send(&gateway, "POST /logout", OWN_FORM);
    assert_eq!(reply.status, 303);
    assert!(reply.header("location").unwrap().starts_with(&format!("{url}/oauth2/logout?client_id=")));
    assert!(!browser.is_logged_in());
}

#[test]
fn d14_where_revocations_are_kept_a_logout_is_known_to_other_gateways_and_renews_nothing() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let one = login_setup(&provider, upstream.address()).identity("  revocation: { file: revocations.db }\n").start();
    let file = format!("  revocation: {{ file: \"{}\" }}\n", one.path("revocations.db").display());
    let other = login_setup(&provider, upstream.address()).identity(&file).start();
    // FusionAuth names the login in every token of it, renewed ones included.
    provider.person(MintRequest::default().subject("ann").claim("sid", "the-login"));
    let mut browser = log_in(&one, &provider);
    let copy = browser.clone();
    assert_eq!(copy.clone().fetch(&other, "/api").status, 200);
    assert_eq!(browser.send(&one, "POST /logout", OWN_FORM).status, 303);
    wait_for("the other gateway", || copy.clone().fetch(&other, "/api").status == 401);
    assert_eq!(one.metric("tollgate_revocations_total{kind=\"session\",source=\"logout\"}"), 1.0);
    // The next login is another one.
    provider.person(MintRequest::default().subject("ann").claim("sid", "the-next"));
    assert_eq!(log_in(&one, &provider).fetch(&other, "/api").status, 200);
}
