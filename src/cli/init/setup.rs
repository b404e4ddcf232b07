//! `--setup`: creates what is missing in FusionAuth. Everything that is there stays as it is, but for what is named here.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::api::Api;
use super::domain::{Application, Key, Tenant, Webhook};
use super::survey::plain;
use crate::cli::Failure;

/// What a gateway wants to hear: `docs/revocation.md`.
const EVENTS: [&str; 7] = [
    "jwt.public-key.update",
    "jwt.refresh-token.revoke",
    "user.deactivate",
    "user.delete",
    "user.password.update",
    "user.registration.delete",
    "user.registration.update",
];

/// What exists when it is done.
pub(super) struct Wanted<'a> {
    /// A new application's name.
    pub(super) application: &'a str,
    /// Where FusionAuth sends browsers back to.
    pub(super) redirects: &'a [String],
    /// What FusionAuth calls when somebody logs out elsewhere.
    pub(super) logout_url: &'a str,
}

/// Says what was done, one line each.
pub(super) type Changes = Vec<String>;

/// An application with redirect URLs and an RS256 key.
pub(super) async fn create_application(
    api: &Api,
    tenant: &Tenant,
    wanted: &Wanted<'_>,
    changes: &mut Changes,
) -> Result<Application, Failure> {
    let key = generate(api, &format!("{}: tokens", wanted.application), changes).await?;
    let object = json!({
        "name": wanted.application,
        "oauthConfiguration": {
            "authorizedRedirectURLs": wanted.redirects,
            "clientAuthenticationPolicy": "Required",
            "enabledGrants": ["authorization_code", "refresh_token"],
            "generateRefreshTokens": true,
            "logoutURL": wanted.logout_url,
            "proofKeyForCodeExchangePolicy": "Required",
            "requireRegistration": true,
        },
        "jwtConfiguration": own_jwt(tenant, &key.id),
    });
    let application: Application = api.change(Method::POST, "/api/application", "application", Some(&tenant.id), object).await?;
    changes.push(format!("created the application `{}` ({})", plain(&application.name), application.id));
    Ok(application)
}

/// Gives an application what it lacks: a key that others can check, redirect URLs, a logout URL.
pub(super) async fn complete_application(
    api: &Api,
    tenant: &Tenant,
    application: Application,
    keys: &[Key],
    wanted: &Wanted<'_>,
    changes: &mut Changes,
) -> Result<Application, Failure> {
    let jwt = application.jwt(tenant);
    let is_shared_secret = |key: &Key| key.algorithm.as_deref().is_some_and(|algorithm| algorithm.starts_with("HS"));
    let signs = keys.iter().find(|key| Some(&key.id) == jwt.access_token_key_id.as_ref());
    let mut patch = Map::new();
    if jwt.access_token_key_id.is_none() || signs.is_some_and(is_shared_secret) {
        let key = generate(api, &format!("{}: tokens", plain(&application.name)), changes).await?;
        let own =
            if application.jwt_configuration.enabled { json!({ "accessTokenKeyId": key.id }) } else { own_jwt(tenant, &key.id) };
        patch.insert("jwtConfiguration".into(), own);
        changes.push("access tokens of the application are signed with it from now on".into());
    }
    let mut oauth = Map::new();
    let known = &application.oauth_configuration.authorized_redirect_urls;
    let missing: Vec<&String> = wanted.redirects.iter().filter(|url| !known.contains(url)).collect();
    if !missing.is_empty() {
        oauth.insert("authorizedRedirectURLs".into(), json!(known.iter().chain(missing.iter().copied()).collect::<Vec<_>>()));
        changes.extend(missing.iter().map(|url| format!("added the redirect URL {url}")));
    }
    if application.oauth_configuration.logout_url.as_deref().unwrap_or_default().is_empty() {
        oauth.insert("logoutURL".into(), json!(wanted.logout_url));
        changes.push(format!("set the logout URL {}", wanted.logout_url));
    }
    if !oauth.is_empty() {
        patch.insert("oauthConfiguration".into(), Value::Object(oauth));
    }
    if patch.is_empty() {
        return Ok(application);
    }
    let path = format!("/api/application/{}", application.id);
    api.change(Method::PATCH, &path, "application", Some(&tenant.id), Value::Object(patch)).await
}

/// The tenant's lifetimes and policies with keys of its own: an application either has all of them or none.
fn own_jwt(tenant: &Tenant, key: &str) -> Value {
    let mut own = tenant.jwt_configuration.rest.clone();
    own.insert("enabled".into(), true.into());
    own.insert("accessTokenKeyId".into(), key.into());
    own.insert("idTokenKeyId".into(), key.into());
    own.insert("timeToLiveInSeconds".into(), tenant.jwt_configuration.time_to_live_in_seconds.unwrap_or(3600).into());
    own.entry("refreshTokenTimeToLiveInMinutes").or_insert_with(|| 43_200.into());
    Value::Object(own)
}

async fn generate(api: &Api, name: &str, changes: &mut Changes) -> Result<Key, Failure> {
    let object = json!({ "algorithm": "RS256", "length": 2048, "name": name });
    let key: Key = api.change(Method::POST, "/api/key/generate", "key", None, object).await?;
    changes.push(format!("generated the RS256 key `{name}` ({})", key.id));
    Ok(key)
}

/// A signed webhook and its three switches: the event at the tenant, the event at the webhook, the webhook at the tenant.
pub(super) async fn webhook(api: &Api, tenant: &Tenant, url: &str, changes: &mut Changes) -> Result<(), Failure> {
    // The tenant first: before 1.48 a change of the tenant cut its links to webhooks.
    let is_off = |event: &&&str| !tenant.event_configuration.events.get(**event).is_some_and(|switch| switch.enabled);
    let off: Map<String, Value> = EVENTS
        .iter()
        .filter(is_off)
        .map(|event| ((*event).to_owned(), json!({ "enabled": true, "transactionType": "None" })))
        .collect();
    if !off.is_empty() {
        changes.push(format!("switched on at the tenant: {}", off.keys().cloned().collect::<Vec<_>>().join(", ")));
        let patch = json!({ "eventConfiguration": { "events": off } });
        let _: Tenant = api.change(Method::PATCH, &format!("/api/tenant/{}", tenant.id), "tenant", None, patch).await?;
    }

    let webhooks: Vec<Webhook> = api.list("/api/webhook", "webhooks", None).await?;
    let enabled: Map<String, Value> = EVENTS.iter().map(|event| ((*event).to_owned(), true.into())).collect();
    let Some(known) = webhooks.into_iter().find(|webhook| webhook.url == url) else {
        let key = generate(api, "Tollgate: webhook", changes).await?;
        let object = json!({
            "url": url,
            "description": "Tollgate: what ends a token before its time",
            "connectTimeout": 1000,
            "readTimeout": 2000,
            "global": false,
            "tenantIds": [tenant.id],
            "eventsEnabled": enabled,
            "signatureConfiguration": { "enabled": true, "signingKeyId": key.id },
        });
        let made: Webhook = api.change(Method::POST, "/api/webhook", "webhook", None, object).await?;
        changes.push(format!("created the webhook {url} ({}), signed and for this tenant", made.id));
        return Ok(());
    };
    let mut patch = Map::new();
    if EVENTS.iter().any(|event| known.events_enabled.get(*event) != Some(&true)) {
        patch.insert("eventsEnabled".into(), Value::Object(enabled));
        changes.push("switched on the missing events at the webhook".into());
    }
    if !known.global && !known.tenant_ids.contains(&tenant.id) {
        patch.insert("tenantIds".into(), json!(known.tenant_ids.iter().chain([&tenant.id]).collect::<Vec<_>>()));
        changes.push("connected the webhook to the tenant".into());
    }
    if !known.signature_configuration.enabled {
        let key = generate(api, "Tollgate: webhook", changes).await?;
        patch.insert("signatureConfiguration".into(), json!({ "enabled": true, "signingKeyId": key.id }));
        changes.push("the webhook is signed from now on".into());
    }
    if !patch.is_empty() {
        let path = format!("/api/webhook/{}", known.id);
        let _: Webhook = api.change(Method::PATCH, &path, "webhook", None, Value::Object(patch)).await?;
    }
    Ok(())
}
