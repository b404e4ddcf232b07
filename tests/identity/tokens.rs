//! Checklist A: JWT and JWS (RFC 7515, 7519, 8725).

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tollgate::identity::Verdict;
use tollgate::model::settings::{Auth, ClaimKind, ClaimType, Identity as Settings, Secret};
use tollgate::model::{Absence, Caller, Rejection, TokenFault};

use crate::support::{Answer, Gate, Idp, Signer, base64url, bearer, claims, claims_with, facts, issuer, key_set, now, settings};

const SECRET: &str = "a secret of more than sixty-four bytes, so that it serves all three of the algorithms";

/// One issuer with one RSA key and no secret.
async fn gate() -> (Gate, Signer) {
    gate_with(|_| ()).await
}

async fn gate_with(change: impl FnOnce(&mut Settings)) -> (Gate, Signer) {
    let signer = Signer::rsa("rsa-1", "RS256");
    let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
    let mut settings = settings(vec![issuer(&idp.url)]);
    change(&mut settings);
    (Gate::open(&settings), signer)
}

async fn assert_faults(gate: &Gate, cases: Vec<(String, TokenFault)>) {
    for (token, expected) in cases {
        let shown = token.chars().take(120).collect::<String>();
        assert_eq!(gate.fault(&token).await, Some(expected), "{shown}");
    }
}

/// Signed tokens with other headers.
fn with_headers(signer: &Signer, cases: &[(Value, TokenFault)]) -> Vec<(String, TokenFault)> {
    let sign = |changes: &Value| {
        let mut header = signer.header();
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        signer.sign(&header.to_string(), &claims().to_string())
    };
    cases.iter().map(|(changes, fault)| (sign(changes), *fault)).collect()
}

/// Signed tokens with other claims.
fn with_claims(signer: &Signer, cases: &[(Value, TokenFault)]) -> Vec<(String, TokenFault)> {
    cases.iter().map(|(changes, fault)| (signer.token(&claims_with(changes.clone())), *fault)).collect()
}

#[tokio::test]
async fn every_algorithm_of_fusionauth_is_accepted() {
    let published = [
        Signer::rsa("rs256", "RS256"),
        Signer::rsa("rs384", "RS384"),
        Signer::rsa("rs512", "RS512"),
        Signer::ec("es256", "ES256"),
        Signer::ec("es384", "ES384"),
        Signer::ec("es512", "ES512"),
        Signer::ed25519("ed25519"),
    ];
    let secret = ["HS256", "HS384", "HS512"].map(|name| Signer::hmac("34f17d7b72", name, SECRET.as_bytes()));
    let idp = Idp::open(Answer::Json(key_set(&published.iter().collect::<Vec<_>>()))).await;
    let mut issuer = issuer(&idp.url);
    issuer.hmac_secrets = vec![Secret::new("an older secret, kept while its tokens live"), Secret::new(SECRET)];
    let gate = Gate::open(&settings(vec![issuer]));
    for signer in published.iter().chain(&secret) {
        let identity = gate.sees(&signer.token(&claims())).await.unwrap_or_else(|why| panic!("{}: {why:?}", signer.algorithm));
        assert_eq!(identity.claims.text("sub"), Some("00000000-0000-0000-0000-111111111111"));
        let (other, good) = (signer.token(&claims_with(json!({"sub": "somebody else"}))), signer.token(&claims()));
        let mixed = format!("{}.{}", other.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
        assert_eq!(gate.fault(&mixed).await, Some(TokenFault::BadSignature), "{}", signer.algorithm);
    }
    // RFC 8037's name for the same thing.
    let ed = &published[6];
    assert_eq!(gate.fault(&ed.sign(&json!({"alg": "EdDSA", "kid": ed.kid}).to_string(), &claims().to_string())).await, None);
}

#[tokio::test]
async fn what_fusionauth_issues_is_accepted() {
    let (gate, signer) = gate().await;
    let minimal = |changes: Value| {
        let mut claims =
            json!({"aud": claims()["aud"], "exp": claims()["exp"], "iat": claims()["iat"], "iss": "acme.com", "sub": "2934f41f"});
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    for token in [
        // authorization code, refreshed
        signer.sign(
            &json!({"alg": "RS256", "typ": "JWT", "gty": ["authorization_code", "refresh_token"], "kid": "rsa-1"}).to_string(),
            &claims().to_string(),
        ),
        // Login API: no gty, scope, sid, tty
        signer.token(&claims_with(json!({"scope": null, "sid": null, "tty": null}))),
        // not registered: no applicationId, no roles
        signer.token(&claims_with(json!({"applicationId": null, "roles": null, "tid": null}))),
        // RFC 8707 since 1.67
        signer.token(&claims_with(json!({"aud": [claims()["aud"], "https://resource1.example.com"]}))),
        // client credentials, in both shapes of `permissions`, for two entities
        signer.token(&minimal(json!({"aud": ["e13365f1", claims()["aud"]], "permissions": {"e13365f1": ["read"]}, "use": "x"}))),
        signer.token(&minimal(json!({"permissions": ["read"]}))),
        // lambda claims with any name and shape
        signer.token(&claims_with(json!({"https://hasura.io/jwt/claims": {"x-hasura-user-id": "7"}, "plan": "pro", "n": 1.5}))),
        signer.token(&minimal(json!({}))),
    ] {
        assert_eq!(gate.fault(&token).await, None, "{token}");
    }
}

#[tokio::test]
async fn a1_unsigned_tokens_are_refused() {
    let (gate, signer) = gate().await;
    let good = signer.token(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut cases = with_headers(
        &signer,
        &[
            (json!({"alg": "none"}), TokenFault::WrongAlgorithm),
            (json!({"alg": "NoNe"}), TokenFault::WrongAlgorithm),
            (json!({"alg": ""}), TokenFault::WrongAlgorithm),
        ],
    );
    let unsigned = format!("{}.{}.", base64url(r#"{"alg":"none"}"#), base64url(claims().to_string()));
    cases.extend([
        (unsigned, TokenFault::WrongAlgorithm),
        (format!("{signed}."), TokenFault::BadSignature),
        (format!("{signed}.{}", &signature[..340]), TokenFault::BadSignature),
        (signed.to_owned(), TokenFault::Malformed),
    ]);
    assert_faults(&gate, cases).await;
}

#[tokio::test]
async fn a2_a_public_key_is_never_a_secret() {
    let signer = Signer::rsa("rsa-1", "RS256");
    let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
    let mut with_secret = issuer(&idp.url);
    with_secret.hmac_secrets = vec![Secret::new(SECRET)];
    let without = Gate::open(&settings(vec![issuer(&idp.url)]));
    let with = Gate::open(&settings(vec![with_secret]));
    for form in signer.public_forms() {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let token = Signer::hmac("rsa-1", algorithm, &form).token(&claims());
            assert_eq!(without.fault(&token).await, Some(TokenFault::WrongAlgorithm));
            assert_eq!(with.fault(&token).await, Some(TokenFault::BadSignature));
        }
    }
}

#[tokio::test]
async fn a3_the_key_decides_the_algorithm() {
    let (rsa, p256) = (Signer::rsa("rsa-1", "RS256"), Signer::ec("ec-1", "ES256"));
    let pss = Signer::rsa("pss", "PS256");
    let idp = Idp::open(Answer::Json(key_set(&[&rsa, &p256, &pss]))).await;
    let gate = Gate::open(&settings(vec![issuer(&idp.url)]));
    let signed_as = |signer: &Signer, algorithm: &str| {
        signer.sign(&json!({"alg": algorithm, "kid": signer.kid}).to_string(), &claims().to_string())
    };
    let rs512 = Signer::rsa("rsa-1", "RS512");
    assert_faults(
        &gate,
        vec![
            (rs512.token(&claims()), TokenFault::WrongAlgorithm),
            (signed_as(&p256, "ES384"), TokenFault::WrongAlgorithm),
            (signed_as(&rsa, "ES256"), TokenFault::WrongAlgorithm),
            (signed_as(&rsa, "PS256"), TokenFault::WrongAlgorithm),
            // The key says PS256, which is never admitted.
            (signed_as(&pss, "RS256"), TokenFault::UnknownKey),
        ],
    )
    .await;
}

#[tokio::test]
async fn a4_keys_that_a_token_brings_along_are_refused_and_never_fetched() {
    let (gate, signer) = gate().await;
    let attacker = Signer::ec("rsa-1", "ES256");
    let trap = Idp::open(Answer::Json(key_set(&[&attacker]))).await;
    let jwks = format!("{}/.well-known/jwks.json", trap.url);
    let brought = [
        (json!({"jwk": attacker.jwk()}), TokenFault::Malformed),
        (json!({"jku": jwks}), TokenFault::Malformed),
        (json!({"x5u": jwks}), TokenFault::Malformed),
        (json!({"x5c": ["MIIB"]}), TokenFault::Malformed),
    ];
    assert_faults(&gate, with_headers(&signer, &brought)).await;
    assert_faults(&gate, with_headers(&attacker, &brought)).await;
    assert_eq!(trap.asked(""), 0);
}

#[tokio::test]
async fn a5_unknown_crit_is_refused() {
    let (gate, signer) = gate().await;
    let cases =
        [json!({"crit": ["x"], "x": 1}), json!({"crit": []}), json!({"crit": ["exp"]}), json!({"crit": ["b64"], "b64": false})]
            .map(|header| (header, TokenFault::Malformed));
    assert_faults(&gate, with_headers(&signer, &cases)).await;
}

#[tokio::test]
async fn a6_a7_what_is_encrypted_compressed_or_nested_is_refused() {
    let (gate, signer) = gate().await;
    let mut cases = with_headers(
        &signer,
        &[json!({"enc": "A256GCM"}), json!({"zip": "DEF"}), json!({"cty": "JWT"}), json!({"b64": true})]
            .map(|header| (header, TokenFault::Malformed)),
    );
    let good = signer.token(&claims());
    let (header, payload, signature) = {
        let mut parts = good.split('.');
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
    };
    let nested = signer.sign(&signer.header().to_string(), &good);
    cases.extend(
        [
            format!("{}.{header}.{payload}.{signature}.AAAA", base64url(r#"{"alg":"dir","enc":"A256GCM"}"#)),
            json!({"payload": payload, "protected": header, "signature": signature}).to_string(),
            json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]}).to_string(),
            format!("{header}..{signature}"),
            nested,
        ]
        .map(|token| (token, TokenFault::Malformed)),
    );
    assert_faults(&gate, cases).await;
}

#[tokio::test]
async fn a8_only_strict_base64url_is_read() {
    let (gate, signer) = gate().await;
    let good = signer.token(&claims());
    assert_eq!(gate.fault(&good).await, None);
    // 256 bytes leave two unused bits in the last character.
    let last = good.chars().last().unwrap();
    let neighbour = char::from(u8::try_from(last).unwrap() + 1);
    let spellings = [
        format!("{good}="),
        format!("{good}=="),
        format!("{good}\t"),
        format!("{}{neighbour}", &good[..good.len() - 1]),
        good.replacen('.', "=.", 1),
        good.replacen('.', " .", 1),
        good.replacen('.', "..", 1),
        format!("{good}.{good}"),
        format!(".{good}"),
        good.replace('.', ","),
        "a.b".into(),
        "...".into(),
        "-".into(),
    ];
    assert_faults(&gate, spellings.map(|token| (token, TokenFault::Malformed)).to_vec()).await;
}

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
async fn a16_a_strange_kid_finds_nothing() {
    let (gate, signer) = gate().await;
    let strange = [
        json!("RSA-1"),
        json!("rsa-1 "),
        json!("../../etc/passwd"),
        json!("' OR 1=1 --"),
        json!("rsa-1\u{0}"),
        json!("rsa-1\r\nx: y"),
        json!("rsа-1"),
        json!(""),
    ]
    .map(|kid| (json!({"kid": kid}), TokenFault::UnknownKey));
    assert_faults(&gate, with_headers(&signer, &strange)).await;
    let malformed =
        [json!(1), json!(null), json!(["rsa-1"]), json!("k".repeat(257))].map(|kid| (json!({"kid": kid}), TokenFault::Malformed));
    assert_faults(&gate, with_headers(&signer, &malformed)).await;
    assert_eq!(gate.fault(&signer.sign(r#"{"alg":"RS256"}"#, &claims().to_string())).await, None, "the only key needs no name");
}

#[tokio::test]
async fn a16_without_a_kid_there_must_be_one_key_for_the_algorithm() {
    let (rsa, one, two) = (Signer::rsa("rsa-1", "RS256"), Signer::ec("ec-1", "ES256"), Signer::ec("ec-2", "ES256"));
    let idp = Idp::open(Answer::Json(key_set(&[&rsa, &one, &two]))).await;
    let gate = Gate::open(&settings(vec![issuer(&idp.url)]));
    assert_eq!(gate.fault(&rsa.sign(r#"{"alg":"RS256"}"#, &claims().to_string())).await, None);
    assert_eq!(gate.fault(&one.sign(r#"{"alg":"ES256"}"#, &claims().to_string())).await, Some(TokenFault::UnknownKey));
    assert_eq!(gate.fault(&two.sign(r#"{"alg":"ES384"}"#, &claims().to_string())).await, Some(TokenFault::UnknownKey));
    assert_eq!(idp.asked("jwks.json"), 1, "no kid, no reason to ask again");
}

#[tokio::test]
async fn a17_what_is_too_large_or_too_deep_is_refused() {
    let (gate, signer) = gate().await;
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    let deep: String = format!("{},\"x\":{deep}}}", claims().to_string().strip_suffix('}').unwrap());
    let cases = [
        signer.token(&claims_with(json!({"x": "a".repeat(16 * 1024)}))),
        signer.token(&claims_with(json!({"roles": vec!["role"; 100_000]}))),
        signer.token(&claims_with(json!({"x": "a".repeat(5_000_000)}))),
        signer.sign(&signer.header().to_string(), &deep),
    ];
    assert_faults(&gate, cases.map(|token| (token, TokenFault::Malformed)).to_vec()).await;
    assert_eq!(gate.fault(&signer.token(&claims_with(json!({"x": "a".repeat(8 * 1024)})))).await, None);
}

#[tokio::test]
async fn a18_the_first_place_that_has_a_token_decides() {
    let (gate, signer) = gate().await;
    let good = signer.token(&claims());
    let bad = signer.token(&claims_with(json!({"aud": "another"})));
    let headers = |pairs: &[(http::HeaderName, String)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    };
    let (auth, cookie) = (http::header::AUTHORIZATION, http::header::COOKIE);
    for (pairs, expected) in [
        (vec![(auth.clone(), format!("bearer  {good}"))], Ok(true)),
        (vec![(cookie.clone(), format!("a=b; app.at={good}"))], Ok(true)),
        (vec![(auth.clone(), format!("Bearer {good}")), (cookie.clone(), format!("app.at={bad}"))], Ok(true)),
        (
            vec![(auth.clone(), format!("Bearer {bad}")), (cookie.clone(), format!("app.at={good}"))],
            Err(TokenFault::WrongAudience),
        ),
        (vec![(auth.clone(), "Basic dTpw".into()), (cookie.clone(), format!("app.at={good}"))], Ok(true)),
        (vec![(auth.clone(), "Basic dTpw".into())], Err(TokenFault::Missing)),
        (vec![(auth.clone(), format!("DPoP {good}"))], Err(TokenFault::WrongKind)),
        (vec![(auth.clone(), format!("Bearer {good}")), (auth.clone(), format!("Bearer {good}"))], Err(TokenFault::Malformed)),
        (vec![(auth.clone(), format!("Bearer {good}, Bearer {good}"))], Err(TokenFault::Malformed)),
        (vec![(cookie.clone(), format!("app.at={good}; app.at={good}"))], Err(TokenFault::Malformed)),
        (vec![], Err(TokenFault::Missing)),
    ] {
        let seen = gate.identifier.identify(&facts(headers(&pairs), now()), Auth::Required).await;
        let expected = expected.map_err(Rejection::Unauthenticated);
        assert_eq!(seen.map(|caller| caller.identity().is_some()), expected, "{pairs:?}");
    }
    let mut in_query = facts(HeaderMap::new(), now());
    in_query.query = Some(format!("access_token={good}"));
    let seen = gate.identifier.identify(&in_query, Auth::Required).await;
    assert_eq!(seen.err(), Some(Rejection::Unauthenticated(TokenFault::Missing)));
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
async fn a20_signatures_of_another_shape_are_refused() {
    let signer = Signer::ec("ec-1", "ES256");
    let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
    let gate = Gate::open(&settings(vec![issuer(&idp.url)]));
    let good = signer.token(&claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let signature = signer.signature(signed.as_bytes());
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
        0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let zero = [0; 32];
    let (r, s) = signature.split_at(32);
    let padded = |integer: &[u8]| [&[2, 33, 0][..], integer].concat();
    let der = [&[0x30, 70][..], &padded(r), &padded(s)].concat();
    let shapes = [
        [zero, zero].concat(),
        [&zero, s].concat(),
        [r, &zero].concat(),
        [&order, s].concat(),
        [r, &order].concat(),
        signature[..63].to_vec(),
        [&signature[..], &[0]].concat(),
        [r, s, r, s].concat(),
        der,
        Vec::new(),
    ];
    assert_faults(&gate, shapes.map(|shape| (format!("{signed}.{}", base64url(shape)), TokenFault::BadSignature)).to_vec()).await;
    assert_eq!(gate.fault(&format!("{signed}.{}", base64url(signature))).await, None);
}

#[tokio::test]
async fn a22_a_jumping_clock_breaks_nothing() {
    let (gate, signer) = gate().await;
    let (remembered, fresh) = (signer.token(&claims()), signer.token(&claims_with(json!({"jti": "fresh"}))));
    assert_eq!(gate.fault(&remembered).await, None);
    let hour = Duration::from_secs(3600);
    let before = tollgate::model::Moment::new(now().unix() - hour, now().steady());
    assert_eq!(gate.fault_at(&remembered, before).await, None);
    assert_eq!(gate.fault_at(&fresh, before).await, Some(TokenFault::NotYetValid));
    let after = tollgate::model::Moment::new(now().unix() + 2 * hour, now().steady());
    assert_eq!(gate.fault_at(&remembered, after).await, Some(TokenFault::Expired));
    assert_eq!(
        gate.fault_at(&fresh, tollgate::model::Moment::new(Duration::ZERO, Duration::ZERO)).await,
        Some(TokenFault::NotYetValid)
    );
}

#[tokio::test]
async fn a23_a_remembered_token_speaks_for_its_exact_text_only() {
    let (gate, signer) = gate().await;
    let padded = |sub: &str| signer.token(&claims_with(json!({"x": "a".repeat(6000), "sub": sub})));
    let (good, other) = (padded("u1"), padded("u2"));
    assert_eq!(gate.sees(&good).await.unwrap().claims.text("sub"), Some("u1"));
    assert_eq!(gate.identifier.cached_tokens(), 1);
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    assert_eq!(gate.fault(&forged).await, Some(TokenFault::BadSignature));
    assert_eq!(gate.identifier.cached_tokens(), 1, "bad tokens are not remembered");
    assert_eq!(gate.sees(&other).await.unwrap().claims.text("sub"), Some("u2"));
    assert!(std::sync::Arc::ptr_eq(&gate.sees(&good).await.unwrap(), &gate.sees(&good).await.unwrap()));
    let later = now().plus(Duration::from_secs(2 * 3600));
    assert_eq!(gate.fault_at(&good, later).await, Some(TokenFault::Expired));
    assert_eq!(gate.identifier.cached_tokens(), 1, "an expired token is forgotten");
    // The same token under another policy is judged by that one.
    let (stricter, _) = gate_with(|settings| settings.issuers[0].audiences = vec!["another".into()]).await;
    assert_eq!(stricter.fault(&other).await, Some(TokenFault::WrongAudience));
}

#[tokio::test]
async fn a24_all_faults_look_the_same_to_the_client() {
    for fault in TokenFault::ALL.into_iter().filter(|fault| *fault != TokenFault::Missing) {
        let rejection = Rejection::Unauthenticated(fault);
        assert_eq!((rejection.status(), rejection.reason()), (401, "invalid_token"));
    }
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let (gate, signer) = gate_with(|settings| settings.cache_tokens = 10).await;
    for jti in 0..50 {
        gate.sees(&signer.token(&claims_with(json!({"jti": jti})))).await.unwrap();
    }
    assert!((1..=10).contains(&gate.identifier.cached_tokens()), "{}", gate.identifier.cached_tokens());
    let (without, _) = gate_with(|settings| settings.cache_tokens = 0).await;
    assert_eq!(without.fault(&signer.token(&claims())).await, None);
    assert_eq!(without.identifier.cached_tokens(), 0);
}

#[tokio::test]
async fn each_route_gets_as_much_identity_as_it_asks_for() {
    let (gate, signer) = gate().await;
    let good = bearer(&signer.token(&claims()), now());
    let bad = bearer(&signer.token(&claims_with(json!({"aud": "another"}))), now());
    let none = facts(HeaderMap::new(), now());
    let wrong = TokenFault::WrongAudience;
    for (auth, facts, expected) in [
        (Auth::Required, &good, Ok(None)),
        (Auth::Required, &bad, Err(wrong)),
        (Auth::Required, &none, Err(TokenFault::Missing)),
        (Auth::Optional, &good, Ok(None)),
        (Auth::Optional, &bad, Err(wrong)),
        (Auth::Optional, &none, Ok(Some(Absence::NoToken))),
        (Auth::OptionalLenient, &good, Ok(None)),
        (Auth::OptionalLenient, &bad, Ok(Some(Absence::Ignored(wrong)))),
        (Auth::OptionalLenient, &none, Ok(Some(Absence::NoToken))),
        (Auth::None, &good, Ok(Some(Absence::NotAsked))),
        (Auth::None, &bad, Ok(Some(Absence::NotAsked))),
        (Auth::None, &none, Ok(Some(Absence::NotAsked))),
    ] {
        let absence = gate.identifier.identify(facts, auth).await.map(|caller| match caller {
            Caller::Known(_) => None,
            Caller::Anonymous(absence) => Some(absence),
        });
        assert_eq!(absence, expected.map_err(Rejection::Unauthenticated), "{auth:?}");
    }
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

#[tokio::test]
async fn an_examination_says_everything_at_once_and_agrees_with_the_proxy() {
    let (gate, signer) = gate().await;
    let examine = async |token: String| gate.identifier.examine(&token, now()).await;
    let good = examine(signer.token(&claims())).await;
    assert_eq!(good.verdict, Verdict::Accepted);
    assert!(good.findings.iter().all(|finding| finding.fault.is_none()), "{good:?}");

    let now = now().unix_seconds();
    let bad =
        examine(signer.token(&claims_with(json!({"exp": now - 840, "iat": now - 900, "iss": "\u{1b}[31mevil", "sub": "x"}))))
            .await;
    assert_eq!(bad.verdict, Verdict::Refused(TokenFault::WrongIssuer));
    let finding = |subject: &str| bad.findings.iter().find(|finding| finding.subject == subject).unwrap();
    assert_eq!(finding("issuer").text, r#""\u001b[31mevil""#);
    assert_eq!(finding("expiry").fault, Some(TokenFault::Expired));
    assert!(finding("expiry").text.ends_with("840 s ago"), "{}", finding("expiry").text);
    assert_eq!(finding("subject").fault, None);

    let form = examine("not a token".into()).await;
    assert_eq!((form.verdict, form.findings.len()), (Verdict::Refused(TokenFault::Malformed), 1));
    let hmac = examine(Signer::hmac("k", "HS256", SECRET.as_bytes()).token(&claims())).await;
    assert_eq!(hmac.verdict, Verdict::Refused(TokenFault::WrongAlgorithm));
    assert!(hmac.findings.last().unwrap().text.contains("asymmetric"), "{hmac:?}");
}
