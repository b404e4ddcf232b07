//! Tokens, keys and proofs that other libraries made: npm's `jose` and Python's PyJWT. `foreign/make.*` say how.

use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;
use std::time::Duration;
use tollgate::model::settings::Auth;
use tollgate::model::{Caller, Facts, Moment, TokenFault};

use crate::idp::{Answer, Idp};
use crate::support::{Gate, facts, issuer, now, settings};

const FILES: [&str; 2] = [include_str!("foreign/jose.json"), include_str!("foreign/pyjwt.json")];

#[tokio::test]
async fn tokens_of_other_libraries_are_accepted_if_their_algorithm_is() {
    let mut seen = Vec::new();
    for file in FILES {
        let file: Value = serde_json::from_str(file).unwrap();
        let idp = Idp::open(Answer::Json(file["keys"].to_string())).await;
        let gate = Gate::open(&settings(vec![issuer(&idp.url)]));
        let at = Moment::new(Duration::from_secs(file["now"].as_u64().unwrap() + 1), now().steady());
        for row in file["tokens"].as_array().unwrap() {
            let (algorithm, token) = (row["alg"].as_str().unwrap(), row["token"].as_str().unwrap());
            let fault = gate.fault_at(token, at).await;
            let expected = if row["accepted"] == true { None } else { Some(TokenFault::WrongAlgorithm) };
            assert_eq!(fault, expected, "{algorithm}");
            if expected.is_none() {
                let (signed, _) = token.rsplit_once('.').unwrap();
                let forged = format!("{signed}.{}", file["tokens"][0]["token"].as_str().unwrap().rsplit('.').next().unwrap());
                let is_first = forged == token;
                assert!(is_first || gate.fault_at(&forged, at).await == Some(TokenFault::BadSignature), "{algorithm}, forged");
                let late = Moment::new(at.unix() + Duration::from_secs(3700), at.steady());
                assert_eq!(gate.fault_at(token, late).await, Some(TokenFault::Expired), "{algorithm}, later");
            }
            seen.push(algorithm.to_owned());
        }
    }
    for algorithm in
        ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA", "PS256", "ES256K", "none", "HS256"]
    {
        assert!(seen.iter().any(|known| known == algorithm), "{algorithm} is missing");
    }
}

#[tokio::test]
async fn rfc9449_proofs_of_another_library_are_accepted() {
    let file: Value = serde_json::from_str(FILES[0]).unwrap();
    let idp = Idp::open(Answer::Json(file["keys"].to_string())).await;
    let gate = Gate::open(&settings(vec![issuer(&idp.url)]));
    let at = Moment::new(Duration::from_secs(file["now"].as_u64().unwrap() + 20), now().steady());
    let proofs = file["proofs"].as_array().unwrap();
    assert!(proofs.len() >= 7);
    for (place, row) in proofs.iter().enumerate() {
        let request = |proof: &Value| {
            let mut headers = HeaderMap::new();
            let token = format!("DPoP {}", row["token"].as_str().unwrap());
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&token).unwrap());
            headers.insert("dpop", HeaderValue::from_str(proof.as_str().unwrap()).unwrap());
            Facts { is_secure: true, ..facts(headers, at) }
        };
        let other = &proofs[(place + 1) % proofs.len()]["proof"];
        let refused = gate.identifier.identify(&request(other), Auth::Required).await;
        assert!(refused.is_err(), "{}: another client's proof", row["alg"]);
        let caller = gate.identifier.identify(&request(&row["proof"]), Auth::Required).await;
        assert!(matches!(caller, Ok(Caller::Known(_))), "{}: {caller:?}", row["alg"]);
    }
}
