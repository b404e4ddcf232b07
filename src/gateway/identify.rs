//! Who is calling: by what the request carries, else by the session of the browser that sent it; and what happens to people whom nobody
//! knows yet.

use std::sync::Arc;

use http::Method;
use http::header::{ACCEPT, HOST, HeaderMap, ORIGIN};

use super::snapshot::Identification;
use super::{Lasting, RouteEntry, Snapshot, Trail};
use crate::identity::{Identifier, Opened, Outcome, RelyingParty, Renewal, Session};
use crate::metrics::{LoginResult, RefreshResult, SessionResult};
use crate::model::settings::{Auth, Cors};
use crate::model::{Absence, Caller, Ending, Facts, LoginFault, Name, Plan, Rejection, TokenFault};

/// Who sent this request, as far as the route wants to know. A browser without a session leaves here for the login page, if the route says
/// so.
///
/// What a request carries itself goes before the session of its browser, also when it is worth nothing: a client that brings a token means
/// that token.
pub(super) async fn identify(
    snapshot: &Snapshot,
    lasting: &Lasting,
    trail: &mut Trail,
    facts: &Arc<Facts>,
    route: &RouteEntry,
) -> Result<Caller, Ending> {
    let carried = match snapshot.hosted() {
        Some(hosted) if route.auth() != Auth::None && hosted.is_forged(facts) => Err(Rejection::Login(LoginFault::CrossSite)),
        _ => snapshot.identify(facts, route.auth()).await,
    };
    let found = match (carried, snapshot.login(), snapshot.identification()) {
        (
            nobody @ (Err(Rejection::Unauthenticated(TokenFault::Missing)) | Ok(Caller::Anonymous(Absence::NoToken))),
            Some(party),
            Identification::Tokens(identifier),
        ) => {
            let visitor = Visitor { party, identifier, lasting, facts, cors: route.route.cors.as_deref() };
            match visitor.recognize(trail).await {
                Ok(Some(caller)) => Ok(caller),
                Ok(None) => nobody,
                Err(rejection) => Err(rejection),
            }
        }
        (carried, ..) => carried,
    };
    match trail.identified(found) {
        Err(Rejection::Unauthenticated(TokenFault::Missing)) if route.route.login => {
            Err(Box::pin(to_login(snapshot, lasting, trail, facts, None)).await)
        }
        found => found.map_err(Ending::from),
    }
}

/// What the rules made of a request, where `redirect_to_login` becomes a redirect, or a refusal if no browser asks.
pub(super) async fn after_rules(
    snapshot: &Snapshot,
    lasting: &Lasting,
    trail: &mut Trail,
    plan: Result<Plan, Ending>,
) -> Result<Plan, Ending> {
    match plan {
        Err(Ending::Login { return_to }) => {
            let facts = trail.facts();
            Err(Box::pin(to_login(snapshot, lasting, trail, &facts, return_to)).await)
        }
        plan => plan,
    }
}

/// Sends a browser to the login page; whoever else asks is told that a token is needed. Never a redirect for a script: it would follow it
/// to a page that it cannot read, and leave a login behind that nobody finishes.
async fn to_login(snapshot: &Snapshot, lasting: &Lasting, trail: &mut Trail, facts: &Facts, return_to: Option<Name>) -> Ending {
    let refusal = Rejection::Unauthenticated(TokenFault::Missing).into();
    let Some(party) = snapshot.login().filter(|party| party.callback(&facts.host).is_some() && is_navigation(facts)) else {
        return refusal;
    };
    if let Identification::Given(_) = snapshot.identification() {
        // A rehearsal: no issuer, and no secrets that would make every run another.
        let location = party.provider().usual().authorization_endpoint;
        return http::HeaderValue::try_from(location).map_or(refusal, |location| Ending::Redirect { status: 302, location });
    }
    let page = match (return_to, &facts.query) {
        (Some(page), _) => page.to_string(),
        (None, Some(query)) => format!("{}?{query}", facts.path),
        (None, None) => facts.path.to_string(),
    };
    match party.begin(&facts.host, &page, &facts.headers, facts.received_at).await {
        Ok(sent) => {
            lasting.metrics.logins.count(LoginResult::Started);
            sent.cookies.into_iter().for_each(|cookie| trail.set_cookie(cookie));
            Ending::Redirect { status: 302, location: sent.location }
        }
        Err(fault) => {
            lasting.metrics.logins.count(LoginResult::of(fault));
            Rejection::Login(fault).into()
        }
    }
}

/// Whether a person's browser asks for a page, as opposed to a script of a page, a form, a prefetch or a program. `Sec-Fetch-Mode` settles
/// it where there is one (no script can set it); older browsers are known by naming `text/html`.
fn is_navigation(facts: &Facts) -> bool {
    let names_html = |line: &http::HeaderValue| {
        let line = line.to_str().unwrap_or_default();
        line.split(',').any(|item| item.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("text/html")))
    };
    facts.method == Method::GET
        && !facts.is_websocket
        && !facts.headers.contains_key("x-requested-with")
        && facts.header("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
        && facts.header("sec-purpose").is_none_or(|purpose| !purpose.contains("prefetch"))
        && facts.headers.get_all(ACCEPT).iter().any(names_html)
}

/// A request whose only credential may be a session.
struct Visitor<'a> {
    party: &'a Arc<RelyingParty>,
    identifier: &'a Arc<Identifier>,
    lasting: &'a Lasting,
    facts: &'a Arc<Facts>,
    /// Which other pages the route lets in.
    cors: Option<&'a Cors>,
}

impl Visitor<'_> {
    /// Whom the session stands for; `None` without one.
    async fn recognize(&self, trail: &mut Trail) -> Result<Option<Caller>, Rejection> {
        let (headers, now) = (&self.facts.headers, self.facts.received_at);
        let sessions = self.party.sessions();
        let counts = &self.lasting.metrics.logins;
        let session = match sessions.open(headers, now).await.map_err(Rejection::Login)? {
            Opened::Nothing => return Ok(None),
            Opened::Ended { was_ours } => {
                counts.session(if was_ours { SessionResult::Expired } else { SessionResult::Invalid });
                sessions.forget(headers).into_iter().for_each(|cookie| trail.set_cookie(cookie));
                return Ok(None);
            }
            // Ended by its owner, on whatever machine the copy is.
            Opened::Live(session) if self.lasting.logins.ended.contains(&session.id) => return Ok(self.end(trail)),
            Opened::Live(session) => *session,
        };
        if !is_own_page(self.facts, &self.party.login().callbacks) && !self.is_trusted() {
            counts.session(SessionResult::CrossSite);
            return Err(Rejection::Login(LoginFault::CrossSite));
        }
        // Somebody else may have renewed it already, and this browser does not know yet.
        let successor = self.lasting.logins.refreshes.successor(&session, now);
        let is_news = successor.is_some();
        let session = successor.map_or(session, Arc::unwrap_or_clone);
        if session.is_due(now) && session.refresh_token.is_some() {
            return Box::pin(self.renew(trail, session)).await;
        }
        match self.identifier.recognize(&session.access_token, now).await {
            Ok(identity) => {
                counts.session(SessionResult::Valid);
                if is_news || sessions.is_worth_touching(&session, now) {
                    let session = Session { seen: now.unix_seconds(), ..session };
                    self.keep(trail, &session).await;
                }
                Ok(Some(Caller::Known(identity)))
            }
            // The token was revoked, its key is gone, it has expired: the issuer knows whether there is another one.
            Err(Rejection::Unauthenticated(_)) if session.refresh_token.is_some() => Box::pin(self.renew(trail, session)).await,
            Err(Rejection::Unauthenticated(_)) => Ok(self.end(trail)),
            Err(rejection) => Err(rejection),
        }
    }

    /// Whether the page is one that the operator lets send cookies along. The browser has asked before it sent anything that is not simple.
    fn is_trusted(&self) -> bool {
        self.cors.zip(self.facts.header("origin")).is_some_and(|(cors, origin)| cors.trusts(origin))
    }

    /// New tokens, in one call for all the requests of this session that ask at the same time.
    async fn renew(&self, trail: &mut Trail, session: Session) -> Result<Option<Caller>, Rejection> {
        let now = self.facts.received_at;
        let (party, identifier, old) = (Arc::clone(self.party), Arc::clone(self.identifier), session.clone());
        let counts = &self.lasting.metrics.logins;
        let (metrics, patience) = (Arc::clone(&self.lasting.metrics), self.party.patience());
        let renewal = async move {
            let renewal = party.renew_once(&identifier, &old, super::clock::now).await;
            metrics.logins.refreshed(result_of(&renewal));
            renewal.outcome
        };
        match self.lasting.logins.refreshes.refresh(&session, now, patience, renewal).await {
            Outcome::Renewed(session) => {
                self.keep(trail, &session).await;
                match self.identifier.recognize(&session.access_token, super::clock::now()).await {
                    Ok(identity) => {
                        counts.session(SessionResult::Valid);
                        Ok(Some(Caller::Known(identity)))
                    }
                    Err(Rejection::Unauthenticated(_)) => Ok(self.end(trail)),
                    Err(rejection) => Err(rejection),
                }
            }
            Outcome::Refused => Ok(self.end(trail)),
            // The token may be good for a little longer; if not, nobody can say who this is.
            Outcome::Unavailable => match self.identifier.recognize(&session.access_token, now).await {
                Ok(identity) => {
                    counts.session(SessionResult::Valid);
                    Ok(Some(Caller::Known(identity)))
                }
                Err(_) => Err(Rejection::Login(LoginFault::Unavailable)),
            },
        }
    }

    /// Whoever cannot be remembered is not turned away for it: the next request asks again.
    async fn keep(&self, trail: &mut Trail, session: &Session) {
        match self.party.sessions().save(session, &self.facts.headers, self.facts.received_at).await {
            Ok(cookies) => cookies.into_iter().for_each(|cookie| trail.set_cookie(cookie)),
            Err(fault) => tracing::warn!(request_id = %self.facts.id, "a session is not kept: {}", fault.reason()),
        }
    }

    fn end(&self, trail: &mut Trail) -> Option<Caller> {
        self.lasting.metrics.logins.session(SessionResult::Ended);
        self.party.sessions().forget(&self.facts.headers).into_iter().for_each(|cookie| trail.set_cookie(cookie));
        None
    }
}

/// How a renewal is counted.
pub(super) fn result_of(renewal: &Renewal) -> RefreshResult {
    match renewal.outcome {
        _ if renewal.is_theirs => RefreshResult::Shared,
        Outcome::Renewed(_) => RefreshResult::Renewed,
        Outcome::Refused => RefreshResult::Refused,
        Outcome::Unavailable => RefreshResult::Unavailable,
    }
}

/// Whether a request that changes something, or opens a WebSocket, was made by a page of this site. `SameSite` alone leaves sister domains
/// and old browsers open. Every browser says one of the two; what says neither is none, and has no business with a browser's session.
pub(super) fn is_own_page(facts: &Facts, callbacks: &[crate::model::settings::Callback]) -> bool {
    let is_safe = matches!(facts.method, Method::GET | Method::HEAD | Method::OPTIONS) && !facts.is_websocket;
    if is_safe {
        return true;
    }
    match facts.header("sec-fetch-site") {
        Some(site) => matches!(site, "same-origin" | "none"),
        None => is_own_origin(&facts.headers, &facts.host, callbacks),
    }
}

/// RFC 6454: scheme, host and port. The scheme is that of the callbacks, since something before the gateway may have ended TLS.
fn is_own_origin(headers: &HeaderMap, host: &str, callbacks: &[crate::model::settings::Callback]) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let (Some(Ok(origin)), None) = (origins.next().map(http::HeaderValue::to_str), origins.next()) else { return false };
    let Some(scheme) = callbacks.first().and_then(|callback| callback.origin.split("://").next()) else { return false };
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let authority = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or(host).to_ascii_lowercase();
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    origin.split_once("://").is_some_and(|(of, site)| of == scheme && site == authority)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::model::settings::Callback;
    use crate::model::{Moment, RequestId};

    fn facts(method: Method, lines: &[(&'static str, &'static str)]) -> Facts {
        let now = Moment::new(std::time::Duration::ZERO, std::time::Duration::ZERO);
        Facts {
            method,
            host: "www.example.com".into(),
            headers: lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect(),
            ..Facts::unknown(RequestId::new(now, 0), now)
        }
    }

    const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

    #[test]
    fn d16_only_a_person_who_opens_a_page_is_sent_to_the_login() {
        for (lines, expected) in [
            (&[HTML][..], true),
            (&[HTML, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], true),
            (&[], false),
            (&[("accept", "*/*")], false),
            (&[("accept", "application/json")], false),
            (&[("accept", "*/*"), ("sec-fetch-mode", "navigate")], false),
            (&[HTML, ("sec-fetch-mode", "cors")], false),
            (&[HTML, ("sec-fetch-mode", "no-cors")], false),
            (&[HTML, ("sec-fetch-mode", "same-origin")], false),
            (&[HTML, ("x-requested-with", "XMLHttpRequest")], false),
            (&[HTML, ("sec-purpose", "prefetch;prerender")], false),
        ] {
            assert_eq!(is_navigation(&facts(Method::GET, lines)), expected, "{lines:?}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS] {
            assert!(!is_navigation(&facts(method, &[HTML])));
        }
    }

    #[test]
    fn what_another_site_sends_with_our_session_is_known() {
        let callback = |url: &str, origin: &str| {
            [Callback { url: url.into(), origin: origin.into(), host: "www.example.com".into(), path: "/cb".into() }]
        };
        let https = callback("https://www.example.com/cb", "https://www.example.com");
        for (lines, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://www.example.com")], false),
            (&[("origin", "https://www.example.com")], true),
            (&[("host", "www.example.com:443"), ("origin", "https://www.example.com")], true),
            (&[("host", "www.example.com:8443"), ("origin", "https://www.example.com:8443")], true),
            (&[("host", "www.example.com:8443"), ("origin", "https://www.example.com")], false),
            (&[("origin", "http://www.example.com")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "https://www.example.com.evil.example")], false),
            (&[("origin", "https://www.example.com"), ("origin", "https://www.example.com")], false),
            (&[("origin", "null")], false),
            (&[], false),
        ] {
            assert_eq!(is_own_page(&facts(Method::POST, lines), &https), expected, "{lines:?}");
            assert!(is_own_page(&facts(Method::GET, lines), &https));
            let socket = Facts { is_websocket: true, ..facts(Method::GET, lines) };
            assert_eq!(is_own_page(&socket, &https), expected, "WebSocket, {lines:?}");
        }
    }
}
