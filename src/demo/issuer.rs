use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

use super::grants;
use super::key::SigningKey;
use super::token::{MintRequest, unix_now};
use super::web::{Web, reply};

/// The client id of the demo application: what `aud` says.
pub const APPLICATION_ID: &str = "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e";
/// The FusionAuth tenant: what `tid` says.
pub const TENANT_ID: &str = "d7d09513-a3f5-401c-9685-34ab6c552453";
/// What `iss` says: FusionAuth's default text, which is not the address of the issuer.
pub const ISSUER: &str = "acme.com";

/// An issuer with FusionAuth's paths, tokens and habits, and a key that is thrown away with it.
///
/// FusionAuth's own paths are discovery (plain and by tenant), the JWKS, `/oauth2/token` for client credentials, `/api/login` and
/// `/api/status`; `POST /demo/token` signs whatever it is asked to, which no real issuer does.
#[derive(Debug)]
pub struct Issuer {
    address: SocketAddr,
    state: Arc<State>,
    web: Mutex<Option<Web>>,
}

impl Issuer {
    /// Makes a key and listens; port 0 takes a free one.
    pub fn start(address: SocketAddr) -> io::Result<Self> {
        let state = Arc::new(State::new()?);
        let web = listen(address, &state)?;
        Ok(Self { address: web.address(), state, web: Mutex::new(Some(web)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:9011`, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The `kid` of the key that signs now.
    pub fn kid(&self) -> String {
        self.state.keys.read().signing.kid().to_owned()
    }

    /// Signs a token, whether the issuer is reachable or not.
    pub fn mint(&self, request: &MintRequest) -> io::Result<String> {
        self.state.mint(request)
    }

    /// Signs with a new key from now on. The old one stays in the JWKS, as in FusionAuth's Key Master.
    pub fn rotate_key(&self) -> io::Result<()> {
        let key = SigningKey::generate()?;
        let mut keys = self.state.keys.write();
        let old = std::mem::replace(&mut keys.signing, key);
        keys.published.push(old.jwk().clone());
        Ok(())
    }

    /// Takes every key but the signing one out of the JWKS.
    pub fn forget_old_keys(&self) {
        self.state.keys.write().published.clear();
    }

    /// From now on connections are refused.
    pub fn stop(&self) {
        *self.web.lock() = None;
    }

    /// From now on every answer is a 500, as under database trouble.
    pub fn fail(&self) {
        *self.state.health.write() = Health::Failing;
    }

    /// From now on connections are accepted and nothing is answered.
    pub fn hang(&self) {
        *self.state.health.write() = Health::Hanging;
    }

    /// Ends [`stop`](Self::stop), [`fail`](Self::fail) and [`hang`](Self::hang); the address stays the same.
    pub fn resume(&self) -> io::Result<()> {
        *self.state.health.write() = Health::Well;
        let mut web = self.web.lock();
        if web.is_none() {
            *web = Some(listen(self.address, &self.state)?);
        }
        Ok(())
    }

    /// How often the JWKS was asked for, failures included.
    pub fn jwks_requests(&self) -> u64 {
        self.state.jwks_requests.load(Ordering::SeqCst)
    }

    /// How often a discovery document was asked for, failures included.
    pub fn discovery_requests(&self) -> u64 {
        self.state.discovery_requests.load(Ordering::SeqCst)
    }
}

fn listen(address: SocketAddr, state: &Arc<State>) -> io::Result<Web> {
    let state = Arc::clone(state);
    Web::start(address, Arc::new(move |request| state.answer(&request)))
}

#[derive(Clone, Copy, Debug)]
enum Health {
    Well,
    Failing,
    Hanging,
}

#[derive(Debug)]
struct Keys {
    signing: SigningKey,
    /// Public halves of the keys that signed before.
    published: Vec<Value>,
}

/// What the handle and the server thread share, and what outlives a stop.
#[derive(Debug)]
pub(super) struct State {
    keys: RwLock<Keys>,
    health: RwLock<Health>,
    jwks_requests: AtomicU64,
    discovery_requests: AtomicU64,
}

impl State {
    fn new() -> io::Result<Self> {
        Ok(Self {
            keys: RwLock::new(Keys { signing: SigningKey::generate()?, published: Vec::new() }),
            health: RwLock::new(Health::Well),
            jwks_requests: AtomicU64::new(0),
            discovery_requests: AtomicU64::new(0),
        })
    }

    pub(super) fn mint(&self, request: &MintRequest) -> io::Result<String> {
        let keys = self.keys.read();
        keys.signing.sign(&request.header_members(keys.signing.kid()), &request.claim_members(unix_now()))
    }

    fn answer(&self, request: &Request<Bytes>) -> Option<Response<Full<Bytes>>> {
        let path = request.uri().path();
        let discovery = path.strip_suffix("/.well-known/openid-configuration");
        if discovery.is_some() {
            self.discovery_requests.fetch_add(1, Ordering::SeqCst);
        } else if path == "/.well-known/jwks.json" {
            self.jwks_requests.fetch_add(1, Ordering::SeqCst);
        }
        match *self.health.read() {
            Health::Well => {}
            Health::Failing => return Some(reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({}))),
            Health::Hanging => return None,
        }
        let (status, body) = match (request.method(), path, discovery) {
            (&Method::GET, _, Some(tenant)) => discovery_document(request, tenant.trim_start_matches('/')),
            (&Method::GET, "/.well-known/jwks.json", _) => (StatusCode::OK, self.jwks()),
            (&Method::GET, "/api/status", _) => (StatusCode::OK, json!({})),
            (&Method::POST, "/oauth2/token", _) => grants::token(self, request),
            (&Method::POST, "/api/login", _) => grants::login(self, request),
            (&Method::POST, "/demo/token", _) => grants::mint(self, request.body()),
            _ => (StatusCode::NOT_FOUND, json!({})),
        };
        Some(reply(status, &body))
    }

    fn jwks(&self) -> Value {
        let keys = self.keys.read();
        let published: Vec<&Value> = std::iter::once(keys.signing.jwk()).chain(&keys.published).collect();
        json!({ "keys": published })
    }
}

/// FusionAuth builds the addresses from the request's `Host`, and `issuer` from the tenant: they need not agree.
fn discovery_document(request: &Request<Bytes>, tenant: &str) -> (StatusCode, Value) {
    if !tenant.is_empty() && tenant != TENANT_ID {
        return (StatusCode::NOT_FOUND, json!({}));
    }
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost:9011");
    let at = |path: &str| format!("http://{host}{path}");
    let signing = ["ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512"];
    let document = json!({
        "issuer": ISSUER,
        "jwks_uri": at("/.well-known/jwks.json"),
        "authorization_endpoint": at("/oauth2/authorize"),
        "device_authorization_endpoint": at("/oauth2/device_authorize"),
        "end_session_endpoint": at("/oauth2/logout"),
        "token_endpoint": at("/oauth2/token"),
        "userinfo_endpoint": at("/oauth2/userinfo"),
        "backchannel_logout_supported": false,
        "frontchannel_logout_supported": true,
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": [
            "applicationId", "at_hash", "aud", "authenticationType", "birthdate", "c_hash", "email", "email_verified", "exp",
            "family_name", "given_name", "iat", "iss", "jti", "middle_name", "name", "nbf", "nonce", "phone_number",
            "phone_number_verified", "picture", "preferred_username", "roles", "sub"
        ],
        "grant_types_supported": [
            "authorization_code", "password", "implicit", "refresh_token", "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code"
        ],
        "id_token_signing_alg_values_supported": signing,
        "userinfo_signing_alg_values_supported": signing,
        "response_modes_supported": ["form_post", "fragment", "query"],
        "response_types_supported": ["code", "id_token", "token id_token"],
        "scopes_supported": ["openid", "offline_access", "email", "phone", "profile"],
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
    });
    (StatusCode::OK, document)
}
