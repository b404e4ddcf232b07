//! The contract between FusionAuth's browser SDKs and their server ("hosted backend"), kept by the gateway: pages of applications begin
//! logins here, and their tokens live in cookies. The gateway's own sessions have nothing to do with it.
//!
//! `asked` reads what pages ask for, `cookies` writes what browsers keep.

mod asked;
mod cookies;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

pub use self::asked::Asked;
use self::cookies::Cookies;
use super::Identifier;
use super::issuer::KeyRings;
use super::login::{Attempt, Callback, Failed, Logins, ProviderFault, RelyingParty, Sent, ends};
use super::session::{Outcome, Renewal, Seals, Session};
use crate::model::settings::{self, HostedBackend};
use crate::model::{Facts, Identity, LoginFault, Moment, Rejection};
use crate::redis::Redis;

/// The server that an application with one of FusionAuth's SDKs believes to talk to.
pub struct Hosted {
    settings: HostedBackend,
    party: RelyingParty,
    seals: Seals,
    cookies: Cookies,
}

/// What became of a page's wish for new tokens.
#[derive(Debug)]
pub enum Refreshed {
    /// `Set-Cookie` fields.
    Renewed(Vec<HeaderValue>),
    /// There is nothing to renew; `Set-Cookie` fields that end what is left.
    Over(Vec<HeaderValue>),
    /// The issuer is away.
    Unavailable,
}

impl Hosted {
    /// `None` without `identity.hosted_backend`. Let `keys` follow the issuers first.
    pub fn new(identity: &settings::Identity, keys: &KeyRings, redis: &Arc<Redis>) -> Option<Self> {
        let settings = identity.hosted.clone()?;
        let party = RelyingParty::of(settings.login.clone(), identity, keys, redis)?;
        Some(Self { seals: Seals::new(&settings.keys), cookies: Cookies::new(&settings), party, settings })
    }

    /// As configured.
    pub fn settings(&self) -> &HostedBackend {
        &self.settings
    }

    /// The issuer's side of it.
    pub fn party(&self) -> &RelyingParty {
        &self.party
    }

    /// What a request asks for, if it is for one of the endpoints.
    pub fn asked<'a>(&self, facts: &'a Facts) -> Option<Asked<'a>> {
        let is_host = self.settings.login.callbacks.iter().any(|callback| callback.host == facts.host);
        if is_host { Asked::read(facts.path.as_str(), facts.query.as_deref().unwrap_or_default()) } else { None }
    }

    /// Begins a login, or a registration, for the page that asked.
    ///
    /// # Errors
    /// `Invalid` for another application, or an address that is not in the configuration; `Unavailable` while the issuer is away.
    pub async fn begin(
        &self,
        asked: &Asked<'_>,
        registers: bool,
        headers: &HeaderMap,
        host: &str,
        now: Moment,
    ) -> Result<Sent, LoginFault> {
        self.check_application(asked)?;
        let target = asked.target(&self.settings.redirect_uris).ok_or(LoginFault::Invalid)?;
        let wishes = asked.wishes(registers).ok_or(LoginFault::Invalid)?;
        let attempt = Attempt::outward(target, now).ok_or(LoginFault::Unavailable)?;
        self.party.start(host, &attempt, &wishes, headers, now).await
    }

    /// Ends a login: back to the page, with tokens in cookies.
    ///
    /// # Errors
    /// [`Failed`]: nothing of it is left in the browser.
    pub async fn complete(
        &self,
        identifier: &Identifier,
        logins: &Logins,
        query: &str,
        headers: &HeaderMap,
        host: &str,
        now: Moment,
    ) -> Result<Sent, Failed> {
        let callback = Callback::read(query);
        let ended = ends(callback.state.as_deref(), self.party.sessions().jar(), headers);
        let finished = async {
            let (target, tokens) = self.party.redeem(identifier, logins, host, callback, headers, now).await?;
            let session = Session::begin(tokens, now).ok_or(LoginFault::Unavailable)?;
            let location = HeaderValue::try_from(target).map_err(|_| LoginFault::Invalid)?;
            Ok((location, self.keep(&session, now)?))
        };
        match finished.await {
            Ok((location, mut cookies)) => {
                cookies.extend(ended);
                Ok(Sent { location, cookies })
            }
            Err(fault) => Err(Failed { fault, cookies: ended }),
        }
    }

    /// New tokens for the page that asked, in one call for all the pages that ask at the same time, which is counted once.
    pub async fn refresh(
        self: &Arc<Self>,
        identifier: &Arc<Identifier>,
        logins: &Logins,
        headers: &HeaderMap,
        now: Moment,
        clock: fn() -> Moment,
        count: impl FnOnce(&Renewal) + Send + 'static,
    ) -> Refreshed {
        let Some(session) = self.open(logins, headers, now) else { return Refreshed::Over(self.cookies.end()) };
        let (hosted, identifier, old) = (Arc::clone(self), Arc::clone(identifier), session.clone());
        let renewal = async move {
            let renewal = hosted.party.renew_once(&identifier, &old, clock).await;
            count(&renewal);
            renewal.outcome
        };
        match logins.refreshes.refresh(&session, now, self.party.patience(), renewal).await {
            // Somebody logged out meanwhile.
            Outcome::Renewed(session) if logins.ended.contains(&session.id) => Refreshed::Over(self.cookies.end()),
            Outcome::Renewed(session) => match self.keep(&session, clock()) {
                Ok(cookies) => Refreshed::Renewed(cookies),
                Err(_) => Refreshed::Over(self.cookies.end()),
            },
            Outcome::Refused => Refreshed::Over(self.cookies.end()),
            Outcome::Unavailable => Refreshed::Unavailable,
        }
    }

    /// What the issuer says about whom the access token in the cookies is for, as JSON.
    ///
    /// # Errors
    /// `Unauthenticated` without a token that is accepted; `Login` if the issuer is away or answers nonsense.
    pub async fn me(&self, identifier: &Identifier, headers: &HeaderMap, now: Moment) -> Result<Vec<u8>, Rejection> {
        let token = self.cookies.access_token(headers)?;
        let identity = identifier.recognize(token, now).await?;
        let userinfo = self.party.provider().userinfo(token, now).await.map_err(|fault| match fault {
            ProviderFault::Refused => Rejection::Unauthenticated(crate::model::TokenFault::BadClaim),
            fault => Rejection::Login(fault.into()),
        })?;
        // Core 5.3.2: an answer about somebody else must not be used.
        if userinfo.get("sub").and_then(serde_json::Value::as_str) != identity.claims.text("sub") {
            return Err(Rejection::Login(LoginFault::Untrusted));
        }
        serde_json::to_vec(&userinfo).map_err(|_| Rejection::Internal)
    }

    /// Ends what this browser has: where it is sent, with `Set-Cookie` fields; and whose tokens are to be refused from now on.
    ///
    /// # Errors
    /// `Invalid` for another application, or an address that is not in the configuration.
    pub async fn end(
        &self,
        asked: &Asked<'_>,
        identifier: &Identifier,
        logins: &Logins,
        headers: &HeaderMap,
        now: Moment,
    ) -> Result<(Sent, Option<Arc<Identity>>), LoginFault> {
        self.check_application(asked)?;
        let after = asked.after_logout(&self.settings.logout_uris).ok_or(LoginFault::Invalid)?;
        let location = self.party.logout(&after, now).await.ok_or(LoginFault::Unavailable)?;
        Ok((Sent { location, cookies: self.cookies.end() }, self.forget(identifier, logins, headers, now).await))
    }

    /// The session of this browser is over, whoever has a copy of its cookies.
    pub async fn forget(
        &self,
        identifier: &Identifier,
        logins: &Logins,
        headers: &HeaderMap,
        now: Moment,
    ) -> Option<Arc<Identity>> {
        if let Some(session) = self.open(logins, headers, now) {
            logins.ended.insert(session.id, session.began.saturating_add(self.settings.lifetime.as_secs()), now);
        }
        identifier.recognize(self.cookies.access_token(headers).ok()?, now).await.ok()
    }

    /// `Set-Cookie` fields that end everything.
    pub fn ends(&self) -> Vec<HeaderValue> {
        self.cookies.end()
    }

    /// The cookies of the contract. The refresh token is sealed: nobody but the gateway reads it, and a domain has many hosts.
    fn keep(&self, session: &Session, now: Moment) -> Result<Vec<HeaderValue>, LoginFault> {
        let refresh_token = session.refresh_token.as_ref().and_then(|_| {
            // The other tokens are in cookies of their own.
            let alone = Session { access_token: String::new(), id_token: None, ..session.clone() };
            self.seals.seal(HostedBackend::COOKIES[1], &session.id, &alone.encode(false))
        });
        self.cookies.set(session, refresh_token.as_deref(), now).ok_or(LoginFault::TooLarge)
    }

    /// What `app.rt` holds. A copy of the cookie that another host of the domain put beside it opens just as well or not at all.
    fn open(&self, logins: &Logins, headers: &HeaderMap, now: Moment) -> Option<Session> {
        let opened = self.cookies.refresh_tokens(headers).find_map(|sealed| {
            let (id, plain) = self.seals.open(HostedBackend::COOKIES[1], sealed)?;
            Session::decode(id, &plain)
        });
        let lifetime = self.settings.lifetime;
        opened.filter(|session| !session.has_ended(now, lifetime, lifetime) && !logins.ended.contains(&session.id))
    }

    /// Whether a page asks for the application that lives here.
    pub fn is_asked_for(&self, asked: &Asked<'_>) -> bool {
        asked.is_for(&self.settings.login.client_id)
    }

    fn check_application(&self, asked: &Asked<'_>) -> Result<(), LoginFault> {
        if self.is_asked_for(asked) { Ok(()) } else { Err(LoginFault::Invalid) }
    }

    /// Whether a page of another origin sent this with the cookies of this one. Browsers say who asks; what says nothing is no browser.
    pub fn is_foreign(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match (text("origin"), text("sec-fetch-site")) {
            (Some(origin), _) => headers.get_all("origin").iter().count() != 1 || !self.is_ours(origin),
            (None, Some(site)) => !matches!(site, "same-origin" | "none"),
            (None, None) => true,
        }
    }

    /// Whether pages of this origin may read answers.
    pub fn is_ours(&self, origin: &str) -> bool {
        self.settings.origins.iter().any(|ours| ours == origin)
    }

    /// Whether a request that changes something has no other credential than the access token's cookie, and comes from elsewhere.
    pub fn is_forged(&self, facts: &Facts) -> bool {
        use http::Method;
        let is_safe = matches!(facts.method, Method::GET | Method::HEAD | Method::OPTIONS) && !facts.is_websocket;
        !is_safe
            && !facts.headers.contains_key(http::header::AUTHORIZATION)
            && self.cookies.has_access_token(&facts.headers)
            && self.is_foreign(&facts.headers)
    }

    /// `Cookie` without what no upstream may see: the refresh token, and logins under way.
    pub fn without_ours(&self, field: &HeaderValue) -> Option<Option<HeaderValue>> {
        self.party.sessions().without_ours(field)
    }

    /// Whether a `Set-Cookie` is for a cookie that no upstream may set.
    pub fn sets_ours(&self, field: &HeaderValue) -> bool {
        self.party.sessions().sets_ours(field) || self.cookies.sets_ours(field.as_bytes())
    }
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("settings", &self.settings).finish_non_exhaustive()
    }
}
