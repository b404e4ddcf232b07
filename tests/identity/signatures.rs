//! Checklist A1 to A8, A16, A20: what is a token, and who signed it (RFC 7515, RFC 8725).

use serde_json::{Value, json};
use tollgate::model::TokenFault;
use tollgate::model::settings::Secret;

use crate::idp::{Answer, Idp};
use crate::support::{
    Gate, SECRET, Signer, assert_faults, base64url, claims, claims_with, gate, issuer, key_set, settings, with_headers,
};

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
