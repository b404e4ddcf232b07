use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::identity::issuer::KeyRing;
use crate::identity::token::Token;
use crate::identity::verify::{Algorithm, VerificationKey};
use crate::model::settings::WebhookSignature;
use crate::model::{Moment, TokenFault};

/// FusionAuth since 1.48: a JWS over the digest of the body.
const HEADER: &str = "x-fusionauth-signature-jwt";
/// Its only claim.
const CLAIM: &str = "request_body_sha256";

/// Whose signatures count.
pub(super) enum Signers {
    Published(Arc<KeyRing>),
    Secrets(Vec<VerificationKey>),
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsigned {
    /// It is missing or wrong.
    Wrong,
    /// Nobody can say: the issuer's keys are missing.
    WithoutKeys,
}

impl From<TokenFault> for Unsigned {
    fn from(_: TokenFault) -> Self {
        Self::Wrong
    }
}

/// Whether there is a signature, and only one.
pub(super) fn is_in(headers: &HeaderMap) -> bool {
    headers.get_all(HEADER).iter().count() == 1
}

impl Signers {
    pub(super) fn new(settings: &WebhookSignature, ring: Arc<KeyRing>) -> Self {
        match settings {
            WebhookSignature::Published => Self::Published(ring),
            WebhookSignature::Secrets(secrets) => {
                let algorithms = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
                let keys = secrets.iter().flat_map(|secret| {
                    algorithms.into_iter().filter_map(|algorithm| VerificationKey::hmac(algorithm, secret.expose()))
                });
                Self::Secrets(keys.collect())
            }
        }
    }

    /// Whether the body is what was signed.
    pub(super) async fn verify(&self, headers: &HeaderMap, body: &[u8], now: Moment) -> Result<(), Unsigned> {
        let text = headers.get(HEADER).and_then(|value| value.to_str().ok()).ok_or(Unsigned::Wrong)?;
        let token = Token::parse(text)?;
        // Nothing but the digest is in it. A lambda can put any claim into a token of its user, but never takes `exp` and `sub` away.
        let claimed =
            token.claims.get(CLAIM).and_then(Value::as_str).filter(|_| token.claims.len() == 1).ok_or(Unsigned::Wrong)?;
        let expected = STANDARD.encode(digest(&SHA256, body));
        if !bool::from(claimed.as_bytes().ct_eq(expected.as_bytes())) {
            return Err(Unsigned::Wrong);
        }
        match self {
            Self::Secrets(keys) => {
                let fits =
                    |key: &VerificationKey| key.algorithm() == token.algorithm && key.verifies(token.signed, token.signature);
                if keys.iter().any(fits) { Ok(()) } else { Err(Unsigned::Wrong) }
            }
            Self::Published(_) if token.algorithm.is_symmetric() => Err(Unsigned::Wrong),
            Self::Published(ring) => {
                // A key that was made just now: the same one fetch, and the same cooldown, as for an access token.
                match published(ring, &token, now) {
                    Err(Lacking::Key) if token.kid.is_none() => Err(Unsigned::Wrong),
                    Err(Lacking::Key | Lacking::All) => {
                        ring.renewed(now).await;
                        published(ring, &token, now).map_err(|lacking| match lacking {
                            Lacking::All => Unsigned::WithoutKeys,
                            Lacking::Key => Unsigned::Wrong,
                        })?
                    }
                    Ok(verdict) => verdict,
                }
            }
        }
    }
}

/// What would be needed to judge.
enum Lacking {
    Key,
    All,
}

fn published(ring: &KeyRing, token: &Token<'_>, now: Moment) -> Result<Result<(), Unsigned>, Lacking> {
    let keys = ring.keys(now).ok_or(Lacking::All)?;
    match keys.candidates(token.kid.as_deref(), token.algorithm) {
        Err(TokenFault::UnknownKey) => Err(Lacking::Key),
        Err(_) => Ok(Err(Unsigned::Wrong)),
        Ok(candidates) => {
            let is_signed = candidates.iter().any(|key| key.verification.verifies(token.signed, token.signature));
            Ok(if is_signed { Ok(()) } else { Err(Unsigned::Wrong) })
        }
    }
}
