//! Checklist A17, A18, A22 to A24: from a request to an identity.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde_json::json;
use tollgate::identity::Verdict;
use tollgate::model::settings::Auth;
use tollgate::model::{Absence, Caller, Moment, Rejection, TokenFault};

use crate::support::{SECRET, Signer, assert_faults, bearer, claims, claims_with, facts, gate, gate_with, now};

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
        (vec![(auth.clone(), format!("DPoP {good}"))], Err(TokenFault::BadProof)),
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
async fn a22_a_jumping_clock_breaks_nothing() {
    let (gate, signer) = gate().await;
    let (remembered, fresh) = (signer.token(&claims()), signer.token(&claims_with(json!({"jti": "fresh"}))));
    assert_eq!(gate.fault(&remembered).await, None);
    let hour = Duration::from_secs(3600);
    let before = Moment::new(now().unix() - hour, now().steady());
    assert_eq!(gate.fault_at(&remembered, before).await, None);
    assert_eq!(gate.fault_at(&fresh, before).await, Some(TokenFault::NotYetValid));
    let after = Moment::new(now().unix() + 2 * hour, now().steady());
    assert_eq!(gate.fault_at(&remembered, after).await, Some(TokenFault::Expired));
    assert_eq!(gate.fault_at(&fresh, Moment::new(Duration::ZERO, Duration::ZERO)).await, Some(TokenFault::NotYetValid));
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

/// Polled once, outside of any runtime.
#[test]
fn a_remembered_token_is_recognised_without_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (gate, signer) = runtime.block_on(gate());
    let token = signer.token(&claims());
    runtime.block_on(gate.sees(&token)).unwrap();
    let facts = bearer(&token, now());
    let mut seen = std::pin::pin!(gate.identifier.identify(&facts, Auth::Required));
    let polled = seen.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(polled, std::task::Poll::Ready(Ok(Caller::Known(_)))));
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
    assert_eq!(finding("issuer").text, r#""\u001b[31mevil"; the configuration has "acme.com""#);
    assert_eq!(finding("expiry").fault, Some(TokenFault::Expired));
    assert!(finding("expiry").text.ends_with("14 min ago; clocks may differ by 30 s"), "{}", finding("expiry").text);
    assert_eq!(finding("subject").fault, None);

    let form = examine("not a token".into()).await;
    assert_eq!((form.verdict, form.findings.len()), (Verdict::Refused(TokenFault::Malformed), 1));
    let hmac = examine(Signer::hmac("k", "HS256", SECRET.as_bytes()).token(&claims())).await;
    assert_eq!(hmac.verdict, Verdict::Refused(TokenFault::WrongAlgorithm));
    assert!(hmac.findings.last().unwrap().text.contains("asymmetric"), "{hmac:?}");
}
