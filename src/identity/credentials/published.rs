use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use serde_json::Value;

use super::signing::Signing;
use crate::identity::verify::Algorithm;
use crate::model::settings::{Dpop, FixedAnswer, Identity, ResourceMetadata, TokenFrom};

/// Where upstreams find the keys of the gateway's own tokens.
const KEY_SET: &str = "/.well-known/tollgate/jwks.json";

/// The documents about identity that everybody may read, each with its path.
pub(in crate::identity) fn documents(policy: &Identity, signing: Option<&Signing>) -> Vec<(String, Arc<FixedAnswer>)> {
    let metadata = policy.credentials.resource_metadata.as_ref();
    let metadata = metadata.map(|metadata| (metadata.path(), answer(&resource(metadata, policy), "application/json")));
    let keys = signing.map(|signing| (KEY_SET.to_owned(), answer(&signing.key_set(), "application/jwk-set+json")));
    metadata.into_iter().chain(keys).collect()
}

/// RFC 9728 2.
fn resource(metadata: &ResourceMetadata, policy: &Identity) -> Value {
    let mut servers: Vec<&str> = Vec::new();
    for issuer in &policy.issuers {
        // The RFC wants issuer identifiers that are URLs, below which clients find metadata; FusionAuth's issuer may be any text.
        let is_url = issuer.issuer.starts_with("https://");
        let server = if is_url { issuer.issuer.as_str() } else { issuer.url.as_str() };
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    let in_query = policy.token_from.iter().any(|place| matches!(place, TokenFrom::Query(name) if name == "access_token"));
    let methods: &[&str] = if in_query { &["header", "query"] } else { &["header"] };
    let mut document = metadata.members.clone();
    document.insert("resource".into(), metadata.resource.as_str().into());
    document.insert("authorization_servers".into(), servers.into());
    document.insert("bearer_methods_supported".into(), methods.into());
    let dpop = policy.credentials.dpop;
    if dpop != Dpop::Off {
        let algorithms = Algorithm::OF_PROOFS.map(Algorithm::name).to_vec();
        document.insert("dpop_signing_alg_values_supported".into(), algorithms.into());
        document.insert("dpop_bound_access_tokens_required".into(), (dpop == Dpop::Required).into());
    }
    document.into()
}

/// Clients in browsers read these, too, whatever page they are on.
fn answer(document: &Value, content_type: &'static str) -> Arc<FixedAnswer> {
    Arc::new(FixedAnswer {
        status: 200,
        content_type: HeaderValue::from_static(content_type),
        body: Bytes::from(document.to_string()),
        headers: vec![
            (CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
            (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ],
    })
}
