use http::HeaderValue;
use http::header::AUTHORIZATION;

use crate::identity::verify::Algorithm;
use crate::model::settings::{Dpop, Identity};
use crate::model::{Facts, TokenFault};

/// The `WWW-Authenticate` of a 401. `fault` is what is wrong with the credential; `None` if a rule wants another one.
///
/// RFC 6750 3.1: without a token no error code, with a bad one `invalid_token`, and never why; but RFC 9449 7.1 has a code of its own
/// for proofs, which tells a client whose clock is wrong from one whose session is over.
pub fn challenge(policy: &Identity, facts: Option<&Facts>, fault: Option<TokenFault>) -> HeaderValue {
    let says_dpop = |facts: &Facts| {
        let scheme = facts.headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().get(..5));
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"dpop "))
    };
    let is_dpop = match policy.credentials.dpop {
        Dpop::Off => false,
        Dpop::Required => true,
        Dpop::Allowed => facts.is_some_and(says_dpop),
    };
    let error = match fault {
        None | Some(TokenFault::Missing) => None,
        Some(TokenFault::BadProof) if is_dpop => Some("invalid_dpop_proof"),
        Some(_) => Some("invalid_token"),
    };
    let mut parameters = Vec::with_capacity(3);
    parameters.extend(error.map(|error| format!("error=\"{error}\"")));
    if is_dpop {
        parameters.push(format!("algs=\"{}\"", Algorithm::OF_PROOFS.map(Algorithm::name).join(" ")));
    }
    if let Some(metadata) = &policy.credentials.resource_metadata {
        parameters.push(format!("resource_metadata=\"{}\"", metadata.url()));
    }
    let scheme = if is_dpop { "DPoP" } else { "Bearer" };
    let text = if parameters.is_empty() { scheme.to_owned() } else { format!("{scheme} {}", parameters.join(", ")) };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::settings::{Credentials, ResourceMetadata};
    use crate::model::{Moment, RequestId};

    const ALGS: &str = "algs=\"ES256 ES384 ES512 Ed25519 RS256 RS384 RS512 PS256 PS384 PS512\"";

    #[test]
    fn rfc6750_3_and_rfc9449_7_1_challenges_answer_what_was_sent() {
        let moment = Moment::new(Duration::ZERO, Duration::ZERO);
        let mut plain = Facts::unknown(RequestId::new(moment, 1), moment);
        plain.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        let mut bound = plain.clone();
        bound.headers.insert(AUTHORIZATION, HeaderValue::from_static("dpop x"));
        for (dpop, facts, fault, expected) in [
            (Dpop::Allowed, &plain, Some(TokenFault::Missing), "Bearer".to_owned()),
            (Dpop::Allowed, &plain, None, "Bearer".to_owned()),
            (Dpop::Allowed, &plain, Some(TokenFault::Expired), "Bearer error=\"invalid_token\"".to_owned()),
            (Dpop::Allowed, &plain, Some(TokenFault::BadApiKey), "Bearer error=\"invalid_token\"".to_owned()),
            (Dpop::Allowed, &bound, Some(TokenFault::BadProof), format!("DPoP error=\"invalid_dpop_proof\", {ALGS}")),
            (Dpop::Allowed, &bound, Some(TokenFault::Expired), format!("DPoP error=\"invalid_token\", {ALGS}")),
            (Dpop::Required, &plain, Some(TokenFault::Missing), format!("DPoP {ALGS}")),
            (Dpop::Required, &plain, Some(TokenFault::NotBound), format!("DPoP error=\"invalid_token\", {ALGS}")),
            (Dpop::Off, &bound, Some(TokenFault::WrongKind), "Bearer error=\"invalid_token\"".to_owned()),
        ] {
            let policy = Identity { credentials: Credentials { dpop, ..Credentials::default() }, ..Identity::default() };
            assert_eq!(challenge(&policy, Some(facts), fault), expected, "{dpop:?} {fault:?}");
        }
        assert_eq!(challenge(&Identity::default(), None, Some(TokenFault::Missing)), "Bearer");
    }

    #[test]
    fn rfc9728_5_1_challenges_name_the_metadata() {
        let metadata = ResourceMetadata { resource: "https://api.example.com".into(), members: Default::default() };
        let credentials = Credentials { resource_metadata: Some(metadata), ..Credentials::default() };
        let policy = Identity { credentials, ..Identity::default() };
        let expected = "resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource\"";
        assert_eq!(challenge(&policy, None, Some(TokenFault::Missing)), format!("Bearer {expected}"));
        assert_eq!(challenge(&policy, None, Some(TokenFault::Expired)), format!("Bearer error=\"invalid_token\", {expected}"));
    }
}
