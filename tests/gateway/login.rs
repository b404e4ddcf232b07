//! Logging in (facts/security.md, D1 to D10 and D16 to D18): a browser, the gateway, and an issuer that is sometimes hostile.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tollgate::demo::{APPLICATION_ID, MintRequest};

use super::support::{
    Browser, CALLBACK, Gateway, Provider, Reply, Setup, Upstream, answer, as_json, get, hs256, login_setup, login_setup_with,
    mint, raw_server, wait_for,
};

fn start() -> (Provider, Upstream, Gateway) {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup(&provider, upstream.address()).start();
    (provider, upstream, gateway)
}

/// The parameters of the address that a browser was sent to.
fn sent_to(reply: &Reply) -> Vec<(String, String)> {
    let query = reply.header("location").unwrap().split_once('?').unwrap().1;
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn parameter(reply: &Reply, name: &str) -> String {
    let all = sent_to(reply);
    let mut found = all.iter().filter(|(known, _)| known == name);
    let value = found.next().unwrap_or_else(|| panic!("no {name} in {all:?}")).1.clone();
    assert!(found.next().is_none(), "{name} twice");
    value
}

/// Begins a login, comes back with what `callback` makes of the right answer, and shows what the gateway says.
fn come_back(gateway: &Gateway, provider: &Provider, browser: &mut Browser, callback: impl Fn(&str) -> String) -> Reply {
    let sent = browser.open(gateway, "/page");
    assert_eq!(sent.status, 302, "{sent:?}");
    let right = provider.authorize(sent.header("location").unwrap());
    browser.open(gateway, &callback(&right))
}

fn is_html(reply: &Reply) -> bool {
    reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) && reply.body.contains("<html")
}

#[test]
fn a_browser_logs_in_and_comes_to_the_page_that_it_asked_for() {
    let (provider, upstream, gateway) = start();
    provider.person(MintRequest::of("acme", "pro").subject("ann"));
    let mut browser = Browser::new();
    let sent = browser.open(&gateway, "/orders/7?tab=items&x=%2F");
    assert_eq!((sent.status, sent.header("cache-control")), (302, Some("no-store")));
    assert!(sent.header("location").unwrap().starts_with(&format!("{}/oauth2/authorize?", provider.url())));
    let names: Vec<_> = sent_to(&sent).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method"]
    );
    assert_eq!(parameter(&sent, "redirect_uri"), format!("https://localhost{CALLBACK}"));
    assert_eq!(parameter(&sent, "scope"), "openid offline_access profile email");

    let back = provider.authorize(sent.header("location").unwrap());
    let done = browser.open(&gateway, &back);
    assert_eq!((done.status, done.header("location")), (303, Some("/orders/7?tab=items&x=%2F")));
    assert_eq!((done.header("referrer-policy"), done.header("cache-control")), (Some("no-referrer"), Some("no-store")));
    assert!(browser.is_logged_in());
    assert_eq!(browser.attempts(), 0);
    assert!(upstream.seen().is_empty(), "nothing of it is an upstream's business");

    let page = browser.open(&gateway, "/orders/7?tab=items&x=%2F");
    assert_eq!((page.status, page.body.as_str()), (200, "app"));
    assert_eq!(browser.fetch(&gateway, "/api").status, 200);
    assert!(!upstream.last().to_ascii_lowercase().contains("cookie"));
    let line = gateway.access_lines(4).into_iter().find(|line| line["path"] == "/api").unwrap();
    assert_eq!((&line["sub"], &line["account"]), (&json!("ann"), &Value::Null));
    gateway.expect_metric("tollgate_logins_total{result=\"started\"}", 1.0);
    gateway.expect_metric("tollgate_logins_total{result=\"completed\"}", 1.0);
    gateway.expect_metric("tollgate_sessions_total{result=\"valid\"}", 2.0);
}

#[test]
fn what_is_configured_reaches_the_login_page() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let login = "    public_url: https://auth.example.com/idp\n    scopes: [openid, email]\n    \
                 idp_hint: 4ffbdf7e-1c3a-4a2b-8a93-2d1b1c2f3a4b\n    prompt: login\n    max_age: 1h\n    after_login: /home\n";
    let gateway = login_setup_with(&provider, upstream.address(), login, "").start();
    let sent = Browser::new().open(&gateway, "/");
    assert!(sent.header("location").unwrap().starts_with("https://auth.example.com/idp/oauth2/authorize?"), "{sent:?}");
    assert_eq!(parameter(&sent, "scope"), "openid email");
    assert_eq!(parameter(&sent, "idp_hint"), "4ffbdf7e-1c3a-4a2b-8a93-2d1b1c2f3a4b");
    assert_eq!((parameter(&sent, "prompt"), parameter(&sent, "max_age")), ("login".into(), "3600".into()));
    let location = sent.header("location").unwrap().replace("https://auth.example.com/idp", &provider.url());
    let mut browser = Browser::new();
    browser.keep(&sent);
    let done = browser.open(&gateway, &provider.authorize(&location));
    assert_eq!((done.status, done.header("location")), (303, Some("/home")));
}

#[test]
fn d1_a_callback_that_cannot_be_read_is_400_and_asks_nobody() {
    let (provider, _upstream, gateway) = start();
    type Turn = fn(&str) -> String;
    let turns: [(&str, Turn); 9] = [
        ("no query", |_| CALLBACK.into()),
        ("no state", |right| right.replace("state=", "sate=")),
        ("an empty state", |right| {
            let state = right.split("state=").nth(1).unwrap().split('&').next().unwrap();
            right.replace(state, "")
        }),
        ("another state", |right| right.replace("state=", "state=x")),
        ("no code", |right| right.replace("code=", "cod=")),
        ("an empty code", |right| format!("{CALLBACK}?code=&state={}", right.split("state=").nth(1).unwrap())),
        ("code and error", |right| format!("{right}&error=access_denied")),
        ("two codes", |right| format!("{right}&code=other")),
        ("two states", |right| {
            let state = right.split("state=").nth(1).unwrap().split('&').next().unwrap();
            format!("{right}&state={state}")
        }),
    ];
    for (what, turn) in turns {
        let mut browser = Browser::new();
        let reply = come_back(&gateway, &provider, &mut browser, turn);
        assert_eq!(reply.status, 400, "{what}: {reply:?}");
        assert!(is_html(&reply) && reply.body.contains("login_invalid"), "{what}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert!(!browser.is_logged_in(), "{what}");
    }
    assert!(provider.token_requests().is_empty());
    // An API client reads why.
    let reply = get(gateway.address(), CALLBACK, "");
    assert_eq!((reply.status, reply.reason().as_str()), (400, "login_invalid"));
}

#[test]
fn d1_the_login_that_a_bad_callback_names_is_over() {
    let (provider, _upstream, gateway) = start();
    let mut browser = Browser::new();
    let sent = browser.open(&gateway, "/page");
    let right = provider.authorize(sent.header("location").unwrap());
    assert_eq!(browser.attempts(), 1);
    assert_eq!(browser.open(&gateway, &format!("{right}&error=x")).status, 400);
    assert_eq!(browser.attempts(), 0);
    // Without a state nobody knows which one is meant.
    browser.open(&gateway, "/page");
    browser.open(&gateway, "/page");
    assert_eq!(browser.attempts(), 2);
    assert_eq!(browser.open(&gateway, CALLBACK).status, 400);
    assert_eq!(browser.attempts(), 0);
}

#[test]
fn d1_an_error_of_the_issuer_is_a_page_with_a_status_of_its_own() {
    let (provider, _upstream, gateway) = start();
    for (error, status, reason) in [
        ("access_denied", 403, "login_denied"),
        ("login_required", 403, "login_denied"),
        ("temporarily_unavailable", 503, "login_unavailable"),
        ("invalid_scope", 502, "login_failed"),
        ("%3Cscript%3E", 502, "login_failed"),
    ] {
        let mut browser = Browser::new();
        let reply = come_back(&gateway, &provider, &mut browser, |right| {
            format!("{CALLBACK}?error={error}&error_description=%3Cb%3E&state={}", right.split("state=").nth(1).unwrap())
        });
        assert_eq!(reply.status, status, "{error}");
        assert!(is_html(&reply) && reply.body.contains(reason) && !reply.body.contains("<b>"), "{error}");
        assert_eq!((browser.is_logged_in(), browser.attempts()), (false, 0));
    }
    assert!(provider.token_requests().is_empty());
}

#[test]
fn d2_somebody_elses_callback_does_not_log_a_browser_in() {
    let (provider, _upstream, gateway) = start();
    let mut attacker = Browser::new();
    let sent = attacker.open(&gateway, "/page");
    let theirs = provider.authorize(sent.header("location").unwrap());
    // A browser without any login, and one with its own under way.
    for begun in [false, true] {
        let mut victim = Browser::new();
        if begun {
            victim.open(&gateway, "/page");
        }
        assert_eq!(victim.open(&gateway, &theirs).status, 400);
        assert!(!victim.is_logged_in());
        // Nor does it disturb what that browser is doing.
        assert_eq!(victim.attempts(), usize::from(begun));
    }
    assert!(provider.token_requests().is_empty());
    assert_eq!(attacker.open(&gateway, &theirs).status, 303);
}

#[test]
fn d3_d7_an_id_token_with_a_fault_logs_nobody_in() {
    let (provider, _upstream, gateway) = start();
    type Make = fn(Value) -> String;
    let with = |name: &'static str, value: Value| {
        move |mut claims: Value| {
            claims[name] = value.clone();
            hs256(&claims)
        }
    };
    let without = |name: &'static str| {
        move |mut claims: Value| {
            claims.as_object_mut().unwrap().remove(name);
            hs256(&claims)
        }
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let none: Make =
        |claims| format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let bent: Make = |claims| {
        let token = hs256(&claims);
        let (head, signature) = token.rsplit_once('.').unwrap();
        format!("{head}.{}", signature.chars().rev().collect::<String>().replace(['A', 'Q', 'g', 'w'], "c") + "A")
    };
    let other_secret: Make = |claims| {
        let key = jsonwebtoken::EncodingKey::from_secret(b"another secret that is long enough to sign");
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    };
    let access_token: Make = |_| mint(&MintRequest::default());
    let rs256_without_aud: Make = |claims| {
        // Signed by the issuer, for somebody else.
        let mut request = MintRequest { claims: claims.as_object().unwrap().clone(), ..MintRequest::default() };
        request.claims.insert("aud".into(), json!("another-application"));
        mint(&request)
    };
    type Fault = Box<dyn Fn(Value) -> String + Send + Sync>;
    let faults: Vec<(&str, Fault)> = vec![
        ("no nonce", Box::new(without("nonce"))),
        ("another nonce", Box::new(with("nonce", json!("another")))),
        ("a nonce that is no text", Box::new(with("nonce", json!(["x"])))),
        ("another issuer", Box::new(with("iss", json!("https://evil.example")))),
        ("an issuer with a slash", Box::new(with("iss", json!("acme.com/")))),
        ("no issuer", Box::new(without("iss"))),
        ("another audience", Box::new(with("aud", json!("another-application")))),
        ("no audience", Box::new(without("aud"))),
        ("several audiences and no azp", Box::new(with("aud", json!([APPLICATION_ID, "other"])))),
        ("another party", Box::new(with("azp", json!("another-application")))),
        ("no subject", Box::new(without("sub"))),
        ("another subject than the access token's", Box::new(with("sub", json!("mallory")))),
        ("no iat", Box::new(without("iat"))),
        ("iat in the future", Box::new(with("iat", json!(now + 3600)))),
        ("iat of yesterday", Box::new(with("iat", json!(now - 86_400)))),
        ("no exp", Box::new(without("exp"))),
        ("expired", Box::new(with("exp", json!(now - 60)))),
        ("another at_hash", Box::new(with("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")))),
        ("another c_hash", Box::new(with("c_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")))),
        ("alg none", Box::new(none)),
        ("a bent signature", Box::new(bent)),
        ("another secret", Box::new(other_secret)),
        ("an access token", Box::new(access_token)),
        ("another application's", Box::new(rs256_without_aud)),
        ("nonsense", Box::new(|_| "nonsense".into())),
    ];
    for (what, make) in faults {
        provider.id_token(make);
        let mut browser = Browser::new();
        let reply = come_back(&gateway, &provider, &mut browser, str::to_owned);
        assert_eq!(reply.status, 502, "{what}: {reply:?}");
        assert!(is_html(&reply) && reply.body.contains("login_failed"), "{what}");
        assert_eq!((browser.is_logged_in(), browser.attempts()), (false, 0), "{what}");
    }
    provider.behave();
    Browser::new().log_in(&gateway, &provider, "/page");
}

#[test]
fn d7_id_tokens_with_a_published_key_are_believed_and_so_are_several_audiences_with_azp() {
    let (provider, _upstream, gateway) = start();
    // As FusionAuth signs them when the application has an asymmetric key; `tty` is what the demo issuer puts into access tokens only.
    provider.id_token(|claims| {
        let mut request = MintRequest::default().claim("tty", Value::Null);
        request.claims.extend(claims.as_object().unwrap().clone());
        mint(&request)
    });
    Browser::new().log_in(&gateway, &provider, "/page");
    provider.id_token(|mut claims| {
        claims["aud"] = json!([APPLICATION_ID, "https://api.example.com"]);
        claims["azp"] = json!(APPLICATION_ID);
        claims.as_object_mut().unwrap().remove("at_hash");
        hs256(&claims)
    });
    Browser::new().log_in(&gateway, &provider, "/page");
}

#[test]
fn d4_each_login_has_its_own_verifier_and_the_issuer_checks_it() {
    let (provider, _upstream, gateway) = start();
    for _ in 0..3 {
        Browser::new().log_in(&gateway, &provider, "/page");
    }
    let requests = provider.token_requests();
    let mut verifiers: Vec<_> =
        requests.iter().map(|request| request.split("code_verifier=").nth(1).unwrap().split('&').next().unwrap()).collect();
    assert!(verifiers.iter().all(|verifier| verifier.len() >= 43));
    verifiers.sort_unstable();
    verifiers.dedup();
    assert_eq!(verifiers.len(), 3);
    // With one login's code in another's callback, the issuer refuses the verifier: nobody is logged in.
    let (mut one, mut other) = (Browser::new(), Browser::new());
    let code = |callback: &str| callback.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let theirs = provider.authorize(other.open(&gateway, "/page").header("location").unwrap());
    let reply = come_back(&gateway, &provider, &mut one, |right| right.replace(&code(right), &code(&theirs)));
    assert_eq!(reply.status, 400);
    assert!(!one.is_logged_in());
}

#[test]
fn d5_another_issuers_name_is_400_before_anybody_is_asked() {
    let (provider, _upstream, gateway) = start();
    let mut browser = Browser::new();
    let reply = come_back(&gateway, &provider, &mut browser, |right| format!("{right}&iss=https%3A%2F%2Fevil.example"));
    assert_eq!(reply.status, 400);
    assert!(provider.token_requests().is_empty() && !browser.is_logged_in());
    let reply = come_back(&gateway, &provider, &mut browser, |right| format!("{right}&iss=acme.com&iss=evil.example"));
    assert_eq!(reply.status, 400);
    let reply = come_back(&gateway, &provider, &mut browser, |right| format!("{right}&iss=acme.com"));
    assert_eq!(reply.status, 303);
}

#[test]
fn d5_an_issuer_that_promises_its_name_must_keep_that() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    provider.discovery(|mut document| {
        document["authorization_response_iss_parameter_supported"] = json!(true);
        Some(as_json("200 OK", &document))
    });
    let gateway = login_setup(&provider, upstream.address()).start();
    let mut browser = Browser::new();
    assert_eq!(come_back(&gateway, &provider, &mut browser, str::to_owned).status, 400);
    assert!(provider.token_requests().is_empty());
    assert_eq!(come_back(&gateway, &provider, &mut browser, |right| format!("{right}&iss=acme.com")).status, 303);
}

#[test]
fn d6_one_callback_makes_one_session_however_often_and_fast_it_comes() {
    let (provider, _upstream, gateway) = start();
    let mut browser = Browser::new();
    let sent = browser.open(&gateway, "/page");
    let back = provider.authorize(sent.header("location").unwrap());
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let (gateway, back) = (&gateway, &back);
        let asked: Vec<_> = (0..8)
            .map(|_| {
                let mut tab = browser.clone();
                scope.spawn(move || tab.open(gateway, back).status)
            })
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 7, "{statuses:?}");
    assert_eq!(provider.token_requests().len(), 1);
    // Later as well, also with the cookie that a browser should have forgotten.
    assert_eq!(browser.open(&gateway, &back).status, 400);
}

#[test]
fn d8_answers_that_are_none_are_a_502_page_and_silence_is_503() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup(&provider, upstream.address()).start();
    type Make = fn(Value) -> Option<Vec<u8>>;
    let cases: [(&str, u16, Make); 12] = [
        ("500", 503, |_| Some(answer("500 Internal Server Error", "", ""))),
        ("503", 503, |_| Some(answer("503 Service Unavailable", "", "later"))),
        ("429", 503, |_| Some(answer("429 Too Many Requests", "", ""))),
        ("a closed connection", 503, |_| None),
        ("HTML", 502, |_| Some(answer("200 OK", "Content-Type: text/html\r\n", "<html><body>hello</body></html>"))),
        ("10 MB", 502, |_| Some(answer("200 OK", "", &format!("{{\"x\":\"{}\"}}", "x".repeat(10 << 20))))),
        ("a redirect", 502, |_| Some(answer("302 Found", "Location: http://evil.example/\r\n", ""))),
        ("no id_token", 502, |mut good| {
            good.as_object_mut().unwrap().remove("id_token");
            Some(as_json("200 OK", &good))
        }),
        ("no access_token", 502, |mut good| {
            good.as_object_mut().unwrap().remove("access_token");
            Some(as_json("200 OK", &good))
        }),
        ("token_type mac", 502, |mut good| {
            good["token_type"] = json!("mac");
            Some(as_json("200 OK", &good))
        }),
        ("an access token of somebody else", 502, |mut good| {
            good["access_token"] = json!(mint(&MintRequest::default().subject("mallory")));
            Some(as_json("200 OK", &good))
        }),
        ("invalid_client", 502, |_| Some(as_json("401 Unauthorized", &json!({ "error": "invalid_client" })))),
    ];
    for (what, status, make) in cases {
        provider.token_answer(make);
        let mut browser = Browser::new();
        let reply = come_back(&gateway, &provider, &mut browser, str::to_owned);
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        assert!(is_html(&reply), "{what}");
        assert_eq!(reply.header("retry-after"), (status == 503).then_some("5"), "{what}");
        assert_eq!((browser.is_logged_in(), browser.attempts()), (false, 0), "{what}");
    }
    provider.behave();
    Browser::new().log_in(&gateway, &provider, "/page");
}

#[test]
fn d8_a_slow_answer_is_503_within_the_deadline() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let setup = login_setup(&provider, upstream.address());
    let gateway = setup.start();
    gateway.reload(|text| text.replace("cooldown: 1s", "cooldown: 1s\n      timeout: 500ms"));
    provider.token_answer(|good| {
        std::thread::sleep(Duration::from_secs(3));
        Some(as_json("200 OK", &good))
    });
    let began = Instant::now();
    let reply = come_back(&gateway, &provider, &mut Browser::new(), str::to_owned);
    assert_eq!(reply.status, 503);
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
}

#[test]
fn d8_logins_are_503_with_a_page_while_the_issuer_is_away_and_work_when_it_is_back() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup(&provider, upstream.address()).start();
    provider.discovery(|_| Some(answer("500 Internal Server Error", "", "")));
    let mut browser = Browser::new();
    let reply = browser.open(&gateway, "/page");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    assert!(is_html(&reply) && reply.body.contains("login_unavailable"));
    assert_eq!(browser.attempts(), 0);
    // API clients are told what they need, whoever is away.
    assert_eq!(browser.fetch(&gateway, "/page").status, 401);
    // Tokens are still accepted: their keys are here.
    assert_eq!(gateway.get_as("/page", &MintRequest::default()).status, 200);
    provider.behave();
    wait_for("the issuer to be asked again", || browser.open(&gateway, "/page").status == 302);
}

#[test]
fn an_issuer_without_discovery_has_fusionauths_paths() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    provider.discovery(|_| Some(answer("404 Not Found", "", "")));
    let gateway = login_setup(&provider, upstream.address()).start();
    Browser::new().log_in(&gateway, &provider, "/page");
}

#[test]
fn d9_no_page_is_on_another_site() {
    let (provider, _upstream, gateway) = start();
    // What a link can make a browser ask for. The intake refuses most of it; what it lets through stays here.
    for path in [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "/%5cevil.example",
        "/%2fevil.example",
        "/%09/evil.example",
        "/.//evil.example",
        "/..//evil.example",
        "/x/..//evil.example",
        "/;//evil.example",
        "/%0d%0aLocation:%20//evil.example",
    ] {
        assert_eq!(Browser::new().open(&gateway, path).status, 400, "{path}");
    }
    for (path, lands) in [
        ("/a?next=//evil.example", "/a?next=//evil.example"),
        ("/a?\\evil", "/a?\\evil"),
        ("/https:evil.example", "/https:evil.example"),
        ("/@evil.example", "/@evil.example"),
        ("/javascript:alert(1)", "/javascript:alert(1)"),
    ] {
        assert_eq!(Browser::new().log_in(&gateway, &provider, path).header("location"), Some(lands), "{path}");
    }
    // No address for the way back is taken from anywhere else.
    let long = format!("/a?{}", "x".repeat(2_000));
    assert_eq!(Browser::new().log_in(&gateway, &provider, &long).header("location"), Some("/"));
    let mut browser = Browser::new();
    let reply = come_back(&gateway, &provider, &mut browser, |right| {
        format!("{right}&rd=//evil.example&return_to=//evil.example&redirect_uri=//evil.example&next=//evil.example")
    });
    assert_eq!((reply.status, reply.header("location")), (303, Some("/page")));
}

#[test]
fn d10_the_redirect_uri_is_the_configured_one_whoever_asks_how() {
    let (provider, _upstream, gateway) = start();
    let lines =
        "Accept: text/html\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: http\r\nForwarded: host=evil.example\r\n";
    let sent = get(gateway.address(), "/page", lines);
    assert_eq!(parameter(&sent, "redirect_uri"), format!("https://localhost{CALLBACK}"));
    // On a host without a callback nobody could come back, so nobody is sent away.
    let request = "GET /page HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html\r\nConnection: close\r\n\r\n";
    let reply = gateway.send(request).unwrap();
    assert_eq!((reply.status, reply.header("location")), (401, None));
    // Nor is there a callback on it.
    let request = format!("GET {CALLBACK} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(gateway.send(&request).unwrap().status, 401);
    let _ = provider;
}

#[test]
fn d16_a_script_gets_401_and_leaves_nothing_behind() {
    let (_provider, upstream, gateway) = start();
    for lines in [
        "",
        "Accept: */*\r\n",
        "Accept: application/json\r\n",
        "Accept: text/html\r\nX-Requested-With: XMLHttpRequest\r\n",
        "Accept: text/html\r\nSec-Fetch-Mode: cors\r\n",
        "Accept: text/html\r\nSec-Purpose: prefetch\r\n",
        "Accept: text/html\r\nAuthorization: Bearer not-a-token\r\n",
    ] {
        let reply = get(gateway.address(), "/page", lines);
        assert_eq!(reply.status, 401, "{lines}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{lines}");
        assert_eq!((reply.header("set-cookie"), reply.header("location")), (None, None), "{lines}");
        assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"), "{lines}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
        let request = format!(
            "{method} /page HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let reply = gateway.send(&request).unwrap();
        assert_eq!((reply.status, reply.header("set-cookie")), (401, None), "{method}");
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn d16_logins_that_nobody_finishes_do_not_pile_up() {
    let (_provider, _upstream, gateway) = start();
    let mut browser = Browser::new();
    for number in 0..60 {
        assert_eq!(browser.open(&gateway, &format!("/page/{number}?q={}", "x".repeat(200))).status, 302);
        assert!(browser.attempts() <= 24);
        assert!(browser.line().len() < 12 * 1024, "{}", browser.line().len());
    }
}

#[test]
fn d17_twenty_tabs_at_once_all_come_to_their_pages() {
    let (provider, _upstream, gateway) = start();
    let mut browser = Browser::new();
    // All of them begin before one of them is back; then they come back in another order.
    let mut tabs: Vec<(String, String)> = (0..20)
        .map(|number| {
            let page = format!("/orders/{number}?tab={number}");
            let sent = browser.open(&gateway, &page);
            (page, provider.authorize(sent.header("location").unwrap()))
        })
        .collect();
    fastrand::shuffle(&mut tabs);
    for (page, back) in tabs {
        let reply = browser.open(&gateway, &back);
        assert_eq!((reply.status, reply.header("location")), (303, Some(page.as_str())));
    }
    assert_eq!(browser.attempts(), 0);
    assert_eq!(browser.open(&gateway, "/page").status, 200);
}

#[test]
fn d18_no_token_code_verifier_or_secret_is_written_or_passed_on() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup(&provider, upstream.address()).start();
    gateway.reload(|text| text.replace("file:access.log\"", "file:access.log\", omit: []"));
    let mut browser = Browser::new();
    let done = browser.log_in(&gateway, &provider, "/page?x=1");
    browser.open(&gateway, "/page?x=1");
    // One that fails after the issuer was asked.
    provider.id_token(|_| "nonsense".into());
    let failed = come_back(&gateway, &provider, &mut Browser::new(), str::to_owned);
    assert_eq!(failed.status, 502);
    let lines = gateway.access_lines(5);
    let callback = lines.iter().find(|line| line["path"] == CALLBACK).unwrap();
    assert_eq!(callback.get("query"), None);
    assert!(lines.iter().any(|line| line["query"] == "x=1"), "other queries stay");

    let requests = provider.token_requests();
    let of = |request: &str, name: &str| {
        let value = request.split(&format!("{name}=")).nth(1).unwrap().split('&').next().unwrap().to_owned();
        assert!(value.len() > 20, "{name}: {value}");
        value
    };
    let mut secrets: Vec<String> =
        requests.iter().flat_map(|request| [of(request, "code"), of(request, "code_verifier")]).collect();
    secrets.push(super::support::CLIENT_SECRET.into());
    secrets.extend(browser.cookies.values().cloned());
    secrets.push("eyJ".into());
    secrets.push("refresh-".into());
    let written = [
        gateway.log(),
        std::fs::read_to_string(gateway.path("access.log")).unwrap(),
        gateway.admin("/metrics").unwrap().body,
        gateway.admin("/status").unwrap().body,
        failed.body.clone(),
        done.body.clone(),
        upstream.seen().concat(),
    ];
    for (place, text) in written.iter().enumerate() {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} in {place}: {text}");
        }
    }
}

#[test]
fn only_get_ends_a_login() {
    let (provider, _upstream, gateway) = start();
    let mut browser = Browser::new();
    let sent = browser.open(&gateway, "/page");
    let back = provider.authorize(sent.header("location").unwrap());
    for method in ["POST", "HEAD", "PUT"] {
        let reply = browser.send(&gateway, &format!("{method} {back}"), "Content-Length: 0\r\n");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET")), "{method}");
    }
    assert_eq!(browser.open(&gateway, &back).status, 303);
}

#[test]
fn routes_say_whether_browsers_are_sent_to_the_login() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let gateway = login_setup(&provider, upstream.address()).start();
    gateway.reload(|text| {
        text.replace(
            "routes:\n",
            "routes:\n  - { name: api, match: { path: /api/** }, auth: required, login: false, upstream: main }\n  \
             - { name: open, match: { path: /open/** }, auth: optional, upstream: main }\n  \
             - { name: public, match: { path: /public/** }, auth: none, upstream: main }\n",
        )
    });
    let mut browser = Browser::new();
    assert_eq!(browser.open(&gateway, "/api/x").status, 401);
    assert_eq!(browser.open(&gateway, "/open/x").status, 200);
    assert_eq!(browser.open(&gateway, "/public/x").status, 200);
    assert_eq!(browser.attempts(), 0);
    browser.log_in(&gateway, &provider, "/page");
    // A session counts wherever somebody asks who is calling.
    assert_eq!(browser.open(&gateway, "/api/x").status, 200);
    assert_eq!(browser.open(&gateway, "/open/x").status, 200);
    let lines = gateway.access_lines(7);
    let subs: Vec<_> = lines.iter().filter(|line| line["path"] == "/open/x").map(|line| line.get("sub").is_some()).collect();
    assert_eq!(subs, [false, true]);
}

#[test]
fn a_rule_sends_browsers_to_the_login_and_back_to_the_page_it_names() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let rule = "fn on_request(request, claims) {\n    if !claims.is_empty() { return; }\n    \
                if request.path == \"/start\" { redirect_to_login(\"/welcome?first=1\"); }\n    redirect_to_login();\n}\n";
    let gateway = login_setup(&provider, upstream.address()).rule("portal", rule).start();
    gateway.reload(|text| text.replace("auth: required", "auth: optional"));
    let mut browser = Browser::new();
    let landed = browser.log_in(&gateway, &provider, "/deep/link?x=1");
    assert_eq!(landed.header("location"), Some("/deep/link?x=1"));
    assert_eq!(browser.open(&gateway, "/deep/link?x=1").status, 200);
    let landed = Browser::new().log_in(&gateway, &provider, "/start");
    assert_eq!(landed.header("location"), Some("/welcome?first=1"));
    let refused = get(gateway.address(), "/deep/link", "");
    assert_eq!((refused.status, refused.reason().as_str()), (401, "token_required"));
    gateway.expect_metric("tollgate_rule_actions_total{action=\"redirect_to_login\",mode=\"enforce\",rule=\"portal\"}", 3.0);
}

#[test]
fn the_issuer_is_asked_at_its_own_address_only() {
    // Discovery that points elsewhere: nobody is asked there.
    let elsewhere = raw_server(|_| panic!("somebody came"));
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    provider.discovery(move |mut document| {
        document["token_endpoint"] = json!(format!("http://{elsewhere}/oauth2/token"));
        document["authorization_endpoint"] = json!("https://evil.example/oauth2/authorize");
        Some(as_json("200 OK", &document))
    });
    let gateway = login_setup(&provider, upstream.address()).start();
    Browser::new().log_in(&gateway, &provider, "/page");
    assert_eq!(provider.token_requests().len(), 1);
}

#[test]
fn a_loopback_callback_over_http_has_cookies_that_browsers_keep_there() {
    let (provider, upstream) = (Provider::start(), Upstream::named("app"));
    let setup: Setup = login_setup(&provider, upstream.address());
    let gateway = setup.start();
    gateway.reload(|text| text.replace("callback: https://localhost", "callback: http://localhost"));
    let sent = Browser::new().open(&gateway, "/page");
    let cookie = sent.header("set-cookie").unwrap();
    assert!(cookie.starts_with("tollgate-login.") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
}

/// No issuer is asked, and nothing is random: `tollgate test` gives the same answer every time.
#[test]
fn rule_tests_see_who_is_sent_to_the_login() {
    const CONFIG: &str = r#"version: 1
listeners: [{ address: 127.0.0.1:8080 }]
identity:
  issuers: [{ url: "http://127.0.0.1:9", issuer: acme.com, audiences: [app] }]
  login:
    client_id: app
    client_secret: written-for-a-test-only-and-long-enough
    callback: https://www.example.com/oauth2/callback
    public_url: https://auth.example.com
  session: { keys: ["written-for-a-test-only-and-long-enough"] }
upstreams: { app: { servers: [http://127.0.0.1:3000] } }
routes:
  - { name: portal, match: { path: "/portal/**" }, auth: optional, upstream: app }
  - { name: app, auth: required, upstream: app }
rules: [{ file: rules/portal.rhai, routes: [portal] }]
"#;
    const TESTS: &str = r#"identities: { ann: { sub: ann } }
tests:
  - name: a browser
    request: GET https://www.example.com/page
    headers: { accept: "text/html" }
    expect: { outcome: redirected, status: 302, redirect: "https://auth.example.com/oauth2/authorize" }
  - { name: a script, request: "GET https://www.example.com/page", expect: { status: 401, denied: token_required } }
  - name: another host
    request: GET https://other.example.com/page
    headers: { accept: "text/html" }
    expect: { denied: token_required }
  - { name: somebody, request: "GET https://www.example.com/page", as: ann, expect: { outcome: proxied } }
  - name: a rule's browser
    request: GET https://www.example.com/portal/x
    headers: { accept: "text/html" }
    expect: { outcome: redirected }
  - { name: a rule's script, request: "GET https://www.example.com/portal/x", expect: { status: 401 } }
"#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("rules/tests")).unwrap();
    let rule = "fn on_request(claims) { if claims.is_empty() { redirect_to_login(\"/portal/start\"); } }\n";
    for (name, text) in [("config.yaml", CONFIG), ("rules/portal.rhai", rule), ("rules/tests/portal.test.yaml", TESTS)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let output = command.args(arguments).current_dir(folder.path()).env("NO_COLOR", "1").output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let said = run(&["test"]);
    assert!(said.contains("6 passed, 0 failed"), "{said}");
    let said = run(&["explain", "GET https://www.example.com/portal/x"]);
    assert!(said.contains("redirect_to_login, back to /portal/start") && said.contains("token_required"), "{said}");
}
