//! Tokens that only their issuer can judge: RFC 7662, and FusionAuth's /api/jwt/validate.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tollgate::demo::{APPLICATION_ID, ISSUER, MintRequest, TENANT_ID};

use crate::support::{Gateway, Setup, Upstream, answer, get, wait_for};

const OPAQUE: &str = "fGHPWhSGfQN8WGI_SGEpAlIblMfbDQ4";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What FusionAuth says about an active token (a real answer of 2026, with other ids).
fn active(changes: Value) -> Value {
    let mut said = json!({
        "active": true, "applicationId": APPLICATION_ID, "aud": APPLICATION_ID, "auth_time": now(), "authenticationType": "PASSWORD",
        "exp": now() + 600, "gty": ["password"], "iat": now(), "iss": ISSUER, "jti": "4526e18a", "roles": ["patient"], "org": "acme",
        "scope": "offline_access openid", "sid": "c59e6f96", "sub": "ca565f40", "tid": TENANT_ID, "tty": "at",
    });
    for (name, value) in changes.as_object().unwrap() {
        said[name] = value.clone();
    }
    said
}

fn reply(status: &str, said: &Value) -> Option<Vec<u8>> {
    Some(answer(status, "Content-Type: application/json\r\n", &said.to_string()))
}

/// A FusionAuth that answers questions about tokens, each after what `say` makes of the token.
fn fusionauth(say: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Upstream {
    Upstream::answering(move |request| {
        let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
        let in_form = body.split('&').find_map(|pair| pair.strip_prefix("token="));
        let in_header = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        say(in_form.or(in_header).expect("a token"))
    })
}

/// A gateway that asks `fusionauth`; `keys` are further ones of `introspection`.
fn asking(upstream: &Upstream, fusionauth: &Upstream, keys: &str) -> Setup {
    let introspection = format!(
        "      introspection:\n        via: introspect\n        url: http://{}/oauth2/introspect\n        client_id: \"app:1\"\n        client_secret: \"s%cret\"\n{keys}",
        fusionauth.address()
    );
    Setup::to(upstream.address()).identity(&introspection).rule(
        "said",
        "fn on_request(claims) { set_header(\"x-said\", `${claims.sub} ${claims.org} ${claims.has_role(\"patient\")}`); }",
    )
}

fn with(gateway: &Gateway, token: &str) -> (u16, String) {
    let reply = gateway.get_with("/", token);
    (reply.status, if reply.status == 200 { String::new() } else { reply.reason() })
}

fn refused() -> (u16, String) {
    (401, "invalid_token".into())
}

#[test]
fn rfc7662_an_opaque_token_is_asked_about_once_for_many_requests() {
    let upstream = Upstream::named("main");
    let issuer = fusionauth(|token| {
        if token == OPAQUE { reply("200 OK", &active(json!({}))) } else { reply("200 OK", &json!({ "active": false })) }
    });
    let gateway = asking(&upstream, &issuer, "").start();
    for _ in 0..3 {
        assert_eq!(with(&gateway, OPAQUE).0, 200);
        assert!(upstream.last().to_lowercase().contains("x-said: ca565f40 acme true"), "{}", upstream.last());
    }
    assert_eq!(issuer.seen().len(), 1);
    let asked = issuer.last();
    assert!(asked.starts_with("POST /oauth2/introspect HTTP/1.1\r\n"), "{asked}");
    // RFC 6749 2.3.1: form-encoded, then base64. `app%3A1:s%25cret`
    assert!(asked.contains("authorization: Basic YXBwJTNBMTpzJTI1Y3JldA=="), "{asked}");
    assert!(asked.ends_with(&format!("token={OPAQUE}&token_type_hint=access_token&client_id=app%3A1")), "{asked}");

    let unknown = "an-opaque-token-that-nobody-knows";
    for _ in 0..3 {
        assert_eq!(with(&gateway, unknown), refused());
    }
    assert_eq!(issuer.seen().len(), 2, "a refusal is remembered, too");
    // What looks like a JWT, or like no token at all, is asked about nowhere.
    for text in ["eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiJ9.x", "short", "not;a;token;by;any;means"] {
        assert_eq!(with(&gateway, text), refused(), "{text}");
    }
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200, "JWTs are verified here");
    assert_eq!(issuer.seen().len(), 2);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"inactive\"}", 3.0);
    gateway.expect_metric("tollgate_introspections_total{issuer=\"test\",result=\"active\"}", 1.0);
    gateway.expect_metric("tollgate_introspections_total{issuer=\"test\",result=\"inactive\"}", 1.0);
    assert!(!gateway.log().contains(OPAQUE) && !gateway.log().contains("s%cret"));
}

#[test]
fn what_an_issuer_says_passes_the_same_checks_as_a_token() {
    let upstream = Upstream::named("main");
    let issuer = fusionauth(|token| {
        let changes: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.strip_prefix("about.").unwrap()).unwrap()).unwrap();
        reply("200 OK", &active(changes))
    });
    let gateway = asking(&upstream, &issuer, "").start();
    let about = |changes: Value| format!("about.{}", URL_SAFE_NO_PAD.encode(changes.to_string()));
    let mut expected = std::collections::HashMap::new();
    for (changes, fault) in [
        (json!({ "aud": "another-application" }), "wrong_audience"),
        (json!({ "iss": "evil.example" }), "wrong_issuer"),
        (json!({ "exp": now() - 100 }), "expired"),
        (json!({ "exp": null }), "malformed"),
        (json!({ "exp": (now() + 600) * 1000 }), "malformed"),
        (json!({ "nonce": "n" }), "wrong_kind"),
        (json!({ "cnf": { "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } }), "wrong_kind"),
        (json!({ "sub": "" }), "bad_claim"),
    ] {
        assert_eq!(with(&gateway, &about(changes.clone())), refused(), "{changes}");
        *expected.entry(fault).or_insert(0.0) += 1.0;
        gateway.expect_metric(&format!("tollgate_auth_tokens_total{{result=\"{fault}\"}}"), expected[fault]);
    }
    assert_eq!(with(&gateway, &about(json!({ "roles": ["patient"] }))).0, 200);
}

#[test]
fn one_of_many_simultaneous_requests_asks() {
    let upstream = Upstream::named("main");
    let issuer = fusionauth(|_| {
        thread::sleep(Duration::from_millis(300));
        reply("200 OK", &active(json!({})))
    });
    let gateway = asking(&upstream, &issuer, "").start();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..20).map(|_| scope.spawn(|| with(&gateway, OPAQUE).0)).collect();
        assert!(asked.into_iter().all(|status| status.join().unwrap() == 200));
    });
    assert_eq!(issuer.seen().len(), 1);
}

#[test]
fn fusionauth_introspects_only_tokens_of_its_client_and_operators_learn_it() {
    let upstream = Upstream::named("main");
    let error = "The token provided in the request was not issued for the client_id provided";
    let issuer = fusionauth(move |token| match token {
        OPAQUE => reply("401 Unauthorized", &json!({ "error": "invalid_request", "error_description": error })),
        _ => reply("401 Unauthorized", &json!({ "error": "invalid_client" })),
    });
    let gateway = asking(&upstream, &issuer, "").start();
    assert_eq!(with(&gateway, OPAQUE), refused());
    wait_for("the line", || gateway.log().contains("introspects only tokens of that very application"));
    // A wrong secret says nothing about the token.
    assert_eq!(with(&gateway, "another-opaque-token"), (503, "identity_unavailable".into()));
}

/// FusionAuth's default: HS256 with a secret that is never published.
fn hs256(claims: &Value) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT","kid":"34f17d7b72"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret that only FusionAuth knows");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

#[test]
fn fusionauth_validates_tokens_whose_secret_it_keeps() {
    let upstream = Upstream::named("main");
    let mut claims = active(json!({ "jti": "good" }));
    claims.as_object_mut().unwrap().remove("active");
    let good = hs256(&claims);
    let (known, said) = (good.clone(), claims.clone());
    let issuer = fusionauth(move |token| {
        if token == known { reply("200 OK", &json!({ "jwt": said })) } else { Some(answer("401 Unauthorized", "", "")) }
    });
    let gateway = Setup::to(upstream.address())
        .identity(&format!("      introspection: {{ via: validate, url: \"http://{}/api/jwt/validate\" }}\n", issuer.address()))
        .start();
    for _ in 0..2 {
        assert_eq!(with(&gateway, &good).0, 200);
    }
    assert!(issuer.last().starts_with("GET /api/jwt/validate HTTP/1.1\r\n"));
    claims["jti"] = "forged".into();
    assert_eq!(with(&gateway, &hs256(&claims)), refused());
    assert_eq!(issuer.seen().len(), 2);
    // What is wrong before any signature is asked about nowhere, nor is what can be verified here.
    claims["aud"] = "another".into();
    assert_eq!(with(&gateway, &hs256(&claims)), refused());
    assert_eq!(with(&gateway, OPAQUE), refused());
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200);
    let forged = format!("{}x", crate::support::mint(&MintRequest::of("acme", "pro")));
    assert_eq!(with(&gateway, &forged), refused());
    assert_eq!(issuer.seen().len(), 2);
}

#[test]
fn made_up_tokens_make_no_flood_of_questions() {
    let upstream = Upstream::named("main");
    let issuer = fusionauth(|_| reply("200 OK", &json!({ "active": false })));
    let gateway = asking(&upstream, &issuer, "        per_second: 10\n").start();
    let (refusals, unasked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = std::time::Instant::now();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (gateway, refusals, unasked) = (&gateway, &refusals, &unasked);
            scope.spawn(move || {
                for number in 0..50 {
                    match with(gateway, &format!("made-up-{thread}-{number}-padding")) {
                        (401, _) => refusals.fetch_add(1, Ordering::Relaxed),
                        (503, reason) if reason == "identity_unavailable" => unasked.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other:?}"),
                    };
                }
            });
        }
    });
    let allowed = 10.0 * (began.elapsed().as_secs_f64() + 1.0) + 1.0;
    assert!(issuer.seen().len() as f64 <= allowed, "{} questions", issuer.seen().len());
    assert!(refusals.into_inner() >= 10);
    assert!(unasked.into_inner() >= 100);
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200, "others are not touched");
}

#[test]
fn an_issuer_that_hangs_or_fails_is_left_alone_for_a_while() {
    let upstream = Upstream::named("main");
    let issuer = fusionauth(|token| match token.starts_with("hang") {
        true => {
            thread::sleep(Duration::from_secs(3));
            None
        }
        false => Some(answer("500 Internal Server Error", "", "")),
    });
    let gateway = asking(&upstream, &issuer, "        timeout: 300ms\n").start();
    let began = std::time::Instant::now();
    let reply = gateway.get_with("/", "hang-on-this-token");
    assert_eq!((reply.status, reply.reason().as_str()), (503, "identity_unavailable"));
    assert!(reply.header("retry-after").is_some());
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    for number in 0..30 {
        assert_eq!(with(&gateway, &format!("fails-{number}-padding-padding")).0, 503);
    }
    assert!(issuer.seen().len() <= 6, "{} questions after five failures in a row", issuer.seen().len());
    wait_for("the line", || gateway.log().contains("asked about a token"));
    gateway.expect_metric("tollgate_introspections_total{issuer=\"test\",result=\"failure\"}", 5.0);
    assert!(gateway.metric("tollgate_introspections_total{issuer=\"test\",result=\"not_asked\"}") >= 20.0);
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200);
}

#[test]
fn token_verify_asks_as_the_gateway_would() {
    let upstream = Upstream::named("main");
    let issuer = fusionauth(|token| {
        if token == OPAQUE { reply("200 OK", &active(json!({}))) } else { reply("200 OK", &json!({ "active": false })) }
    });
    let gateway = asking(&upstream, &issuer, "").start();
    let verify = |token: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["token", "verify", "-c", "config.yaml", "-"])
            .current_dir(gateway.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = verify(OPAQUE);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("✓ accepted\n  ✓ form             opaque: the issuer was asked and vouches for it\n"), "{said}");
    let (code, said) = verify("an-opaque-token-that-nobody-knows");
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(said, "✗ refused: inactive\n  ✗ form             opaque: the issuers were asked, and none vouches for it\n");
    assert_eq!(get(gateway.address(), "/", "").status, 401);
}
