use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;
use serde_json::{Map, Value};

use super::{Credentials, HostedBackend, Introspection, Login, Logout, Revocation, Secret};
use crate::model::{Name, claim};

/// `identity:`
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// One per FusionAuth tenant (or other OpenID provider).
    pub issuers: Vec<Issuer>,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub clock_skew: Duration,
    /// A token that claims to live longer (`exp - iat`, or `exp - now` without `iat`) is refused.
    pub max_lifetime: Duration,
    /// Where a token may be, tried in order.
    pub token_from: Vec<TokenFrom>,
    /// The claims that the tenant's lambda adds.
    pub claims: BTreeMap<String, ClaimType>,
    /// Headers towards upstreams, each from a claim (a dotted path reaches into objects).
    pub forward_claims: Vec<(HeaderName, String)>,
    /// `billing.account`: the first of these claims that is present names the customer.
    pub account: Vec<String>,
    /// Verified tokens that are remembered.
    pub cache_tokens: usize,
    /// API keys, bound tokens, and what is told to clients and upstreams.
    pub credentials: Credentials,
    /// Logging people in; `None`: the gateway only reads tokens that requests bring.
    pub login: Option<Login>,
    /// How they log out again.
    pub logout: Logout,
    /// For FusionAuth's browser SDKs; `None`: not here.
    pub hosted: Option<HostedBackend>,
    /// What was taken back before it expired.
    pub revocation: Option<Revocation>,
}

impl Default for Identity {
    /// What an empty section means.
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            clock_skew: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(24 * 3600),
            token_from: vec![TokenFrom::Authorization],
            claims: BTreeMap::new(),
            forward_claims: Vec::new(),
            account: Vec::new(),
            cache_tokens: 100_000,
            credentials: Credentials::default(),
            login: None,
            logout: Logout::default(),
            hosted: None,
            revocation: None,
        }
    }
}

impl Identity {
    /// The headers of a request that upstreams do not get from clients: those that they trust to be the gateway's, and the keys of
    /// machine clients.
    pub fn withheld(&self) -> impl Iterator<Item = &HeaderName> {
        let keys = self.credentials.api_keys.as_ref().map(|keys| &keys.header);
        let token = self.credentials.upstream_token.as_ref().map(|token| &token.header);
        self.forward_claims.iter().map(|(name, _)| name).chain(keys).chain(token)
    }

    /// The first declared claim that is not as it was declared.
    pub fn unmet_claim(&self, claims: &Map<String, Value>) -> Option<&str> {
        let is_met = |name: &str, expected: &ClaimType| match claim::find(claims, name) {
            None | Some(Value::Null) => !expected.required,
            Some(value) => expected.admits(value),
        };
        self.claims.iter().find(|(name, expected)| !is_met(name, expected)).map(|(name, _)| name.as_str())
    }
}

/// One entry of `identity.issuers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// For logs and metrics.
    pub name: Name,
    /// Where discovery and keys are fetched; no trailing slash.
    pub url: String,
    /// What `iss` says, compared byte by byte.
    pub issuer: String,
    /// The tenant id: its discovery path is used, and `tid` must be this.
    pub tenant: Option<String>,
    /// One of them must be in `aud`.
    pub audiences: Vec<String>,
    /// HMAC keys for HS256/384/512; without one such tokens are refused.
    pub hmac_secrets: Vec<Secret>,
    /// Whom to ask about tokens that cannot be verified here; `None`: they are refused.
    pub introspection: Option<Introspection>,
    /// How often the key set is fetched again.
    pub refresh: Duration,
    /// How long keys are used although fetching fails.
    pub max_stale: Duration,
    /// How long after a fetch an unknown `kid` causes no other.
    pub cooldown: Duration,
    /// For the whole fetch of one document.
    pub timeout: Duration,
}

/// Where a token may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    /// `Authorization: Bearer …`.
    Authorization,
    /// The whole value of another header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A parameter of the query, which nobody else gets to see.
    Query(String),
}

/// What a declared claim must look like.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimType {
    /// Its JSON type.
    pub kind: ClaimKind,
    /// The values it may have.
    pub one_of: Vec<String>,
    /// A token without it is refused.
    pub required: bool,
}

impl ClaimType {
    fn admits(&self, value: &Value) -> bool {
        let has_kind = match self.kind {
            ClaimKind::String => value.is_string(),
            ClaimKind::Int => value.is_i64(),
            ClaimKind::Float => value.is_number(),
            ClaimKind::Bool => value.is_boolean(),
            ClaimKind::Strings => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            ClaimKind::Object => value.is_object(),
            ClaimKind::Any => true,
        };
        let allowed = |value: &Value| self.one_of.iter().any(|one| claim::scalar(value).is_some_and(|text| text == *one));
        let has_value = match value {
            _ if self.one_of.is_empty() => true,
            Value::Array(items) => items.iter().all(allowed),
            value => allowed(value),
        };
        has_kind && has_value
    }
}

/// JSON types of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// Any number.
    Float,
    /// True or false.
    Bool,
    /// A list of texts.
    Strings,
    /// An object.
    Object,
    /// Anything.
    Any,
}
