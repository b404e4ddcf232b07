//! Checklist A9 to A15, A19: what a token says (RFC 7519).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::model::TokenFault;
use tollgate::model::settings::{ClaimKind, ClaimType, Secret};

use crate::idp::{Answer, Idp};
use crate::support::{
    Gate, Signer, assert_faults, claims, claims_with, gate, gate_with, issuer, key_set, now, settings, with_claims, with_headers,
};

#[tokio::test]
async fn a9_duplicate_names_are_refused() {
    let (gate, signer) = gate().await;
    let header = signer.header().to_string();
    let twice = |object: &str, member: &str| format!("{},{member}}}", object.strip_suffix('}').unwrap());
    let payload = claims().to_string();
    let cases = [
        (twice(&header, r#""kid":"rsa-1""#), payload.clone()),
        (twice(&header, r#""alg":"none""#), payload.clone()),
        (twice(&header, r#""\u0061lg":"RS256""#), payload.clone()),
        (header.clone(), twice(&payload, r#""sub":"admin""#)),
        (header.clone(), twice(&payload, r#""exp":1"#)),
        (header.clone(), twice(&payload, r#""plan":"free","plan":"pro""#)),
        (header.clone(), twice(&payload, r#""meta":{"a":1,"a":2}"#)),
    ];
    assert_faults(&gate, cases.map(|(header, payload)| (signer.sign(&header, &payload), TokenFault::Malformed)).to_vec()).await;
}

#[tokio::test]
async fn a10_every_token_ends_soon() {
    let (gate, signer) = gate().await;
    let now = now().unix_seconds();
    let payload = claims_with(json!({"exp": null})).to_string();
    let with_raw = |exp: &str| {
        (
            signer.sign(&signer.header().to_string(), &format!("{},\"exp\":{exp}}}", payload.strip_suffix('}').unwrap())),
            TokenFault::Malformed,
        )
    };
    let mut cases = vec![(signer.sign(&signer.header().to_string(), &payload), TokenFault::Malformed)];
    cases
        .extend(["null", "\"4102444800\"", "-1", "1e300", "1e400", "18446744073709551615", "[4102444800]", "true"].map(with_raw));
    cases.push(with_raw(&format!("{}.5", now + 60)));
    cases.push(with_raw(&format!("{}.0", now + 60)));
    cases.push(with_raw(&(now * 1000).to_string()));
    cases.push(with_raw(&(now + 24 * 3600 + 2).to_string()));
    cases.extend(with_claims(&signer, &[(json!({"exp": 0, "iat": 0}), TokenFault::Expired)]));
    // Without `iat` the lifetime counts from now.
    cases.extend(with_claims(&signer, &[(json!({"exp": now + 24 * 3600 + 60, "iat": null}), TokenFault::Malformed)]));
    assert_faults(&gate, cases).await;
    assert_eq!(gate.fault(&signer.token(&claims_with(json!({"exp": now + 24 * 3600, "iat": now})))).await, None);
    assert_eq!(gate.fault(&signer.token(&claims_with(json!({"iat": null})))).await, None);
}

#[tokio::test]
async fn a11_a_token_from_the_future_is_refused() {
    let (gate, signer) = gate().await;
    let now = now().unix_seconds();
    let cases = [
        (json!({"nbf": now + 60}), TokenFault::NotYetValid),
        (json!({"iat": now + 60}), TokenFault::NotYetValid),
        (json!({"nbf": "now"}), TokenFault::Malformed),
        (json!({"nbf": [now]}), TokenFault::Malformed),
        (json!({"nbf": 1.5}), TokenFault::Malformed),
        (json!({"iat": "0"}), TokenFault::Malformed),
        (json!({"iat": -1}), TokenFault::Malformed),
    ];
    assert_faults(&gate, with_claims(&signer, &cases)).await;
    assert_eq!(gate.fault(&signer.token(&claims_with(json!({"nbf": now + 25, "iat": now + 25})))).await, None);
}

#[tokio::test]
async fn a12_the_skew_is_granted_to_the_second() {
    let (gate, signer) = gate().await;
    let token = signer.token(&claims());
    let since = |seconds: u64| {
        let (now, exp) = (now(), claims()["exp"].as_u64().unwrap());
        now.plus(Duration::from_secs(exp + seconds) - now.unix())
    };
    assert_eq!(gate.fault_at(&token, since(29)).await, None);
    assert_eq!(gate.fault_at(&token, since(31)).await, Some(TokenFault::Expired));
    assert_eq!(
        gate.fault_at(&signer.token(&claims_with(json!({"jti": "not remembered"}))), since(31)).await,
        Some(TokenFault::Expired)
    );
}

#[tokio::test]
async fn a13_the_issuer_is_compared_byte_by_byte() {
    let (gate, signer) = gate().await;
    let cases = [
        json!(["acme.com"]),
        json!("acme.co"),
        json!("acme.com/"),
        json!("Acme.com"),
        json!("https://acme.com"),
        json!(" acme.com"),
        json!("acme.com.evil.example"),
        json!(""),
        json!(7),
        json!({"acme.com": 1}),
    ]
    .map(|iss| (json!({"iss": iss}), TokenFault::WrongIssuer));
    assert_faults(&gate, with_claims(&signer, &cases)).await;
    assert_faults(&gate, with_claims(&signer, &[(json!({"iss": null}), TokenFault::WrongIssuer)])).await;
}

/// One FusionAuth, one key, one `iss` text, three tenants: only `tid` tells them apart.
#[tokio::test]
async fn a13_a15_tenants_that_share_key_and_issuer_are_kept_apart() {
    let signer = Signer::rsa("rsa-1", "RS256");
    let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
    let tenant = |name: &str, tenant: &str, audience: &str| {
        let mut issuer = issuer(&idp.url);
        (issuer.name, issuer.tenant, issuer.audiences) = (name.into(), Some(tenant.into()), vec![audience.into()]);
        issuer
    };
    let gate = Gate::open(&settings(vec![tenant("one", "t1", "app"), tenant("two", "t2", "other")]));
    let token = |tid: Value, aud: &str| signer.token(&claims_with(json!({"tid": tid, "aud": aud})));
    assert_eq!(&*gate.sees(&token(json!("t1"), "app")).await.unwrap().issuer, "one");
    assert_eq!(&*gate.sees(&token(json!("t2"), "other")).await.unwrap().issuer, "two");
    assert_faults(
        &gate,
        vec![
            (token(json!("t2"), "app"), TokenFault::WrongAudience),
            (token(json!("t3"), "app"), TokenFault::WrongTenant),
            (token(json!(null), "app"), TokenFault::WrongTenant),
            (token(json!(["t1"]), "app"), TokenFault::WrongTenant),
            (token(json!("T1"), "app"), TokenFault::WrongTenant),
        ],
    )
    .await;
    assert_eq!(idp.asked("/t1/.well-known/openid-configuration"), 1);
}

/// A secret of one tenant signs nothing for another, even if both have the same `iss`.
#[tokio::test]
async fn a13_a_secret_counts_for_its_own_tenant() {
    let tenant = |tenant: &str, secret: &str| {
        let mut issuer = issuer("http://127.0.0.1:9");
        (issuer.name, issuer.tenant, issuer.hmac_secrets) = (tenant.into(), Some(tenant.into()), vec![Secret::new(secret)]);
        issuer
    };
    let (first, second) = ("the secret of the first tenant, long enough", "the secret of the second tenant, long enough");
    let gate = Gate::open(&settings(vec![tenant("t1", first), tenant("t2", second)]));
    assert!(gate.rings.ready(), "secrets need no keys");
    let token = |secret: &str, tid: &str| Signer::hmac("k", "HS256", secret.as_bytes()).token(&claims_with(json!({"tid": tid})));
    assert_eq!(gate.fault(&token(first, "t1")).await, None);
    assert_eq!(gate.fault(&token(second, "t2")).await, None);
    assert_eq!(gate.fault(&token(first, "t2")).await, Some(TokenFault::BadSignature));
}

#[tokio::test]
async fn a14_the_token_must_be_for_us() {
    let (gate, signer) = gate().await;
    let ours = claims()["aud"].as_str().unwrap().to_owned();
    let cases = [
        json!(7),
        json!({ours.as_str(): 1}),
        json!([[ours]]),
        json!([ours, 7]),
        json!(format!("{ours}x")),
        json!(ours.to_uppercase()),
        json!(["another"]),
        json!([]),
        json!(""),
    ]
    .map(|aud| (json!({"aud": aud}), TokenFault::WrongAudience));
    assert_faults(&gate, with_claims(&signer, &cases)).await;
    assert_faults(&gate, with_claims(&signer, &[(json!({"aud": null}), TokenFault::WrongAudience)])).await;
    assert_eq!(gate.fault(&signer.token(&claims_with(json!({"aud": ["another", ours]})))).await, None);
}

#[tokio::test]
async fn a15_whatever_else_the_same_key_signs_is_refused_for_what_it_is() {
    let (gate, signer) = gate().await;
    let mut cases = with_headers(
        &signer,
        &[
            (json!({"typ": "logout+jwt"}), TokenFault::WrongKind),
            (json!({"typ": "dpop+jwt"}), TokenFault::WrongKind),
            (json!({"typ": "secevent+jwt"}), TokenFault::WrongKind),
        ],
    );
    cases.extend(with_claims(
        &signer,
        &[
            (json!({"tty": null, "nonce": "n"}), TokenFault::WrongKind),
            (json!({"tty": null, "at_hash": "wfgvmE9VxjAudsl9lc6TqA"}), TokenFault::WrongKind),
            (json!({"tty": null, "c_hash": "x"}), TokenFault::WrongKind),
            (json!({"tty": "idt"}), TokenFault::WrongKind),
            (json!({"tty": ["at"]}), TokenFault::WrongKind),
            (json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}), TokenFault::WrongKind),
            (json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}), TokenFault::WrongKind),
        ],
    ));
    cases.extend([
        (signer.token(&json!({"request_body_sha256": "KeV+/HGoIQrxuE5YPCRR6AuQOJveldYNNhbVi1i22qk="})), TokenFault::WrongKind),
        // A refresh token of FusionAuth is opaque.
        ("mGnIHfLWqXzjqIUoCeRS6xZGTT6XBlWzBZ3ezgYXbS9sMbQXIzVsJA".into(), TokenFault::Malformed),
    ]);
    assert_faults(&gate, cases).await;
    assert_eq!(
        gate.fault(&signer.sign(&json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa-1"}).to_string(), &claims().to_string()))
            .await,
        None
    );
}

#[tokio::test]
async fn a19_odd_claims_are_carried_exactly_or_refused() {
    let (gate, signer) = gate_with(|settings| {
        settings.forward_claims.push((http::HeaderName::from_static("x-name"), "name".into()));
    })
    .await;
    let identity =
        gate.sees(&signer.token(&claims_with(json!({"name": "a\r\nx-admin: 1\u{0}\u{202e}", "big": u64::MAX})))).await.unwrap();
    assert_eq!(identity.forwarded[1].1, "a%0D%0Ax-admin: 1%00%E2%80%AE");
    assert_eq!(identity.claims.get("big").and_then(Value::as_u64), Some(u64::MAX));
    assert_eq!(identity.claims.text("name"), Some("a\r\nx-admin: 1\u{0}\u{202e}"));
    assert_faults(
        &gate,
        with_claims(
            &signer,
            &[
                (json!({"sub": null}), TokenFault::BadClaim),
                (json!({"sub": 7}), TokenFault::BadClaim),
                (json!({"sub": ""}), TokenFault::BadClaim),
                (json!({"sub": "a\r\nb"}), TokenFault::BadClaim),
                (json!({"sub": "a\u{0}"}), TokenFault::BadClaim),
                (json!({"sub": "a\u{85}"}), TokenFault::BadClaim),
                (json!({"sub": "s".repeat(257)}), TokenFault::BadClaim),
            ],
        ),
    )
    .await;
    let raw = |member: &str| {
        let payload = format!("{},{member}}}", claims().to_string().strip_suffix('}').unwrap());
        (signer.sign(&signer.header().to_string(), &payload), TokenFault::Malformed)
    };
    assert_faults(&gate, vec![raw(r#""x":"\ud800""#), raw(r#""x":1e400"#), raw(r#""x":99999999999999999999"#)]).await;
    // Composed and decomposed, one `@` and two: different people.
    let one = gate.sees(&signer.token(&claims_with(json!({"sub": "caf\u{e9}@x@y"})))).await.unwrap();
    let two = gate.sees(&signer.token(&claims_with(json!({"sub": "cafe\u{301}@x@y"})))).await.unwrap();
    assert_ne!(one.forwarded[0].1, two.forwarded[0].1);
}

#[tokio::test]
async fn declared_claims_are_held_to_their_declaration() {
    let claim =
        |kind, one_of: &[&str], required| ClaimType { kind, one_of: one_of.iter().map(|s| (*s).to_owned()).collect(), required };
    let (gate, signer) = gate_with(|settings| {
        settings.claims = BTreeMap::from([
            ("plan".to_owned(), claim(ClaimKind::String, &["free", "pro"], true)),
            ("quota".to_owned(), claim(ClaimKind::Int, &[], false)),
            ("share".to_owned(), claim(ClaimKind::Float, &[], false)),
            ("suspended".to_owned(), claim(ClaimKind::Bool, &[], false)),
            ("groups".to_owned(), claim(ClaimKind::Strings, &["a", "b"], false)),
            ("meta".to_owned(), claim(ClaimKind::Object, &[], false)),
            ("anything".to_owned(), claim(ClaimKind::Any, &[], false)),
        ]);
    })
    .await;
    for good in [
        json!({"plan": "free"}),
        json!({"plan": "pro", "quota": -3, "share": 1, "suspended": false, "groups": ["a", "b"], "meta": {}, "anything": [null]}),
        json!({"plan": "pro", "share": 0.5, "groups": []}),
    ] {
        assert_eq!(gate.fault(&signer.token(&claims_with(good.clone()))).await, None, "{good}");
    }
    let cases = [
        json!({}),
        json!({"plan": "gold"}),
        json!({"plan": ["free"]}),
        json!({"plan": "free", "quota": 1.5}),
        json!({"plan": "free", "quota": "1"}),
        json!({"plan": "free", "quota": u64::MAX}),
        json!({"plan": "free", "share": "1"}),
        json!({"plan": "free", "suspended": "false"}),
        json!({"plan": "free", "groups": ["a", "c"]}),
        json!({"plan": "free", "groups": ["a", 1]}),
        json!({"plan": "free", "groups": "a"}),
        json!({"plan": "free", "meta": []}),
    ]
    .map(|changes| (changes, TokenFault::BadClaim));
    assert_faults(&gate, with_claims(&signer, &cases)).await;
    let payload = claims().to_string();
    let null = format!("{},\"plan\":null}}", payload.strip_suffix('}').unwrap());
    assert_eq!(gate.fault(&signer.sign(&signer.header().to_string(), &null)).await, Some(TokenFault::BadClaim));
}
