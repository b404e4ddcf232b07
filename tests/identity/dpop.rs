//! RFC 9449: tokens that are bound to a key, and the proofs that come with them.

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use tollgate::identity::Verdict;
use tollgate::model::settings::{Auth, Dpop};
use tollgate::model::{Absence, Caller, Facts, Moment, Rejection, TokenFault};

use crate::support::{Gate, Signer, base64url, bearer, claims, claims_with, facts, gate, gate_with, now};

/// The public members alone, as clients send them.
fn public(key: &Signer) -> Value {
    let mut jwk = key.jwk();
    for name in ["kid", "alg", "use"] {
        jwk.as_object_mut().unwrap().remove(name);
    }
    jwk
}

/// `serde_json` sorts members, and RFC 7638 wants them sorted.
fn thumbprint(key: &Signer) -> String {
    base64url(digest(&SHA256, public(key).to_string().as_bytes()))
}

fn ath(token: &str) -> String {
    base64url(digest(&SHA256, token.as_bytes()))
}

fn header(key: &Signer) -> Value {
    json!({"typ": "dpop+jwt", "alg": key.algorithm, "jwk": public(key)})
}

fn body(token: &str) -> Value {
    json!({
        "jti": format!("{:x}", next_number()), "htm": "GET", "htu": "https://api.example.com/v1/orders",
        "iat": now().unix_seconds(), "ath": ath(token),
    })
}

/// A number that no other call gives.
fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn with(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => object.as_object_mut().unwrap().remove(name),
            value => object.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    object
}

fn proof(key: &Signer, token: &str, header_changes: &Value, changes: &Value) -> String {
    key.sign(&with(header(key), header_changes).to_string(), &with(body(token), changes).to_string())
}

fn request(token: &str, proofs: &[&str]) -> Facts {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::AUTHORIZATION, HeaderValue::from_str(&format!("DPoP {token}")).unwrap());
    for proof in proofs {
        headers.append("dpop", HeaderValue::from_str(proof).unwrap());
    }
    Facts { is_secure: true, ..facts(headers, now()) }
}

async fn fault(gate: &Gate, facts: &Facts) -> Option<TokenFault> {
    match gate.identifier.identify(facts, Auth::Required).await {
        Ok(Caller::Known(_)) => None,
        Err(Rejection::Unauthenticated(fault)) => Some(fault),
        other => panic!("{other:?}"),
    }
}

fn bound(issuer: &Signer, key: &Signer) -> String {
    issuer.token(&claims_with(json!({"cnf": {"jkt": thumbprint(key)}})))
}

#[tokio::test]
async fn rfc9449_7_1_a_bound_token_passes_with_the_proof_of_its_key() {
    let (gate, issuer) = gate().await;
    for key in [
        Signer::ec("c", "ES256"),
        Signer::ec("c", "ES384"),
        Signer::ec("c", "ES512"),
        Signer::ed25519("c"),
        Signer::rsa("c", "RS256"),
        Signer::rsa("c", "RS512"),
        Signer::rsa("c", "PS256"),
        Signer::rsa("c", "PS384"),
        Signer::rsa("c", "PS512"),
    ] {
        let token = bound(&issuer, &key);
        for _ in 0..2 {
            let sent = request(&token, &[&proof(&key, &token, &json!({}), &json!({}))]);
            assert_eq!(fault(&gate, &sent).await, None, "{}", key.algorithm);
        }
        assert_eq!(gate.fault(&token).await, Some(TokenFault::WrongKind), "{}: a remembered one as bearer", key.algorithm);
    }
    let fresh = bound(&issuer, &Signer::ed25519("c"));
    assert_eq!(gate.fault(&fresh).await, Some(TokenFault::WrongKind), "a new one as bearer");
}

#[tokio::test]
async fn rfc9449_4_3_each_claim_of_a_proof_counts() {
    let (gate, issuer) = gate().await;
    let key = Signer::ec("c", "ES256");
    let token = bound(&issuer, &key);
    let at = now().unix_seconds();
    for changes in [
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"jti": 7}),
        json!({"jti": "j".repeat(257)}),
        json!({"htm": null}),
        json!({"htm": "POST"}),
        json!({"htm": "get"}),
        json!({"htu": null}),
        json!({"htu": "http://api.example.com/v1/orders"}),
        json!({"htu": "https://api.example.com/v1/Orders"}),
        json!({"htu": "https://api.example.com:8443/v1/orders"}),
        json!({"htu": "https://other.example.com/v1/orders"}),
        json!({"htu": ["https://api.example.com/v1/orders"]}),
        json!({"iat": null}),
        json!({"iat": at - 70}),
        json!({"iat": at + 70}),
        json!({"iat": at.to_string()}),
        json!({"iat": at as f64 + 0.5}),
        json!({"ath": null}),
        json!({"ath": ath("another token")}),
        json!({"ath": format!("{}=", ath(&token))}),
    ] {
        let sent = request(&token, &[&proof(&key, &token, &json!({}), &changes)]);
        assert_eq!(fault(&gate, &sent).await, Some(TokenFault::BadProof), "{changes}");
    }
    for changes in [
        json!({"htu": "HTTPS://API.example.com:443/v1/orders"}),
        json!({"htu": "https://api.example.com/v1/orders?page=1#top"}),
        json!({"nonce": "unasked", "more": {"a": 1}}),
        json!({"iat": at - 50}),
    ] {
        let sent = request(&token, &[&proof(&key, &token, &json!({}), &changes)]);
        assert_eq!(fault(&gate, &sent).await, None, "{changes}");
    }
    let mut post = request(&token, &[&proof(&key, &token, &json!({}), &json!({"htm": "POST"}))]);
    post.method = Method::POST;
    assert_eq!(fault(&gate, &post).await, None);
}

#[tokio::test]
async fn rfc9449_4_3_each_header_of_a_proof_counts() {
    let (gate, issuer) = gate().await;
    let key = Signer::ec("c", "ES256");
    let token = bound(&issuer, &key);
    let other = public(&Signer::ec("c", "ES256"));
    let private = with(public(&key), &json!({"d": "AAAA"}));
    for changes in [
        json!({"typ": null}),
        json!({"typ": "JWT"}),
        json!({"typ": "DPOP+JWT"}),
        json!({"alg": null}),
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "ES384"}),
        json!({"alg": "RS256"}),
        json!({"jwk": null}),
        json!({"jwk": "key"}),
        json!({"jwk": other}),
        json!({"jwk": private}),
        json!({"jwk": {"kty": "oct", "k": "AAAA"}}),
        json!({"jwk": with(public(&key), &json!({"alg": "ES384"}))}),
        json!({"jwk": with(public(&key), &json!({"use": "enc"}))}),
        json!({"jku": "https://evil.example/keys"}),
        json!({"x5c": ["AAAA"]}),
        json!({"crit": ["exp"]}),
    ] {
        let sent = request(&token, &[&proof(&key, &token, &changes, &json!({}))]);
        assert_eq!(fault(&gate, &sent).await, Some(TokenFault::BadProof), "{changes}");
    }
    assert_eq!(fault(&gate, &request(&token, &[&proof(&key, &token, &json!({"kid": "x"}), &json!({}))])).await, None);
}

#[tokio::test]
async fn a1_a2_proofs_that_nobody_signed_are_worth_nothing() {
    let (gate, issuer) = gate().await;
    let key = Signer::rsa("c", "RS256");
    let token = bound(&issuer, &key);
    let unsigned = json!({"typ": "dpop+jwt", "alg": "none", "jwk": public(&key)});
    let unsigned = format!("{}.{}.", base64url(unsigned.to_string()), base64url(body(&token).to_string()));
    let good = proof(&key, &token, &json!({}), &json!({}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let mut cases =
        vec![unsigned, format!("{signed}."), format!("{signed}.AAAA"), format!("{good}x"), "proof".into(), "..".into()];
    for secret in key.public_forms() {
        let forger = Signer::hmac("c", "HS256", &secret);
        let header = with(header(&key), &json!({"alg": "HS256"}));
        cases.push(forger.sign(&header.to_string(), &body(&token).to_string()));
    }
    // Two in one header, and two headers.
    cases.push(format!("{good}, {good}"));
    for case in &cases {
        assert_eq!(fault(&gate, &request(&token, &[case])).await, Some(TokenFault::BadProof), "{}", &case[..case.len().min(60)]);
    }
    let another = proof(&key, &token, &json!({}), &json!({}));
    for proofs in [vec![], vec![good.as_str(), &another], vec![good.as_str(), &good]] {
        assert_eq!(fault(&gate, &request(&token, &proofs)).await, Some(TokenFault::BadProof), "{} proofs", proofs.len());
    }
    assert_eq!(fault(&gate, &request(&token, &[&good])).await, None, "none of these used it up");
}

#[tokio::test]
async fn rfc9449_11_1_a_proof_is_good_once() {
    let (gate, issuer) = gate().await;
    let key = Signer::ed25519("c");
    let token = bound(&issuer, &key);
    let used = proof(&key, &token, &json!({}), &json!({"jti": "once"}));
    assert_eq!(fault(&gate, &request(&token, &[&used])).await, None);
    for _ in 0..2 {
        assert_eq!(fault(&gate, &request(&token, &[&used])).await, Some(TokenFault::BadProof));
    }
    let renamed = proof(&key, &token, &json!({}), &json!({"jti": "once", "more": 1}));
    assert_eq!(fault(&gate, &request(&token, &[&renamed])).await, Some(TokenFault::BadProof), "the name is used up");
    // What was refused for another reason is not used up.
    let early = proof(&key, &token, &json!({}), &json!({"jti": "early"}));
    let mut elsewhere = request(&token, &[&early]);
    elsewhere.method = Method::POST;
    assert_eq!(fault(&gate, &elsewhere).await, Some(TokenFault::BadProof));
    assert_eq!(fault(&gate, &request(&token, &[&early])).await, None);
}

#[tokio::test]
async fn a_reload_does_not_make_a_proof_good_again() {
    let (mut gate, issuer) = gate().await;
    let key = Signer::ed25519("c");
    let token = bound(&issuer, &key);
    let used = request(&token, &[&proof(&key, &token, &json!({}), &json!({}))]);
    assert_eq!(fault(&gate, &used).await, None);
    gate.reload(|settings| settings.clock_skew += std::time::Duration::from_secs(1));
    assert_eq!(fault(&gate, &used).await, Some(TokenFault::BadProof));
    assert_eq!(fault(&gate, &request(&token, &[&proof(&key, &token, &json!({}), &json!({}))])).await, None);
}

#[tokio::test]
async fn rfc9449_6_a_token_belongs_to_one_key() {
    let (gate, issuer) = gate().await;
    let (key, thief) = (Signer::ec("c", "ES256"), Signer::ec("t", "ES256"));
    let token = bound(&issuer, &key);
    let stolen = request(&token, &[&proof(&thief, &token, &json!({}), &json!({}))]);
    assert_eq!(fault(&gate, &stolen).await, Some(TokenFault::BadProof));
    let unbound = issuer.token(&claims());
    let sent = request(&unbound, &[&proof(&key, &unbound, &json!({}), &json!({}))]);
    assert_eq!(fault(&gate, &sent).await, Some(TokenFault::NotBound));
    assert_eq!(gate.fault(&unbound).await, None, "it is still a bearer token");
    let expired = issuer.token(&claims_with(json!({"cnf": {"jkt": thumbprint(&key)}, "exp": now().unix_seconds() - 60})));
    let sent = request(&expired, &[&proof(&key, &expired, &json!({}), &json!({}))]);
    assert_eq!(fault(&gate, &sent).await, Some(TokenFault::Expired));
}

#[tokio::test]
async fn the_operator_says_whether_tokens_are_bound() {
    let key = Signer::ed25519("c");
    for (dpop, bound_fault, bearer_fault) in [
        (Dpop::Off, Some(TokenFault::WrongKind), None),
        (Dpop::Allowed, None, None),
        (Dpop::Required, None, Some(TokenFault::NotBound)),
    ] {
        let (gate, issuer) = gate_with(|settings| settings.credentials.dpop = dpop).await;
        let token = bound(&issuer, &key);
        let sent = request(&token, &[&proof(&key, &token, &json!({}), &json!({}))]);
        assert_eq!(fault(&gate, &sent).await, bound_fault, "{dpop:?}");
        let plain = issuer.token(&claims());
        assert_eq!(gate.fault(&plain).await, bearer_fault, "{dpop:?}");
        // The gateway's own sessions are no clients.
        assert!(gate.identifier.recognize(&plain, now()).await.is_ok(), "{dpop:?}");
        let kept = gate.identifier.recognize(&token, now()).await;
        assert_eq!(kept.err(), Some(Rejection::Unauthenticated(TokenFault::WrongKind)), "{dpop:?}");
        let examined = gate.identifier.examine(&token, now()).await.verdict;
        assert_eq!(examined == Verdict::Accepted, bound_fault.is_none(), "{dpop:?}");
        let examined = gate.identifier.examine(&plain, now()).await.verdict;
        assert_eq!(examined == Verdict::Accepted, bearer_fault.is_none(), "{dpop:?}");
    }
}

#[tokio::test]
async fn an_ignored_proof_leaves_the_caller_anonymous() {
    let (gate, issuer) = gate().await;
    let key = Signer::ed25519("c");
    let token = bound(&issuer, &key);
    let caller = gate.identifier.identify(&request(&token, &[]), Auth::OptionalLenient).await.unwrap();
    assert!(matches!(caller, Caller::Anonymous(Absence::Ignored(TokenFault::BadProof))), "{caller:?}");
    let none = gate.identifier.identify(&request(&token, &[]), Auth::None).await.unwrap();
    assert!(matches!(none, Caller::Anonymous(Absence::NotAsked)));
    let late = Moment::new(now().unix() + std::time::Duration::from_secs(90), now().steady());
    let mut stale = request(&token, &[&proof(&key, &token, &json!({}), &json!({}))]);
    stale.received_at = late;
    assert_eq!(fault(&gate, &stale).await, Some(TokenFault::BadProof));
    assert!(gate.identifier.identify(&bearer(&issuer.token(&claims()), late), Auth::Required).await.is_ok());
}
