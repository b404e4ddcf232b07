use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::answer::{Callback, CallbackError, CallbackResult};
use super::attempt::{Attempt, ends};
use super::id_token::Expected;
use super::provider::{Metadata, Provider, ProviderFault};
use super::redeemed::Redeemed;
use crate::identity::issuer::{KeyRing, KeyRings};
use crate::identity::keys::Key;
use crate::identity::session::{Ended, Outcome, Refreshes, Renewal, Seals, Session, Sessions, Tokens};
use crate::identity::token::Token;
use crate::identity::verify::{Algorithm, VerificationKey};
use crate::identity::{Identifier, TokenAnswer};
use crate::model::settings::{self, Issuer, Login};
use crate::model::{Identity, LoginFault, Moment, Rejection, local_page};
use crate::redis::Redis;

/// The gateway as OpenID Connect's relying party: one application, one issuer, and the sessions of those who logged in.
pub struct RelyingParty {
    login: Login,
    issuer: Issuer,
    skew: Duration,
    ring: Arc<KeyRing>,
    /// Client secrets as keys: FusionAuth signs id_tokens with them unless it is told otherwise.
    secrets: Vec<Key>,
    seals: Arc<Seals>,
    sessions: Sessions,
    provider: Provider,
}

/// What lasts longer than a configuration.
#[derive(Debug)]
pub struct Logins {
    /// Renewals of tokens.
    pub refreshes: Arc<Refreshes>,
    /// Sessions that people ended.
    pub ended: Ended,
    /// Logins that were finished, so that none is finished twice.
    pub(super) redeemed: Redeemed,
}

/// What one login asks for beyond the configuration.
#[derive(Debug, Default)]
pub(in crate::identity) struct Wishes {
    /// Instead of the configured scopes.
    pub(in crate::identity) scope: Option<String>,
    /// Further parameters.
    pub(in crate::identity) parameters: Vec<(String, String)>,
    /// FusionAuth: the page where new people register.
    pub(in crate::identity) registers: bool,
}

/// Where a browser is sent, and with which cookies.
#[derive(Debug)]
pub struct Sent {
    /// Where to.
    pub location: HeaderValue,
    /// `Set-Cookie` fields.
    pub cookies: Vec<HeaderValue>,
}

/// The end of a login that did not work: the browser forgets it.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub fault: LoginFault,
    /// `Set-Cookie` fields.
    pub cookies: Vec<HeaderValue>,
}

impl Logins {
    /// `clock` must be the clock that `Facts::received_at` is read from.
    pub fn new(clock: fn() -> Moment) -> Self {
        Self { refreshes: Arc::new(Refreshes::new(clock)), ended: Ended::default(), redeemed: Redeemed::default() }
    }
}

impl RelyingParty {
    /// `None` if nobody is to be logged in. Let `keys` follow the issuers first.
    pub fn new(settings: &settings::Identity, keys: &KeyRings, redis: &Arc<Redis>) -> Option<Self> {
        Self::of(settings.login.clone()?, settings, keys, redis)
    }

    /// The same for another application than that of `identity.login`.
    pub(in crate::identity) fn of(
        login: Login,
        settings: &settings::Identity,
        keys: &KeyRings,
        redis: &Arc<Redis>,
    ) -> Option<Self> {
        let issuer = settings.issuers.iter().find(|issuer| issuer.name == login.issuer)?.clone();
        let seals = Arc::new(Seals::new(&login.session.keys));
        let secrets = [Some(&login.client_secret), login.previous_client_secret.as_ref()];
        let secrets = secrets.into_iter().flatten().flat_map(|secret| {
            let algorithms = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
            algorithms.into_iter().filter_map(|algorithm| VerificationKey::hmac(algorithm, secret.expose()))
        });
        Some(Self {
            secrets: secrets.map(|key| Key::new(None, key, Vec::new())).collect(),
            ring: keys.ring(&issuer),
            skew: settings.clock_skew,
            sessions: Sessions::new(&login.session, &seals, redis),
            provider: Provider::new(&issuer, &login),
            seals,
            login,
            issuer,
        })
    }

    /// The sessions of those who logged in.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The issuer.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// As configured.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// As configured.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Where logins that begin on a host come back to; `None` for a host on which nobody logs in.
    pub fn callback(&self, host: &str) -> Option<&settings::Callback> {
        self.login.callbacks.iter().find(|callback| callback.host == host)
    }

    /// Whether a request is the end of a login.
    pub fn is_callback(&self, host: &str, path: &str) -> bool {
        self.login.callbacks.iter().any(|callback| callback.host == host && callback.path == path)
    }

    /// Begins a login for a browser on `host` that wants to see a page of it.
    ///
    /// # Errors
    /// `Unavailable` while the issuer is away; `Invalid` on a host where nobody logs in.
    pub async fn begin(&self, host: &str, page: &str, headers: &HeaderMap, now: Moment) -> Result<Sent, LoginFault> {
        let attempt = Attempt::begin(page, now).ok_or(LoginFault::Unavailable)?;
        self.start(host, &attempt, &Wishes::default(), headers, now).await
    }

    pub(in crate::identity) async fn start(
        &self,
        host: &str,
        attempt: &Attempt,
        wishes: &Wishes,
        headers: &HeaderMap,
        now: Moment,
    ) -> Result<Sent, LoginFault> {
        let callback = self.callback(host).ok_or(LoginFault::Invalid)?;
        let metadata = self.provider.metadata(now).await.map_err(LoginFault::from)?;
        let cookies = attempt.cookies(self.sessions.jar(), &self.seals, headers).ok_or(LoginFault::Unavailable)?;
        let location = self.authorize(&metadata, callback, attempt, wishes);
        let location = HeaderValue::try_from(location).map_err(|_| LoginFault::Unavailable)?;
        Ok(Sent { location, cookies })
    }

    /// RFC 6749 4.1.1, OpenID Connect Core 3.1.2.1, RFC 7636 4.3, and FusionAuth's own parameters.
    fn authorize(&self, metadata: &Metadata, callback: &settings::Callback, attempt: &Attempt, wishes: &Wishes) -> String {
        let login = &self.login;
        let max_age = login.max_age.map(|age| age.as_secs().to_string());
        let scope = wishes.scope.clone().unwrap_or_else(|| login.scopes.join(" "));
        let (state, nonce, challenge) = (attempt.state(), attempt.nonce(), attempt.challenge());
        let pairs = [
            ("client_id", Some(login.client_id.as_str())),
            ("redirect_uri", Some(callback.url.as_str())),
            ("response_type", Some("code")),
            ("scope", Some(scope.as_str())),
            ("state", Some(state.as_str())),
            ("nonce", Some(nonce.as_str())),
            ("code_challenge", Some(challenge.as_str())),
            ("code_challenge_method", Some("S256")),
            ("tenantId", self.issuer.tenant.as_deref()),
            ("idp_hint", login.idp_hint.as_deref()),
            ("prompt", login.prompt.as_deref()),
            ("max_age", max_age.as_deref()),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))));
        query.extend_pairs(&wishes.parameters);
        let endpoint = &metadata.authorization_endpoint;
        // FusionAuth's page for new people takes the same parameters; nobody else has one.
        let registration =
            endpoint.strip_suffix("/authorize").filter(|_| wishes.registers).map(|rest| format!("{rest}/register"));
        let endpoint = registration.as_ref().unwrap_or(endpoint);
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        format!("{endpoint}{joint}{}", query.finish())
    }

    /// Ends a login: from the query of a callback to a session, and to the page that was asked for.
    ///
    /// # Errors
    /// [`Failed`]: nothing of it is left in the browser.
    pub async fn complete(
        &self,
        identifier: &Identifier,
        logins: &Logins,
        host: &str,
        query: &str,
        headers: &HeaderMap,
        now: Moment,
    ) -> Result<Sent, Failed> {
        let callback = Callback::read(query);
        let ended = ends(callback.state.as_deref(), self.sessions.jar(), headers);
        let finished = async {
            let (page, tokens) = self.redeem(identifier, logins, host, callback, headers, now).await?;
            let session = Session::begin(tokens, now).ok_or(LoginFault::Unavailable)?;
            let cookies = self.sessions.begin(&session, headers, now).await?;
            Ok((if page == "/" { self.login.after_login.clone() } else { page }, cookies))
        };
        match finished.await {
            Ok((page, mut cookies)) => {
                cookies.extend(ended);
                let location = local_page(&page).and_then(|page| HeaderValue::try_from(page).ok());
                let location = location.unwrap_or(HeaderValue::from_static("/"));
                Ok(Sent { location, cookies })
            }
            Err(fault) => Err(Failed { fault, cookies: ended }),
        }
    }

    /// From a callback to where the login was to lead, and the tokens.
    pub(in crate::identity) async fn redeem(
        &self,
        identifier: &Identifier,
        logins: &Logins,
        host: &str,
        callback: Callback,
        headers: &HeaderMap,
        now: Moment,
    ) -> Result<(String, Tokens), LoginFault> {
        let redirect_uri = &self.callback(host).ok_or(LoginFault::Invalid)?.url;
        let state = callback.state.as_deref().ok_or(LoginFault::Invalid)?;
        let attempt = Attempt::find(state, self.sessions.jar(), &self.seals, headers, now).ok_or(LoginFault::Invalid)?;
        if callback.result == CallbackResult::Unreadable {
            return Err(LoginFault::Invalid);
        }
        // RFC 9207 2.4: before anything is sent to anybody. A code of another issuer's must not get there.
        if callback.issuer.as_deref().is_some_and(|issuer| issuer != self.issuer.issuer) {
            tracing::warn!(issuer = %self.issuer.name, "a login came back with another issuer's name");
            return Err(LoginFault::Invalid);
        }
        let metadata = self.provider.known_metadata(now).await.map_err(LoginFault::from)?;
        if metadata.says_issuer && callback.issuer.is_none() {
            tracing::warn!(issuer = %self.issuer.name, "a login came back without `iss`, which the issuer says it always sends");
            return Err(LoginFault::Invalid);
        }
        if !logins.redeemed.insert(attempt.id(), now) {
            return Err(LoginFault::Invalid);
        }
        let code = match callback.result {
            CallbackResult::Code(code) => code,
            CallbackResult::Error(CallbackError::Denied) => return Err(LoginFault::Denied),
            CallbackResult::Error(CallbackError::Unavailable) => return Err(LoginFault::Unavailable),
            CallbackResult::Error(CallbackError::Other) => {
                tracing::warn!(issuer = %self.issuer.name, "the issuer refuses the request for a login: look at its own log");
                return Err(LoginFault::Untrusted);
            }
            CallbackResult::Unreadable => return Err(LoginFault::Invalid),
        };
        let answer = self.provider.exchange(&code, &attempt.verifier(), redirect_uri, now).await.map_err(LoginFault::from)?;
        let tokens = self.believe(identifier, answer, &attempt.nonce(), &code, now).await?;
        Ok((attempt.return_to, tokens))
    }

    /// The tokens of a login, if all that is known about them fits together.
    ///
    /// # Errors
    /// `Untrusted`, or `Unavailable` if keys are missing.
    pub async fn believe(
        &self,
        identifier: &Identifier,
        answer: TokenAnswer,
        nonce: &str,
        code: &str,
        now: Moment,
    ) -> Result<Tokens, LoginFault> {
        let distrust = |what: &str, why: &str| {
            tracing::warn!(issuer = %self.issuer.name, "a login is refused: {what}: {why}");
            LoginFault::Untrusted
        };
        let id_token = answer.id_token.as_deref().ok_or_else(|| distrust("id_token", "there is none; is `openid` granted?"))?;
        let token = Token::parse(id_token).map_err(|fault| distrust("id_token", fault.label()))?;
        let expected = Expected {
            issuer: &self.issuer.issuer,
            tenant: self.issuer.tenant.as_deref(),
            client_id: &self.login.client_id,
            nonce,
            access_token: &answer.access_token,
            code,
            max_age: self.login.max_age,
            skew: self.skew,
        };
        let subject = expected.subject(&token, now).map_err(|why| distrust("id_token", why))?;
        if !self.is_signed(&token, now).await? {
            return Err(distrust("id_token", "its signature is not the issuer's, nor made with the client secret"));
        }
        let identity = match identifier.recognize(&answer.access_token, now).await {
            Ok(identity) => identity,
            Err(Rejection::Unauthenticated(fault)) => return Err(distrust("access token", fault.label())),
            Err(_) => return Err(LoginFault::Unavailable),
        };
        if identity.issuer != self.issuer.name || identity.claims.text("sub") != Some(subject.as_str()) {
            return Err(distrust("access token", "it is somebody else's"));
        }
        Ok(Tokens {
            subject,
            expires: self.end_of(&identity),
            access_token: answer.access_token,
            refresh_token: answer.refresh_token,
            id_token: answer.id_token,
        })
    }

    /// Whether the client secret, or a key that the issuer publishes, made the signature.
    async fn is_signed(&self, token: &Token<'_>, now: Moment) -> Result<bool, LoginFault> {
        if token.algorithm.is_symmetric() {
            let mut fitting = self.secrets.iter().filter(|key| key.verification.algorithm() == token.algorithm);
            return Ok(fitting.any(|key| key.verification.verifies(token.signed, token.signature)));
        }
        let verify = || {
            let keys = self.ring.keys(now)?;
            let candidates = keys.candidates(token.kid.as_deref(), token.algorithm).ok()?;
            Some(candidates.iter().any(|key| key.verification.verifies(token.signed, token.signature)))
        };
        if let Some(verdict) = verify() {
            return Ok(verdict);
        }
        // A key that is new, or no keys at all: both may be better in a moment.
        self.ring.renewed(now).await;
        match verify() {
            Some(verdict) => Ok(verdict),
            None if self.ring.keys(now).is_none() => Err(LoginFault::Unavailable),
            None => Ok(false),
        }
    }

    /// Where browsers are sent in order to log out of the issuer as well, and where it sends them then (OpenID Connect RP-Initiated
    /// Logout). An issuer that is away keeps nobody here: its page may be back before the browser is there.
    ///
    /// Without `id_token_hint`: FusionAuth does not look at it where there is a `client_id`, and histories and logs would keep it.
    pub async fn logout(&self, after: &str, now: Moment) -> Option<HeaderValue> {
        let metadata = self.provider.known_metadata(now).await;
        let endpoint = metadata.map_or_else(|_| self.provider.usual().end_session_endpoint, |it| it.end_session_endpoint.clone());
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("client_id", &self.login.client_id);
        if let Some(tenant) = &self.issuer.tenant {
            query.append_pair("tenantId", tenant);
        }
        query.append_pair("post_logout_redirect_uri", after);
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        HeaderValue::try_from(format!("{endpoint}{joint}{}", query.finish())).ok()
    }

    /// Where browsers reach the issuer: `https://host[:port]`.
    pub fn public_origin(&self) -> String {
        let address = self.login.public_url.as_ref().unwrap_or(&self.issuer.url);
        let end = address.match_indices('/').nth(2).map_or(address.len(), |(at, _)| at);
        address.get(..end).unwrap_or_default().to_ascii_lowercase()
    }

    /// The token's own end: an identity lasts for the clock skew longer, and that is no time to wait for.
    fn end_of(&self, identity: &Identity) -> u64 {
        identity.expires_at.saturating_sub(self.skew.as_secs())
    }

    /// New tokens for a session, on one of all gateways.
    pub async fn renew_once(&self, identifier: &Identifier, session: &Session, clock: fn() -> Moment) -> Renewal {
        let renewal = async {
            let outcome = self.renew(identifier, session, clock()).await;
            match outcome {
                Outcome::Renewed(next) if !self.sessions.renewed(session.generation, &next, clock()).await => Outcome::Refused,
                Outcome::Refused => {
                    self.sessions.remove(session).await;
                    Outcome::Refused
                }
                outcome => outcome,
            }
        };
        self.sessions.shared().once(session, self.patience(), renewal).await
    }

    /// For new tokens: discovery, the tokens, and the keys for them.
    pub fn patience(&self) -> Duration {
        self.provider.timeout().saturating_mul(3)
    }

    /// New tokens for a session, from the issuer.
    pub async fn renew(&self, identifier: &Identifier, session: &Session, now: Moment) -> Outcome {
        let Some(refresh_token) = &session.refresh_token else { return Outcome::Refused };
        let answer = match self.provider.refresh(refresh_token, now).await {
            Ok(answer) => answer,
            Err(ProviderFault::Refused) => return Outcome::Refused,
            Err(ProviderFault::Away | ProviderFault::Nonsense) => return Outcome::Unavailable,
        };
        let expires = match identifier.recognize(&answer.access_token, now).await {
            Ok(identity) if is_of(&identity, &self.issuer, session) => self.end_of(&identity),
            // The refresh token may be gone: what came for it must not be lost because keys are missing right now.
            Err(Rejection::KeysUnavailable) => now.unix_seconds().saturating_add(answer.expires_in.unwrap_or(60)),
            _ => {
                tracing::warn!(issuer = %self.issuer.name, "a session ends: its new access token is not accepted");
                return Outcome::Refused;
            }
        };
        let tokens = Tokens {
            subject: session.subject.clone(),
            expires,
            access_token: answer.access_token,
            refresh_token: answer.refresh_token,
            id_token: None,
        };
        session.renewed(tokens, now).map_or(Outcome::Unavailable, |session| Outcome::Renewed(Arc::new(session)))
    }
}

/// OpenID Connect Core 12.2: new tokens are the same person's.
fn is_of(identity: &Identity, issuer: &Issuer, session: &Session) -> bool {
    identity.issuer == issuer.name && identity.claims.text("sub") == Some(session.subject.as_str())
}

impl From<ProviderFault> for LoginFault {
    fn from(fault: ProviderFault) -> Self {
        match fault {
            ProviderFault::Away => Self::Unavailable,
            ProviderFault::Refused => Self::Invalid,
            ProviderFault::Nonsense => Self::Untrusted,
        }
    }
}

impl std::fmt::Debug for RelyingParty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelyingParty").field("login", &self.login).finish_non_exhaustive()
    }
}
