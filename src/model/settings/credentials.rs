use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;
use serde_json::{Map, Value};

use super::Secret;
use crate::model::Name;

/// What `identity:` says about credentials other than plain access tokens, and about what is told to clients and upstreams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    /// `identity.dpop`
    pub dpop: Dpop,
    /// `identity.api_keys`
    pub api_keys: Option<ApiKeys>,
    /// `identity.resource_metadata`
    pub resource_metadata: Option<ResourceMetadata>,
    /// `identity.upstream_token`
    pub upstream_token: Option<UpstreamToken>,
}

/// Whether tokens may be bound to a key of the client's (RFC 9449).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dpop {
    /// The scheme `DPoP` is refused.
    Off,
    /// Bound tokens need a proof, others none.
    #[default]
    Allowed,
    /// Tokens that are not bound are refused.
    Required,
}

/// `identity.api_keys`
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKeys {
    /// Where the key is; never sent on.
    pub header: HeaderName,
    /// By the SHA-256 of the key: the configuration never holds the key itself.
    pub entries: BTreeMap<[u8; 32], ApiKey>,
}

/// Whom one API key stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    /// What rules and upstreams see; has a `sub`.
    pub claims: Map<String, Value>,
    /// Unix seconds from which on the key is refused.
    pub expires: Option<u64>,
}

/// `identity.resource_metadata` (RFC 9728)
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceMetadata {
    /// The URL by which clients name this gateway's services.
    pub resource: String,
    /// The members beyond those that follow from the rest of the configuration.
    pub members: Map<String, Value>,
}

/// `identity.upstream_token`
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamToken {
    /// Where upstreams find it; a client's own is never sent on.
    pub header: HeaderName,
    /// Private keys in PEM: the first one signs, all are published. None: one that is made when the process starts.
    pub keys: Vec<Secret>,
    /// `iss`
    pub issuer: String,
    /// `aud`
    pub audience: String,
    /// `exp` less `iat`
    pub ttl: Duration,
    /// The claims that are copied from the caller's own.
    pub claims: Vec<String>,
}

/// `introspection` of an issuer: whom to ask about tokens that cannot be verified here.
#[derive(Clone, Debug, PartialEq)]
pub struct Introspection {
    /// How.
    pub via: Inquiry,
    /// How long an answer is used.
    pub cache: Duration,
    /// For one answer, waiting for the turn included.
    pub timeout: Duration,
    /// Questions per second, at most.
    pub per_second: u32,
}

/// How an issuer is asked about a token.
#[derive(Clone, Debug, PartialEq)]
pub enum Inquiry {
    /// `POST /oauth2/introspect` (RFC 7662) as this client.
    Introspect {
        /// Where; FusionAuth's path below the issuer's URL unless configured.
        url: String,
        /// The application whose tokens are asked about.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
    },
    /// FusionAuth's `GET /api/jwt/validate`, for JWTs of every application.
    Validate {
        /// Where.
        url: String,
    },
}

impl ApiKeys {
    /// How the identities of API keys name their issuer.
    pub const ISSUER: &str = "api-key";

    /// [`Self::ISSUER`] as a name.
    pub fn issuer() -> Name {
        Name::from(Self::ISSUER)
    }
}

impl ResourceMetadata {
    const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

    /// The path at which it is (RFC 9728 3.1): the well-known name stands between host and path of the resource.
    pub fn path(&self) -> String {
        format!("{}{}", Self::WELL_KNOWN, self.parts().1)
    }

    /// The whole URL.
    pub fn url(&self) -> String {
        let (origin, path) = self.parts();
        format!("{origin}{}{path}", Self::WELL_KNOWN)
    }

    /// Scheme and authority, and the path without a trailing slash.
    fn parts(&self) -> (&str, &str) {
        let after_scheme = self.resource.find("://").map_or(0, |at| at + 3);
        let slash = self.resource.get(after_scheme..).and_then(|rest| rest.find('/'));
        let (origin, path) = self.resource.split_at(slash.map_or(self.resource.len(), |at| at + after_scheme));
        (origin, path.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9728_3_1_the_well_known_name_stands_between_host_and_path() {
        for (resource, path, url) in [
            ("https://a.example", "", "https://a.example"),
            ("https://a.example/", "", "https://a.example"),
            ("https://a.example:8443/v1/orders", "/v1/orders", "https://a.example:8443"),
        ] {
            let metadata = ResourceMetadata { resource: resource.into(), members: Map::new() };
            assert_eq!(metadata.path(), format!("/.well-known/oauth-protected-resource{path}"));
            assert_eq!(metadata.url(), format!("{url}/.well-known/oauth-protected-resource{path}"));
        }
    }
}
