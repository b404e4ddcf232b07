use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;

use super::{Revocation, Secret};
use crate::model::Name;

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
    /// What was taken back before it expired.
    pub revocation: Option<Revocation>,
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
