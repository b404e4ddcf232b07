use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{Marks, Name};

/// Who is calling, as far as the route wanted to know.
#[derive(Clone, Debug)]
pub enum Caller {
    /// No identity, and why.
    Anonymous(Absence),
    /// A verified token.
    Known(Arc<Identity>),
}

impl Caller {
    /// The identity, if there is one.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Self::Known(identity) => Some(identity),
            Self::Anonymous(_) => None,
        }
    }

    /// The customer that is billed, if the token names one.
    pub fn account(&self) -> Option<&Name> {
        self.identity()?.account.as_ref()
    }
}

/// Why a caller is anonymous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The route does not ask.
    NotAsked,
    /// The request carries no token.
    NoToken,
    /// The request carries a bad token, and the route says `invalid_token: ignore`.
    Ignored(TokenFault),
}

/// What a verified token says. Made once per token and shared by all its requests.
#[derive(Debug)]
pub struct Identity {
    /// Which configured issuer signed it.
    pub issuer: Name,
    /// Every claim of the token.
    pub claims: Claims,
    /// Unix seconds after which the token is worth nothing.
    pub expires_at: u64,
    /// The first of the `billing.account` claims that is present, as text.
    pub account: Option<Name>,
    /// The `forward_claims` headers, ready to send.
    pub forwarded: Vec<(HeaderName, HeaderValue)>,
}

/// The claims of one token.
#[derive(Debug, Default)]
pub struct Claims {
    values: Map<String, Value>,
    prepared: OnceLock<Arc<dyn Any + Send + Sync>>,
    reissued: Mutex<Option<(u64, HeaderValue)>>,
    marks: OnceLock<Marks>,
}

impl Claims {
    /// Takes the verified payload.
    pub fn new(values: Map<String, Value>) -> Self {
        Self { values, prepared: OnceLock::new(), reissued: Mutex::new(None), marks: OnceLock::new() }
    }

    /// All claims by name.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// One claim.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// One claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_str()
    }

    /// By what the token can be revoked, made once per token.
    pub fn marks(&self, make: impl FnOnce(&Map<String, Value>) -> Marks) -> &Marks {
        self.marks.get_or_init(|| make(&self.values))
    }

    /// What the rules make of these claims, made once per token: `model` cannot name their type, hence `Any`.
    pub fn prepared(&self, make: impl FnOnce(&Map<String, Value>) -> Arc<dyn Any + Send + Sync>) -> &Arc<dyn Any + Send + Sync> {
        self.prepared.get_or_init(|| make(&self.values))
    }

    /// The token for upstreams that was made of these claims, with the unix seconds until which it is sent: made again at `now` if that
    /// is over. The lock is this token's own, and held while a new one is signed, so that its requests do not sign it twice.
    pub fn reissued(&self, now: u64, make: impl FnOnce() -> Option<(u64, HeaderValue)>) -> Option<HeaderValue> {
        let mut last = self.reissued.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(until, _)| now >= *until) {
            *last = make();
        }
        last.as_ref().map(|(_, token)| token.clone())
    }
}

/// Why a token was not accepted. The client learns only "invalid"; operators see this as a metric label and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFault {
    /// No token where the route requires one.
    Missing,
    /// Past `exp` plus the skew.
    Expired,
    /// `nbf` or `iat` in the future.
    NotYetValid,
    /// The signature does not match the key.
    BadSignature,
    /// No admitted key has this `kid`.
    UnknownKey,
    /// `iss` names no configured issuer.
    WrongIssuer,
    /// `aud` does not contain one of ours.
    WrongAudience,
    /// `tid` is another tenant's.
    WrongTenant,
    /// `alg` is not the one this key is for, or not one we accept.
    WrongAlgorithm,
    /// An id_token, a refresh token, a webhook signature, a DPoP-bound token sent as bearer, or another `typ`.
    WrongKind,
    /// A declared claim is missing or has another type.
    BadClaim,
    /// Not a token at all, or one with `crit`, duplicate names, an absurd lifetime, too large.
    Malformed,
    /// Bound to no key, but sent with a proof, or where only bound tokens are accepted.
    NotBound,
    /// A DPoP proof that is missing, wrong, used before, or made with another key than the token is bound to.
    BadProof,
    /// Not an API key that is configured.
    BadApiKey,
    /// Its issuer was asked and does not vouch for it.
    Inactive,
    /// It was good, and was taken back.
    Revoked,
}

impl TokenFault {
    /// Every fault, for series that exist from the first scrape.
    pub const ALL: [Self; 17] = [
        Self::Missing,
        Self::Expired,
        Self::NotYetValid,
        Self::BadSignature,
        Self::UnknownKey,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::WrongTenant,
        Self::WrongAlgorithm,
        Self::WrongKind,
        Self::BadClaim,
        Self::Malformed,
        Self::NotBound,
        Self::BadProof,
        Self::BadApiKey,
        Self::Inactive,
        Self::Revoked,
    ];

    /// The `result` label of `tollgate_auth_tokens_total`, and the `auth` word of the access log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadSignature => "bad_signature",
            Self::UnknownKey => "unknown_key",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::WrongTenant => "wrong_tenant",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::WrongKind => "wrong_kind",
            Self::BadClaim => "bad_claim",
            Self::Malformed => "malformed",
            Self::NotBound => "not_bound",
            Self::BadProof => "bad_proof",
            Self::BadApiKey => "bad_api_key",
            Self::Inactive => "inactive",
            Self::Revoked => "revoked",
        }
    }
}
