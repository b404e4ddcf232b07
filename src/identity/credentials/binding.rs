use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::identity::claims::{Said, text};
use crate::identity::token::decode;
use crate::model::TokenFault;
use crate::model::settings::Dpop;

/// Which key a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum Binding {
    /// None: it works for whoever has it.
    None,
    /// The one with this thumbprint (RFC 9449 6.1).
    Key(Thumbprint),
}

/// SHA-256 of the public key's required members (RFC 7638 with RFC 9449 6.1).
pub(in crate::identity) type Thumbprint = [u8; 32];

/// How a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum Scheme {
    /// On its own.
    Bearer,
    /// With a proof.
    Dpop,
    /// By the gateway itself, out of a session: the policy is about clients.
    Kept,
}

impl Binding {
    /// `WrongKind` for a confirmation that is not understood, such as that of a client certificate: whoever wrote it wanted it checked.
    pub(in crate::identity) fn of(said: &Said) -> Result<Self, TokenFault> {
        let Some(confirmation) = said.get("cnf") else { return Ok(Self::None) };
        let only = confirmation.as_object().filter(|methods| methods.len() == 1).ok_or(TokenFault::WrongKind)?;
        let bytes = text(only, "jkt").and_then(|thumbprint| decode(thumbprint).ok()).ok_or(TokenFault::WrongKind)?;
        bytes.try_into().map(Self::Key).map_err(|_| TokenFault::WrongKind)
    }

    /// Whether a token with this binding may be shown in this way.
    pub(in crate::identity) fn admits(self, scheme: Scheme, policy: Dpop) -> Result<(), TokenFault> {
        match (self, scheme, policy) {
            (_, Scheme::Dpop, Dpop::Off) => Err(TokenFault::WrongKind),
            // RFC 9449 7.2: a bound token that works as a bearer token would be bound to nothing.
            (Self::Key(_), Scheme::Bearer | Scheme::Kept, _) => Err(TokenFault::WrongKind),
            (Self::None, Scheme::Dpop, _) | (Self::None, Scheme::Bearer, Dpop::Required) => Err(TokenFault::NotBound),
            _ => Ok(()),
        }
    }
}

/// The thumbprint of a public key; `None` if it lacks a member.
pub(super) fn thumbprint(jwk: &Map<String, Value>) -> Option<Thumbprint> {
    // In lexicographic order, which is what the RFC asks for.
    let members: &[&str] = match text(jwk, "kty")? {
        "EC" => &["crv", "kty", "x", "y"],
        "RSA" => &["e", "kty", "n"],
        "OKP" => &["crv", "kty", "x"],
        _ => return None,
    };
    let mut canonical = String::with_capacity(256);
    for name in members {
        canonical.push(if canonical.is_empty() { '{' } else { ',' });
        canonical.push_str(&format!("\"{name}\":{}", Value::from(text(jwk, name)?)));
    }
    canonical.push('}');
    digest(&SHA256, canonical.as_bytes()).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    #[test]
    fn rfc7638_3_1_and_rfc9449_6_1_thumbprints_are_those_of_the_rfcs() {
        for (jwk, expected) in [
            (
                json!({"kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
                    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}),
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
            (
                json!({"kty": "EC", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA", "crv": "P-256"}),
                "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
            ),
        ] {
            let thumbprint = thumbprint(jwk.as_object().unwrap()).unwrap();
            assert_eq!(URL_SAFE_NO_PAD.encode(thumbprint), expected);
        }
    }

    #[test]
    fn rfc9449_7_a_bound_token_never_goes_without_its_proof() {
        let bound =
            Binding::of(json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}).as_object().unwrap()).unwrap();
        for (binding, scheme, policy, expected) in [
            (bound, Scheme::Bearer, Dpop::Off, Err(TokenFault::WrongKind)),
            (bound, Scheme::Bearer, Dpop::Allowed, Err(TokenFault::WrongKind)),
            (bound, Scheme::Bearer, Dpop::Required, Err(TokenFault::WrongKind)),
            (bound, Scheme::Kept, Dpop::Allowed, Err(TokenFault::WrongKind)),
            (bound, Scheme::Dpop, Dpop::Off, Err(TokenFault::WrongKind)),
            (bound, Scheme::Dpop, Dpop::Allowed, Ok(())),
            (bound, Scheme::Dpop, Dpop::Required, Ok(())),
            (Binding::None, Scheme::Bearer, Dpop::Off, Ok(())),
            (Binding::None, Scheme::Bearer, Dpop::Allowed, Ok(())),
            (Binding::None, Scheme::Bearer, Dpop::Required, Err(TokenFault::NotBound)),
            (Binding::None, Scheme::Kept, Dpop::Required, Ok(())),
            (Binding::None, Scheme::Dpop, Dpop::Off, Err(TokenFault::WrongKind)),
            (Binding::None, Scheme::Dpop, Dpop::Allowed, Err(TokenFault::NotBound)),
        ] {
            assert_eq!(binding.admits(scheme, policy), expected, "{binding:?} {scheme:?} {policy:?}");
        }
    }

    #[test]
    fn confirmations_that_are_not_understood_are_refused() {
        for cnf in [
            json!(null),
            json!("x"),
            json!({}),
            json!({"jkt": 1}),
            json!({"jkt": ""}),
            json!({"jkt": "AAAA"}),
            json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I="}),
            json!({"x5t#S256": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
            json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "x5t#S256": "x"}),
        ] {
            let said = json!({ "cnf": cnf });
            assert_eq!(Binding::of(said.as_object().unwrap()), Err(TokenFault::WrongKind), "{said}");
        }
    }
}
