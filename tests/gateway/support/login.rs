//! An issuer that people log in at, which a test can make hostile, and a browser that keeps cookies.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tollgate::demo::{APPLICATION_ID, ISSUER, MintRequest, TENANT_ID};

use super::gateway::issuer;
use super::{Gateway, Reply, Setup, Upstream, answer, get, mint, send};

/// As FusionAuth makes them: 43 letters.
pub const CLIENT_SECRET: &str = "bJm4Pq9sVt2XyZc7Kd1Lf5Gh8Rw3Ea6Uo0Ni-Tj_QkM";
pub const CALLBACK: &str = "/oauth2/callback";

/// A gateway whose people log in at `provider`, with one route to `upstream` that asks for a token.
pub fn login_setup(provider: &Provider, upstream: SocketAddr) -> Setup {
    login_setup_with(provider, upstream, "", "")
}

pub fn login_setup_with(provider: &Provider, upstream: SocketAddr, login: &str, session: &str) -> Setup {
    Setup::to(upstream).issuer(&provider.url()).identity(&format!(
        "  login:\n    client_id: {APPLICATION_ID}\n    client_secret: {CLIENT_SECRET}\n    \
         callback: https://localhost{CALLBACK}\n{login}  session:\n    \
         keys: [\"a key for sessions that has enough letters\"]\n{session}"
    ))
}

type Claims = Arc<dyn Fn(Value) -> String + Send + Sync>;
type Outage = Arc<dyn Fn() -> Option<Vec<u8>> + Send + Sync>;
type Answer = Arc<dyn Fn(Value) -> Option<Vec<u8>> + Send + Sync>;

#[derive(Default)]
struct State {
    /// Codes that were given out and not used.
    codes: Mutex<HashMap<String, Code>>,
    /// Refresh tokens that are good for one use.
    refresh_tokens: Mutex<HashSet<String>>,
    /// What the next people who log in are.
    person: Mutex<MintRequest>,
    id_token: Mutex<Option<Claims>>,
    token_answer: Mutex<Option<Answer>>,
    discovery: Mutex<Option<Answer>>,
    outage: Mutex<Option<Outage>>,
}

#[derive(Clone)]
struct Code {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

/// FusionAuth's shape: discovery, keys, and `/oauth2/token` with one-time codes and one-time refresh tokens. Its login page is
/// [`Provider::authorize`].
pub struct Provider {
    server: Upstream,
    state: Arc<State>,
}

impl Provider {
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let theirs = Arc::clone(&state);
        Self { server: Upstream::answering(move |request| theirs.answer(request)), state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Who logs in from now on.
    pub fn person(&self, person: MintRequest) {
        *self.state.person.lock().unwrap() = person;
    }

    /// Makes the id_token from its claims.
    pub fn id_token(&self, make: impl Fn(Value) -> String + Send + Sync + 'static) {
        *self.state.id_token.lock().unwrap() = Some(Arc::new(make));
    }

    /// Answers requests for tokens, given what a good answer would be; `None` closes the connection.
    pub fn token_answer(&self, make: impl Fn(Value) -> Option<Vec<u8>> + Send + Sync + 'static) {
        *self.state.token_answer.lock().unwrap() = Some(Arc::new(make));
    }

    /// Answers requests for tokens without looking at them: nothing is used up.
    pub fn outage(&self, make: impl Fn() -> Option<Vec<u8>> + Send + Sync + 'static) {
        *self.state.outage.lock().unwrap() = Some(Arc::new(make));
    }

    /// Answers requests for the discovery document.
    pub fn discovery(&self, make: impl Fn(Value) -> Option<Vec<u8>> + Send + Sync + 'static) {
        *self.state.discovery.lock().unwrap() = Some(Arc::new(make));
    }

    /// As it was at the start.
    pub fn behave(&self) {
        *self.state.id_token.lock().unwrap() = None;
        *self.state.token_answer.lock().unwrap() = None;
        *self.state.discovery.lock().unwrap() = None;
        *self.state.outage.lock().unwrap() = None;
    }

    /// Requests for tokens so far.
    pub fn token_requests(&self) -> Vec<String> {
        self.server.seen().into_iter().filter(|request| request.starts_with("POST /oauth2/token ")).collect()
    }

    /// Those of them for new tokens.
    pub fn refreshes(&self) -> usize {
        self.token_requests().iter().filter(|request| request.contains("grant_type=refresh_token")).count()
    }

    /// From now on no refresh token is good.
    pub fn forget(&self) {
        self.state.refresh_tokens.lock().unwrap().clear();
    }

    /// What the login page does with an address that a browser was sent to: the path and query with which the browser comes back.
    pub fn authorize(&self, location: &str) -> String {
        let address = location.strip_prefix(&self.url()).unwrap_or_else(|| panic!("{location}"));
        let query = address.strip_prefix("/oauth2/authorize?").unwrap_or_else(|| panic!("{location}"));
        let query: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(query["client_id"], APPLICATION_ID);
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["code_challenge_method"], "S256");
        let code = format!("code-{:032x}", fastrand::u128(..));
        let grant = Code {
            nonce: query["nonce"].clone(),
            challenge: query["code_challenge"].clone(),
            redirect_uri: query["redirect_uri"].clone(),
        };
        self.state.codes.lock().unwrap().insert(code.clone(), grant);
        format!("{CALLBACK}?code={code}&locale=en&state={}&userState=Authenticated", query["state"])
    }
}

impl State {
    fn answer(&self, request: &str) -> Option<Vec<u8>> {
        let line = request.lines().next()?;
        let path = line.split(' ').nth(1)?;
        if path.ends_with("/.well-known/openid-configuration") {
            let host = request.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned))?;
            let document = json!({
                "issuer": ISSUER,
                "authorization_endpoint": format!("http://{host}/oauth2/authorize"),
                "token_endpoint": format!("http://{host}/oauth2/token"),
                "end_session_endpoint": format!("http://{host}/oauth2/logout"),
                "jwks_uri": format!("http://{host}/.well-known/jwks.json"),
            });
            let make = self.discovery.lock().unwrap().clone();
            return make.map_or_else(|| Some(as_json("200 OK", &document)), |make| make(document.clone()));
        }
        match path {
            "/.well-known/jwks.json" => {
                Some(answer("200 OK", "Content-Type: application/json\r\n", &get(issuer().address(), path, "").body))
            }
            "/oauth2/token" => self.token(request),
            _ => Some(answer("404 Not Found", "", "")),
        }
    }

    fn token(&self, request: &str) -> Option<Vec<u8>> {
        let (head, body) = request.split_once("\r\n\r\n")?;
        let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let basic = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then(|| value.strip_prefix("Basic ").map(str::to_owned))?
        });
        let credentials = STANDARD.decode(basic.unwrap_or_default()).unwrap();
        if credentials != format!("{APPLICATION_ID}:{CLIENT_SECRET}").as_bytes() {
            return Some(as_json("401 Unauthorized", &json!({ "error": "invalid_client" })));
        }
        if let Some(outage) = self.outage.lock().unwrap().clone() {
            return outage();
        }
        let make = self.token_answer.lock().unwrap().clone();
        let good = match self.grant(&form) {
            Ok(good) => good,
            // A hostile answer needs no valid grant.
            Err(_) if make.is_some() => json!({}),
            Err(refused) => return Some(refused),
        };
        make.map_or_else(|| Some(as_json("200 OK", &good)), |make| make(good.clone()))
    }

    fn grant(&self, form: &HashMap<String, String>) -> Result<Value, Vec<u8>> {
        let refused = || as_json("400 Bad Request", &json!({ "error": "invalid_grant", "error_reason": "auth_code_not_found" }));
        let (person, nonce) = match form["grant_type"].as_str() {
            "authorization_code" => {
                let code = self.codes.lock().unwrap().remove(&form["code"]).ok_or_else(refused)?;
                let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
                if challenge != code.challenge || form["redirect_uri"] != code.redirect_uri || form["code_verifier"].len() < 43 {
                    return Err(refused());
                }
                (self.person.lock().unwrap().clone(), Some(code.nonce))
            }
            "refresh_token" if self.refresh_tokens.lock().unwrap().remove(&form["refresh_token"]) => {
                (self.person.lock().unwrap().clone(), None)
            }
            _ => return Err(refused()),
        };
        let access_token = mint(&person);
        let refresh_token = format!("refresh-{:032x}", fastrand::u128(..));
        let mut good = json!({
            "access_token": access_token,
            "expires_in": person.expires_in,
            "refresh_token": refresh_token,
            "scope": "openid offline_access profile email",
            "token_type": "Bearer",
            "userId": person.subject,
        });
        self.refresh_tokens.lock().unwrap().insert(refresh_token);
        if let Some(nonce) = nonce {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let hash = digest(&SHA256, access_token.as_bytes());
            let claims = json!({
                "aud": APPLICATION_ID,
                "iss": ISSUER,
                "sub": person.subject,
                "exp": now + 3600,
                "iat": now,
                "auth_time": now,
                "nonce": nonce,
                "tid": TENANT_ID,
                "at_hash": URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]),
            });
            let make = self.id_token.lock().unwrap().clone();
            good["id_token"] = make.map_or_else(|| hs256(&claims), |make| make(claims.clone())).into();
        }
        Ok(good)
    }
}

/// FusionAuth's default: signed with the client secret.
pub fn hs256(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(CLIENT_SECRET.as_bytes())).unwrap()
}

pub fn as_json(status: &str, document: &Value) -> Vec<u8> {
    answer(status, "Content-Type: application/json\r\nCache-Control: no-store\r\n", &document.to_string())
}

/// What browsers say when somebody opens a page.
const NAVIGATION: &str =
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

/// Keeps cookies by name, and follows nothing by itself.
#[derive(Clone, Default)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a page.
    pub fn open(&mut self, gateway: &Gateway, path: &str) -> Reply {
        let reply = get(gateway.address(), path, &format!("{NAVIGATION}{}", self.line()));
        self.keep(&reply);
        reply
    }

    /// What a page's script asks for.
    pub fn fetch(&mut self, gateway: &Gateway, path: &str) -> Reply {
        let lines = "Accept: */*\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\n";
        let reply = get(gateway.address(), path, &format!("{lines}{}", self.line()));
        self.keep(&reply);
        reply
    }

    /// Any request, with the cookies.
    pub fn send(&mut self, gateway: &Gateway, line: &str, headers: &str) -> Reply {
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{}Connection: close\r\n\r\n", self.line());
        let reply = send(gateway.address(), request.as_bytes()).unwrap();
        self.keep(&reply);
        reply
    }

    /// From a page that needs a login to that page.
    pub fn log_in(&mut self, gateway: &Gateway, provider: &Provider, path: &str) -> Reply {
        let sent = self.open(gateway, path);
        assert_eq!(sent.status, 302, "{sent:?}");
        let back = provider.authorize(sent.header("location").unwrap());
        let reply = self.open(gateway, &back);
        assert_eq!(reply.status, 303, "{reply:?}");
        reply
    }

    /// The `Cookie` line.
    pub fn line(&self) -> String {
        if self.cookies.is_empty() {
            return String::new();
        }
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("Cookie: {}\r\n", pairs.join("; "))
    }

    pub fn keep(&mut self, reply: &Reply) {
        for (_, field) in reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let (pair, attributes) = field.split_once(';').unwrap_or((field, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Whether there is a session.
    pub fn is_logged_in(&self) -> bool {
        self.cookies.contains_key("__Host-tollgate")
    }

    /// Logins that are under way.
    pub fn attempts(&self) -> usize {
        self.cookies.keys().filter(|name| name.starts_with("__Host-tollgate-login.")).count()
    }
}

/// A person whose access tokens are to be renewed at once; the clock skew lets them count for half a minute more.
pub fn short_lived(subject: &str) -> MintRequest {
    MintRequest { expires_in: 0, ..MintRequest::default() }.subject(subject)
}
