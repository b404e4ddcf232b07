//! Checklist A21 and B9: which published keys are admitted.

use serde_json::{Value, json};
use tollgate::model::TokenFault;

use crate::idp::{Answer, Idp};
use crate::support::{Gate, Signer, base64url, claims, issuer, settings, until};

/// A gate whose issuer publishes these keys, besides one good one that is not asked about.
async fn gate(keys: Vec<Value>) -> Gate {
    let mut keys = keys;
    keys.push(Signer::ed25519("good").jwk());
    let idp = Idp::open(Answer::Json(json!({ "keys": keys }).to_string())).await;
    let gate = Gate::open(&settings(vec![issuer(&idp.url)]));
    until(|| gate.rings.ready()).await;
    gate
}

fn changed(mut jwk: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => jwk.as_object_mut().unwrap().remove(name),
            value => jwk.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    jwk
}

#[tokio::test]
async fn a21_keys_that_are_weak_or_for_something_else_are_not_admitted() {
    let (rsa, ec, ed) = (Signer::rsa("k", "RS256"), Signer::ec("k", "ES256"), Signer::ed25519("k"));
    let number = |bytes: &[u8]| json!(base64url(bytes));
    let modulus = |bytes: usize| {
        let mut modulus = vec![0xd5; bytes];
        modulus[bytes - 1] |= 1;
        json!(base64url(modulus))
    };
    let cases = [
        (changed(rsa.jwk(), json!({"n": modulus(128)})), "the modulus has 1024 bits, not 2048 to 8192"),
        (changed(rsa.jwk(), json!({"n": modulus(1025)})), "the modulus has 8200 bits, not 2048 to 8192"),
        (changed(rsa.jwk(), json!({"n": number(&[0xd4; 256])})), "the modulus is even"),
        (changed(rsa.jwk(), json!({"n": ""})), "the modulus has 0 bits, not 2048 to 8192"),
        (changed(rsa.jwk(), json!({"e": number(&[1])})), "the exponent is not an odd number from 3 to 2^32"),
        (changed(rsa.jwk(), json!({"e": number(&[1, 0, 0])})), "the exponent is not an odd number from 3 to 2^32"),
        (changed(rsa.jwk(), json!({"e": number(&[1, 0, 0, 0, 1])})), "the exponent is not an odd number from 3 to 2^32"),
        (changed(rsa.jwk(), json!({"e": ""})), "the exponent is not an odd number from 3 to 2^32"),
        (changed(rsa.jwk(), json!({"n": "a+b/"})), "`n` is not base64url"),
        (changed(rsa.jwk(), json!({"n": 7})), "`n` is not a string"),
        (changed(rsa.jwk(), json!({"e": null})), "no `e`"),
        (changed(rsa.jwk(), json!({"alg": "PS256"})), "algorithm \"PS256\" is not accepted"),
        (changed(rsa.jwk(), json!({"alg": "ES256"})), "an RSA key cannot be for ES256"),
        (changed(rsa.jwk(), json!({"alg": "HS256"})), "an RSA key cannot be for HS256"),
        (changed(rsa.jwk(), json!({"alg": "none"})), "algorithm \"none\" is not accepted"),
        (changed(rsa.jwk(), json!({"use": "enc"})), "`use` is not \"sig\""),
        (changed(rsa.jwk(), json!({"use": ["sig"]})), "`use` is not a string"),
        (changed(rsa.jwk(), json!({"key_ops": ["encrypt"]})), "`key_ops` does not contain \"verify\""),
        (changed(rsa.jwk(), json!({"key_ops": "verify"})), "`key_ops` does not contain \"verify\""),
        (changed(rsa.jwk(), json!({"d": "AQAB"})), "a private key was published (`d`); treat it as stolen"),
        (changed(ec.jwk(), json!({"d": "AQAB"})), "a private key was published (`d`); treat it as stolen"),
        (
            json!({"kty": "oct", "kid": "k", "k": base64url([7; 32]), "alg": "HS256"}),
            "a symmetric key was published (`k`); treat it as stolen",
        ),
        (json!({"kty": "oct", "kid": "k"}), "key type \"oct\" is not accepted"),
        (json!({"kty": "AKP", "kid": "k"}), "key type \"AKP\" is not accepted"),
        (json!({"kid": "k"}), "no `kty`"),
        (changed(ec.jwk(), json!({"x": number(&[1; 32])})), "not a point on P-256"),
        (changed(ec.jwk(), json!({"x": number(&[1; 31])})), "not a point on P-256"),
        (changed(ec.jwk(), json!({"crv": "P-384"})), "a key on P-384 is for ES384 only"),
        (changed(ec.jwk(), json!({"crv": "P-384", "alg": null})), "not a point on P-384"),
        (changed(ec.jwk(), json!({"crv": "secp256k1", "alg": null})), "curve \"secp256k1\" is not accepted"),
        (changed(ec.jwk(), json!({"alg": "ES384"})), "a key on P-256 is for ES256 only"),
        (changed(ed.jwk(), json!({"crv": "Ed448", "alg": null})), "curve \"Ed448\" is not accepted"),
        (changed(ed.jwk(), json!({"x": number(&[1; 31])})), "not an Ed25519 key"),
        (changed(ed.jwk(), json!({"alg": "RS256"})), "an Ed25519 key is for Ed25519 only"),
    ];
    let gate = gate(cases.iter().map(|(jwk, _)| jwk.clone()).collect()).await;
    let status = gate.rings.status().remove(0);
    assert_eq!(status.keys, 1);
    let expected: Vec<_> = cases.iter().map(|(_, reason)| format!("key \"k\": {reason}")).collect();
    assert_eq!(status.skipped, expected);
    for signer in [&rsa, &ec, &ed] {
        assert_eq!(gate.fault(&signer.token(&claims())).await, Some(TokenFault::UnknownKey));
    }
}

#[tokio::test]
async fn a21_what_an_issuer_writes_is_escaped_for_operators() {
    let gate = gate(vec![json!({"kty": "\u{1b}[31m", "kid": "\r\nlevel=error"}), json!(7)]).await;
    assert_eq!(
        gate.rings.status()[0].skipped,
        [r#"key "\r\nlevel=error": key type "\u{1b}[31m" is not accepted"#, "a key without `kid`: not an object"]
    );
}

#[tokio::test]
async fn b9_odd_but_usable_keys_are_admitted() {
    let (rs256, rs512) = (Signer::rsa("a", "RS256"), Signer::rsa("b", "RS512"));
    let (ec, ed) = (Signer::ec("c", "ES512"), Signer::ed25519("d"));
    let padded = {
        let n = rs256.jwk()["n"].as_str().unwrap().to_owned();
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, n).unwrap();
        base64url([&[0], &bytes[..]].concat())
    };
    let gate = gate(vec![
        changed(rs256.jwk(), json!({"alg": null, "use": null, "n": padded, "x5c": ["MIIB"], "x5t": "x"})),
        changed(rs512.jwk(), json!({"key_ops": ["verify", "encrypt"]})),
        changed(ec.jwk(), json!({"alg": null})),
        changed(ed.jwk(), json!({"alg": "EdDSA"})),
    ])
    .await;
    for signer in [&rs256, &rs512, &ec, &ed] {
        assert_eq!(gate.fault(&signer.token(&claims())).await, None, "{}", signer.algorithm);
    }
    // An RSA key without `alg` is for RS256 and nothing else.
    assert_eq!(gate.fault(&Signer::rsa("a", "RS384").token(&claims())).await, Some(TokenFault::WrongAlgorithm));
}

#[tokio::test]
async fn b9_of_keys_with_one_kid_up_to_four_with_the_right_algorithm_are_tried() {
    let same: Vec<_> = (0..5).map(|_| Signer::ec("same", "ES256")).collect();
    let other = Signer::ec("same", "ES384");
    let mut keys = vec![other.jwk()];
    keys.extend(same.iter().map(Signer::jwk));
    keys.push(same[0].jwk());
    let gate = gate(keys).await;
    assert_eq!(gate.rings.status()[0].skipped, ["key \"same\": listed twice"]);
    assert_eq!(gate.fault(&other.token(&claims())).await, None);
    for signer in &same[..4] {
        assert_eq!(gate.fault(&signer.token(&claims())).await, None);
    }
    assert_eq!(gate.fault(&same[4].token(&claims())).await, Some(TokenFault::BadSignature));
    assert_eq!(gate.fault(&Signer::ed25519("same").token(&claims())).await, Some(TokenFault::WrongAlgorithm));
}

#[tokio::test]
async fn b5_no_more_than_a_hundred_keys_are_kept() {
    let key = Signer::ed25519("many").jwk();
    let many: Vec<_> = (0..150).map(|number| changed(key.clone(), json!({"kid": number.to_string()}))).collect();
    let gate = gate(many).await;
    let status = gate.rings.status().remove(0);
    assert_eq!((status.keys, status.skipped.len()), (100, 51));
}
