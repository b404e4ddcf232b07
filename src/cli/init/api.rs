//! FusionAuth's API. The key goes into a header and nowhere else.

use std::time::Duration;

use reqwest::{Client, Method};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::Failure;
use crate::model::settings::Secret;

/// No object of FusionAuth is larger; a list of applications may be long.
const LARGEST: usize = 64 << 20;

pub(super) struct Api {
    client: Client,
    base: String,
    key: Secret,
}

impl Api {
    pub(super) fn new(base: &str, key: Secret) -> Result<Self, Failure> {
        let client = Client::builder().timeout(Duration::from_secs(20)).no_proxy().redirect(reqwest::redirect::Policy::none());
        let client = client.build().map_err(|error| Failure::new(error.to_string()))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), key })
    }

    /// A list, such as `applications` of `/api/application`.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        member: &str,
        tenant: Option<&str>,
    ) -> Result<Vec<T>, Failure> {
        let mut answer = self.ask(Method::GET, path, tenant, None).await?;
        // FusionAuth leaves empty lists out.
        let list = answer.get_mut(member).map_or_else(|| Value::Array(Vec::new()), Value::take);
        serde_json::from_value(list).map_err(|error| Failure::new(format!("{}{path}: {error}", self.base)))
    }

    /// Creates or changes one object and gives it as FusionAuth has it then.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        member: &str,
        tenant: Option<&str>,
        object: Value,
    ) -> Result<T, Failure> {
        let body = serde_json::json!({ member: object });
        let mut answer = self.ask(method, path, tenant, Some(&body)).await?;
        let object = answer.get_mut(member).map_or(Value::Null, Value::take);
        serde_json::from_value(object).map_err(|error| Failure::new(format!("{}{path}: {error}", self.base)))
    }

    async fn ask(&self, method: Method, path: &str, tenant: Option<&str>, body: Option<&Value>) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let is_patch = method == Method::PATCH;
        let mut request = self.client.request(method.clone(), &url).header("authorization", self.key.expose());
        if let Some(tenant) = tenant {
            request = request.header("x-fusionauth-tenantid", tenant);
        }
        if let Some(body) = body {
            // What plain JSON does to lists "varies" (FusionAuth's API overview); RFC 7396 is understood since 1.39.
            let kind = if is_patch { "application/merge-patch+json" } else { "application/json" };
            request = request.header("content-type", kind).body(body.to_string());
        }
        let unreachable = |error: reqwest::Error| Failure::new(format!("FusionAuth does not answer at {url}: {}", root(&error)));
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + chunk.len() > LARGEST {
                return Err(Failure::new(format!("{url} answers with more than {} MiB", LARGEST >> 20)));
            }
            answer.extend_from_slice(&chunk);
        }
        match status {
            200..=299 if answer.is_empty() => Ok(Value::Null),
            200..=299 => serde_json::from_slice(&answer)
                .map_err(|_| Failure::new(format!("{url} is not FusionAuth's API: its answer is no JSON"))),
            401 => Err(Failure::new(format!(
                "FusionAuth refuses the API key for {method} {path} (401): in Settings → API Keys it needs that endpoint, see docs/init.md"
            ))),
            404 => Err(Failure::new(format!("{url} does not exist (404): is this FusionAuth, and the tenant right?"))),
            _ => Err(Failure::new(format!("FusionAuth refuses {method} {path} ({status}){}", complaints(&answer)))),
        }
    }
}

/// FusionAuth's own words: `generalErrors` and `fieldErrors`, which never repeat secrets.
fn complaints(answer: &[u8]) -> String {
    let Ok(errors) = serde_json::from_slice::<Value>(answer) else { return String::new() };
    let general = errors.get("generalErrors").and_then(Value::as_array).into_iter().flatten();
    let fields = errors.get("fieldErrors").and_then(Value::as_object).into_iter().flat_map(|fields| fields.values());
    let messages = general.chain(fields.filter_map(Value::as_array).flatten()).filter_map(|error| error.get("message")?.as_str());
    let text: String = messages.take(5).collect::<Vec<_>>().join("; ");
    let text: String = text.chars().filter(|c| !c.is_control()).take(600).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

/// The last cause: "connection refused" and not what it led to.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
