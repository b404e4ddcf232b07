use std::error::Error;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use serde_json::Value;

use crate::identity::json;
use crate::identity::keys::KeySet;
use crate::model::settings::Issuer;

/// FusionAuth's key set has about 1 KiB per key.
pub(in crate::identity) const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// Keys, and where they were.
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    pub(super) location: Url,
    pub(super) warnings: Vec<String>,
}

/// No redirects: they would let whoever answers choose another host. No proxy from the environment: what is configured is what is
/// asked. No cookies, no compression, no idle connections (a fetch an hour needs none).
pub(in crate::identity) fn client() -> Option<Client> {
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(0)
        .connect_timeout(Duration::from_secs(10))
        .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
        .build();
    client.inspect_err(|error| tracing::error!("no keys can be fetched: {}", whole(error))).ok()
}

/// Fetches the key set, from `known` or from where discovery says. The error is for operators.
pub(super) async fn keys(
    client: &Client,
    issuer: &Issuer,
    known: Option<Url>,
    previous: Option<&KeySet>,
) -> Result<Fetched, String> {
    let mut warnings = Vec::new();
    let location = match known {
        Some(known) => known,
        None => locate(client, issuer, &mut warnings).await?,
    };
    let document = document(client, location.clone(), issuer.timeout).await?;
    let keys = KeySet::parse(&document, previous)?;
    Ok(Fetched { keys, location, warnings })
}

/// Discovery (FusionAuth since 1.46 per tenant), else FusionAuth's fixed path. Only what is wrong with the configuration is an error.
async fn locate(client: &Client, issuer: &Issuer, warnings: &mut Vec<String>) -> Result<Url, String> {
    let parse = |path: &str| {
        Url::parse(&format!("{}{path}", issuer.url)).map_err(|error| format!("the issuer's url is not one: {error}"))
    };
    let fixed = parse("/.well-known/jwks.json")?;
    let discovery = match &issuer.tenant {
        Some(tenant) => parse(&format!("/{tenant}/.well-known/openid-configuration"))?,
        None => parse("/.well-known/openid-configuration")?,
    };
    let found = document(client, discovery, issuer.timeout)
        .await
        .and_then(|document| json::object(&document).map_err(|error| format!("the discovery document is not readable: {error}")));
    let document = match found {
        Ok(document) => document,
        Err(error) => {
            warnings.push(format!("no discovery, so {} is used: {error}", fixed.path()));
            return Ok(fixed);
        }
    };
    // FusionAuth's `iss` is free text (`acme.com` until somebody changes it), so OpenID's rule that it equals the URL cannot hold.
    match document.get("issuer").and_then(Value::as_str) {
        Some(text) if text == issuer.issuer => {}
        text => warnings.push(format!(
            "discovery says the issuer is {:?}, the configuration says {:?}; tokens are held against the configuration",
            text.unwrap_or_default(),
            issuer.issuer
        )),
    }
    // FusionAuth makes this URL from the Host that it was asked under. Anything else is another server's idea of where our keys are.
    match document.get("jwks_uri").and_then(Value::as_str).and_then(|uri| Url::parse(uri).ok()) {
        Some(uri) if uri.origin() == fixed.origin() => Ok(uri),
        Some(uri) => {
            let origin = uri.origin().ascii_serialization();
            warnings
                .push(format!("discovery points to keys at {origin}, which is not the issuer's url; {} is used", fixed.path()));
            Ok(fixed)
        }
        None => {
            warnings.push(format!("discovery has no `jwks_uri`, so {} is used", fixed.path()));
            Ok(fixed)
        }
    }
}

/// One document, whole within `limit`. What it calls itself is not looked at: some proxies answer with `text/plain`.
async fn document(client: &Client, url: Url, limit: Duration) -> Result<Vec<u8>, String> {
    let path = url.path().to_owned();
    let failed = |error: reqwest::Error| {
        let reason = if error.is_timeout() { format!("no answer within {limit:?}") } else { whole(&error.without_url()) };
        format!("{path}: {reason}")
    };
    let mut response = client.get(url).timeout(limit).send().await.map_err(failed)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(format!("{path} answered {status}; redirects are not followed, set the url to where they lead"));
    }
    if !status.is_success() {
        return Err(format!("{path} answered {status}"));
    }
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            return Err(format!("{path} is larger than {MAX_DOCUMENT_BYTES} bytes"));
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document)
}

/// An error with its causes: reqwest's own text says only that sending failed.
pub(in crate::identity) fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
