use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::answer::{TokenAnswer, refusal};
use crate::identity::issuer::fetch::{self, MAX_DOCUMENT_BYTES};
use crate::identity::json;
use crate::model::settings::{Issuer, Login};
use crate::model::{Moment, Name};

/// How long the issuer is believed to be there and to be as it was. Logins are rare, and people who are sent to a dead issuer get no page.
const FRESH: Duration = Duration::from_secs(30);
/// How long somebody who comes back from the issuer is not made to wait for a second look.
const KNOWN: Duration = Duration::from_secs(600);
/// How long after a failure nobody asks again.
const PAUSE: Duration = Duration::from_secs(2);

/// The issuer as somebody who logs in meets it: where browsers are sent to, and who gives tokens.
///
/// The origin of every address comes from the configuration and only its path from discovery: FusionAuth makes them of the `Host` it was
/// asked under, and an address at another host is another host's idea of where our secrets should go.
pub struct Provider {
    name: Name,
    url: String,
    public_url: String,
    tenant: Option<String>,
    client_id: String,
    /// RFC 6749 2.3.1. In the header rather than in the body, because every server must understand that, and bodies get logged.
    authorization: HeaderValue,
    timeout: Duration,
    client: Option<Client>,
    metadata: ArcSwapOption<Metadata>,
    /// Whoever holds it asks; the steady time of the last failure.
    asking: Mutex<Option<Duration>>,
}

/// What discovery says, as far as it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where browsers are sent to.
    pub authorization_endpoint: String,
    /// Where codes and refresh tokens are exchanged.
    pub token_endpoint: String,
    /// Where browsers are sent to in order to log out.
    pub end_session_endpoint: String,
    /// Where the issuer says who somebody is.
    pub userinfo_endpoint: String,
    /// RFC 9207: the issuer always says who it is.
    pub says_issuer: bool,
    asked_at: Duration,
}

/// Why there are no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderFault {
    /// No answer, or one that says "later".
    Away,
    /// The code or the refresh token is worth nothing (any more).
    Refused,
    /// What came is no answer, or says that the gateway itself is wrong.
    Nonsense,
}

impl Provider {
    pub(super) fn new(issuer: &Issuer, login: &Login) -> Self {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(&login.client_id), encode(login.client_secret.expose()));
        // Base64 is always a header value.
        let mut authorization =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).unwrap_or(HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        Self {
            name: issuer.name.clone(),
            url: issuer.url.clone(),
            public_url: login.public_url.clone().unwrap_or_else(|| issuer.url.clone()),
            tenant: issuer.tenant.clone(),
            client_id: login.client_id.clone(),
            authorization,
            timeout: issuer.timeout,
            client: fetch::client(),
            metadata: ArcSwapOption::empty(),
            asking: Mutex::default(),
        }
    }

    /// How long one answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Where FusionAuth has its endpoints, for when nobody can be asked.
    pub fn usual(&self) -> Metadata {
        Metadata::of(self, &Map::new(), Duration::ZERO)
    }

    /// What the issuer says of itself, no older than half a minute.
    ///
    /// # Errors
    /// `Away`.
    pub async fn metadata(&self, now: Moment) -> Result<Arc<Metadata>, ProviderFault> {
        self.metadata_within(FRESH, now).await
    }

    /// The same for somebody who comes back from the issuer, which then was there a moment ago.
    pub(super) async fn known_metadata(&self, now: Moment) -> Result<Arc<Metadata>, ProviderFault> {
        self.metadata_within(KNOWN, now).await
    }

    async fn metadata_within(&self, age: Duration, now: Moment) -> Result<Arc<Metadata>, ProviderFault> {
        let fresh = || self.metadata.load_full().filter(|known| now.steady().saturating_sub(known.asked_at) < age);
        if let Some(known) = fresh() {
            return Ok(known);
        }
        let mut failed = self.asking.lock().await;
        if let Some(known) = fresh() {
            return Ok(known);
        }
        if failed.is_some_and(|at| now.steady().saturating_sub(at) < PAUSE) {
            return Err(ProviderFault::Away);
        }
        match self.discover(now).await {
            Ok(metadata) => {
                *failed = None;
                let metadata = Arc::new(metadata);
                self.metadata.store(Some(Arc::clone(&metadata)));
                Ok(metadata)
            }
            Err(why) => {
                tracing::warn!(issuer = %self.name, "nobody can log in: {why}");
                *failed = Some(now.steady());
                Err(ProviderFault::Away)
            }
        }
    }

    /// FusionAuth before 1.46 knows no discovery below a tenant: an answer that there is no such document is an answer, too.
    async fn discover(&self, now: Moment) -> Result<Metadata, String> {
        let below = self.tenant.as_ref().map(|tenant| format!("/{tenant}")).unwrap_or_default();
        let url = format!("{}{below}/.well-known/openid-configuration", self.url);
        let client = self.client.as_ref().ok_or("there is no HTTP client")?;
        let (status, document) = self.ask(client.get(url)).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Metadata::of(self, &Map::new(), now.steady()));
        }
        if status != StatusCode::OK {
            return Err(format!("discovery answered {status}"));
        }
        let document = json::object(&document).map_err(|error| format!("the discovery document is not readable: {error}"))?;
        Ok(Metadata::of(self, &document, now.steady()))
    }

    /// Tokens for a code (RFC 6749 4.1.3, RFC 7636 4.5): with the secret *and* the verifier, whatever the application's policy asks for.
    ///
    /// # Errors
    /// [`ProviderFault`].
    pub async fn exchange(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
        now: Moment,
    ) -> Result<TokenAnswer, ProviderFault> {
        let form =
            [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri), ("code_verifier", verifier)];
        self.tokens(&form, now).await
    }

    /// New tokens for a refresh token (RFC 6749 6).
    ///
    /// # Errors
    /// [`ProviderFault`].
    pub async fn refresh(&self, refresh_token: &str, now: Moment) -> Result<TokenAnswer, ProviderFault> {
        self.tokens(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)], now).await
    }

    /// What the issuer knows about whom an access token is for (OpenID Connect Core 5.3).
    ///
    /// # Errors
    /// [`ProviderFault`].
    pub async fn userinfo(&self, access_token: &str, now: Moment) -> Result<Map<String, Value>, ProviderFault> {
        let metadata = self.known_metadata(now).await?;
        let client = self.client.as_ref().ok_or(ProviderFault::Away)?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {access_token}")).map_err(|_| ProviderFault::Refused)?;
        bearer.set_sensitive(true);
        let request = client.get(&metadata.userinfo_endpoint).header(AUTHORIZATION, bearer).header(ACCEPT, "application/json");
        let (status, document) = self.ask(request).await.map_err(|why| {
            tracing::warn!(issuer = %self.name, "no userinfo: {why}");
            ProviderFault::Away
        })?;
        match status.as_u16() {
            200 => json::object(&document).map_err(|_| ProviderFault::Nonsense),
            401 | 403 => Err(ProviderFault::Refused),
            429 | 500..=599 => Err(ProviderFault::Away),
            _ => Err(ProviderFault::Nonsense),
        }
    }

    async fn tokens(&self, form: &[(&str, &str)], now: Moment) -> Result<TokenAnswer, ProviderFault> {
        let metadata = self.known_metadata(now).await?;
        let client = self.client.as_ref().ok_or(ProviderFault::Away)?;
        let request = client
            .post(&metadata.token_endpoint)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(self.body(form));
        let (status, document) = self.ask(request).await.map_err(|why| {
            tracing::warn!(issuer = %self.name, "no tokens: {why}");
            if why == TOO_LARGE { ProviderFault::Nonsense } else { ProviderFault::Away }
        })?;
        let fault = match status.as_u16() {
            200 => match TokenAnswer::read(&document) {
                Ok(answer) => return Ok(answer),
                Err(why) => {
                    tracing::warn!(issuer = %self.name, "no tokens: {why}");
                    return Err(ProviderFault::Nonsense);
                }
            },
            400 => ProviderFault::Refused,
            429 | 500..=599 => ProviderFault::Away,
            _ => ProviderFault::Nonsense,
        };
        tracing::warn!(issuer = %self.name, status = status.as_u16(), error = refusal(&document), "no tokens");
        Err(fault)
    }

    fn body(&self, form: &[(&str, &str)]) -> String {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form).append_pair("client_id", &self.client_id);
        if let Some(tenant) = &self.tenant {
            // A universal application (FusionAuth 1.58) exists in every tenant.
            body.append_pair("tenantId", tenant);
        }
        body.finish()
    }

    /// One answer, whole within the deadline.
    async fn ask(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), String> {
        let failed = |error: reqwest::Error| match error.is_timeout() {
            true => format!("no answer within {:?}", self.timeout),
            false => fetch::whole(&error.without_url()),
        };
        let mut response: Response = request.timeout(self.timeout).send().await.map_err(failed)?;
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(TOO_LARGE.into());
            }
            document.extend_from_slice(&chunk);
        }
        Ok((response.status(), document))
    }
}

const TOO_LARGE: &str = "the answer is too large";

impl Metadata {
    fn of(provider: &Provider, document: &Map<String, Value>, asked_at: Duration) -> Self {
        let at = |origin: &str, member: &str, usual: &str| {
            let found = document.get(member).and_then(Value::as_str).and_then(|text| Url::parse(text).ok());
            let Some(found) = found else { return format!("{origin}{usual}") };
            let mut path = found.path();
            // What the configured address has below its host, the public one may have elsewhere.
            if let Ok(base) = Url::parse(&provider.url)
                && let Some(rest) = path.strip_prefix(base.path().trim_end_matches('/'))
                && rest.starts_with('/')
            {
                path = rest;
                return with_query(format!("{origin}{path}"), &found);
            }
            let origin = Url::parse(origin).map_or_else(|_| origin.to_owned(), |url| url.origin().ascii_serialization());
            with_query(format!("{origin}{path}"), &found)
        };
        Self {
            authorization_endpoint: at(&provider.public_url, "authorization_endpoint", "/oauth2/authorize"),
            token_endpoint: at(&provider.url, "token_endpoint", "/oauth2/token"),
            end_session_endpoint: at(&provider.public_url, "end_session_endpoint", "/oauth2/logout"),
            userinfo_endpoint: at(&provider.url, "userinfo_endpoint", "/oauth2/userinfo"),
            says_issuer: document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
            asked_at,
        }
    }
}

fn with_query(address: String, found: &Url) -> String {
    match found.query() {
        Some(query) => format!("{address}?{query}"),
        None => address,
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::settings::{SameSite, Secret, SessionStore, Sessions};

    fn provider(url: &str, public_url: Option<&str>) -> Provider {
        let issuer = Issuer {
            name: "acme".into(),
            url: url.into(),
            issuer: "acme.com".into(),
            tenant: None,
            audiences: Vec::new(),
            hmac_secrets: Vec::new(),
            introspection: None,
            refresh: Duration::from_secs(300),
            max_stale: Duration::from_secs(3600),
            cooldown: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        };
        let login = Login {
            issuer: "acme".into(),
            client_id: "app:1".into(),
            client_secret: Secret::new("a secret/with signs"),
            previous_client_secret: None,
            callbacks: Vec::new(),
            public_url: public_url.map(str::to_owned),
            scopes: Vec::new(),
            idp_hint: None,
            prompt: None,
            max_age: None,
            after_login: "/".into(),
            session: Sessions {
                store: SessionStore::Cookie,
                keys: Vec::new(),
                idle: Duration::from_secs(60),
                absolute: Duration::from_secs(600),
                cookie: "s".into(),
                same_site: SameSite::Lax,
                secure: true,
            },
        };
        Provider::new(&issuer, &login)
    }

    #[test]
    fn addresses_have_the_configured_origins_and_the_discovered_paths() {
        let document = json!({
            "authorization_endpoint": "http://fusionauth:9011/oauth2/authorize",
            "token_endpoint": "https://evil.example/oauth2/token?x=1",
            "authorization_response_iss_parameter_supported": true,
        });
        let metadata = Metadata::of(
            &provider("http://fusionauth:9011", Some("https://auth.example.com")),
            document.as_object().unwrap(),
            Duration::ZERO,
        );
        assert_eq!(metadata.authorization_endpoint, "https://auth.example.com/oauth2/authorize");
        assert_eq!(metadata.token_endpoint, "http://fusionauth:9011/oauth2/token?x=1");
        assert_eq!(metadata.end_session_endpoint, "https://auth.example.com/oauth2/logout");
        assert!(metadata.says_issuer);
        let document = json!({
            "authorization_endpoint": "http://x/base/oauth2/authorize",
            "token_endpoint": "http://x/elsewhere/token",
        });
        let metadata = Metadata::of(
            &provider("http://x/base", Some("https://auth.example.com/idp")),
            document.as_object().unwrap(),
            Duration::ZERO,
        );
        assert_eq!(metadata.authorization_endpoint, "https://auth.example.com/idp/oauth2/authorize");
        assert_eq!(metadata.token_endpoint, "http://x/elsewhere/token");
        assert!(!metadata.says_issuer);
    }

    /// RFC 6749 2.3.1: form-encoded, then Basic.
    #[test]
    fn the_secret_is_sent_as_the_rfc_says_and_shown_nowhere() {
        let provider = provider("http://x", None);
        let sent = STANDARD.decode(provider.authorization.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), "app%3A1:a+secret%2Fwith+signs");
        let shown = format!("{provider:?} {:?}", provider.authorization);
        assert!(!shown.contains("secret") && !shown.contains("Basic"), "{shown}");
    }
}
