//! Logging out: of the gateway's session, and then of the issuer's.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{ALLOW, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

use crate::gateway::identify::is_own_page;
use crate::gateway::snapshot::Identification;
use crate::gateway::{Lasting, Snapshot, Trail};
use crate::identity::revocation::{NotKept, Order, Source, Target};
use crate::identity::{Identifier, Opened, RelyingParty};
use crate::model::settings::{FixedAnswer, Logout};
use crate::model::{Ending, Facts, Identity, LoginFault, Moment, Rejection};

/// Answers if the request is for the logout, by a person or by the issuer.
pub(super) async fn answer(snapshot: &Snapshot, lasting: &Lasting, trail: &mut Trail) -> Result<(), Ending> {
    let (Some(party), Identification::Tokens(identifier)) = (snapshot.login(), snapshot.identification()) else {
        return Ok(());
    };
    let desk = Desk { party, identifier, lasting };
    let (facts, settings) = (trail.facts(), &snapshot.config.identity.logout);
    if party.callback(&facts.host).is_none() {
        return Ok(());
    }
    match facts.path.as_str() {
        path if path == settings.path => Err(Box::pin(desk.person(settings, trail, &facts)).await),
        path if path == settings.front_channel => Err(Box::pin(desk.front_channel(trail, &facts)).await),
        _ => Ok(()),
    }
}

struct Desk<'a> {
    party: &'a RelyingParty,
    identifier: &'a Identifier,
    lasting: &'a Lasting,
}

impl Desk<'_> {
    /// A form of this site logs out, and so does a link of it. Everybody else is asked first: a page of another site can lead people here, and
    /// an image that it shows is no wish of anybody.
    async fn person(&self, settings: &Logout, trail: &mut Trail, facts: &Facts) -> Ending {
        let party = self.party;
        let is_wanted = match facts.method {
            Method::POST if is_own_page(facts, &party.login().callbacks) => true,
            Method::POST => return Rejection::Login(LoginFault::CrossSite).into(),
            Method::GET => {
                facts.header("sec-fetch-site") == Some("same-origin")
                    && facts.header("sec-fetch-mode") == Some("navigate")
                    && facts.header("sec-fetch-dest") == Some("document")
                    && !facts.headers.contains_key("sec-purpose")
            }
            _ => return fixed(405, TEXT, "", vec![(ALLOW, HeaderValue::from_static("GET, POST"))]),
        };
        if !is_wanted {
            return question();
        }
        let after = match (&settings.after, party.callback(&facts.host)) {
            (Some(after), _) => after.clone(),
            (None, Some(callback)) => format!("{}/", callback.origin),
            (None, None) => return Rejection::Login(LoginFault::Invalid).into(),
        };
        self.end(trail, facts).await;
        match party.logout(&after, facts.received_at).await {
            // 303: the browser asks for that page, also after a form.
            Some(location) => fixed(303, TEXT, "", vec![(LOCATION, location), NO_REFERRER]),
            None => Rejection::Internal.into(),
        }
    }

    /// OpenID Connect Front-Channel Logout: the issuer's logout page shows this one in a frame. Only that page may: its address is in `Referer`,
    /// which browsers write. A page on the issuer's host that hides it is believed as far as the browser says that it is of the same site.
    async fn front_channel(&self, trail: &mut Trail, facts: &Facts) -> Ending {
        let party = self.party;
        if facts.method != Method::GET {
            return fixed(405, TEXT, "", vec![(ALLOW, HeaderValue::from_static("GET"))]);
        }
        let origin = party.public_origin();
        let is_theirs = match facts.header("referer") {
            Some(referer) => referer.strip_prefix(&origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            None => matches!(facts.header("sec-fetch-site"), Some("same-site" | "same-origin")),
        };
        let query = facts.query.as_deref().unwrap_or_default();
        let issuer = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "iss").map(|(_, value)| value);
        if !is_theirs || issuer.is_some_and(|issuer| issuer != party.issuer().issuer) {
            return Rejection::Login(LoginFault::CrossSite).into();
        }
        self.end(trail, facts).await;
        page(GONE, &format!("frame-ancestors {origin}"))
    }

    /// The session is over, whoever has a copy of its cookies, and the browser forgets them.
    async fn end(&self, trail: &mut Trail, facts: &Facts) {
        let (party, lasting) = (self.party, self.lasting);
        let (sessions, now) = (party.sessions(), facts.received_at);
        // A store that does not answer keeps a session for others, but this browser is rid of it.
        if let Ok(Opened::Live(session)) = sessions.open(&facts.headers, now).await {
            let until = session.began.saturating_add(party.login().session.absolute.as_secs());
            lasting.logins.ended.insert(session.id, until, now);
            sessions.remove(&session).await;
            if let Ok(identity) = self.identifier.recognize(&session.access_token, now).await {
                take_back(lasting, &identity, now).await;
            }
        }
        sessions.forget(&facts.headers).into_iter().for_each(|cookie| trail.set_cookie(cookie));
    }
}

/// Ends what is elsewhere of a login, too: its token at other gateways and in copies of cookies, and whatever is renewed from it. FusionAuth's
/// logout does neither. Without `identity.revocation` there is nobody to tell.
pub(super) async fn take_back(lasting: &Lasting, identity: &Identity, now: Moment) {
    let Some(session) = identity.claims.text("sid") else { return };
    let tenant = identity.claims.text("tid").map(str::to_owned);
    let order = Order { target: Target::Session(session.to_owned()), tenant, until: now.unix() };
    match lasting.revocations.revoke(&[order], Source::Logout, now).await {
        Ok(_) | Err(NotKept::Off) => {}
        Err(error) => tracing::warn!("a logout may be forgotten: {error}"),
    }
}

/// Asks whether the person meant it.
pub(super) fn question() -> Ending {
    page(QUESTION, "frame-ancestors 'none'")
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const NO_REFERRER: (HeaderName, HeaderValue) = (REFERRER_POLICY, HeaderValue::from_static("no-referrer"));

/// The form posts to the page's own address, so that no text of a request is in the page.
const QUESTION: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Log out</title></head>\n\
    <body><form method=\"post\"><p>Do you want to log out?</p><button>Log out</button></form></body></html>\n";
const GONE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Logged out</title></head></html>\n";

fn page(text: &'static str, ancestors: &str) -> Ending {
    let policy = HeaderValue::try_from(format!("default-src 'none'; {ancestors}"));
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    let nosniff = (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fixed(200, HTML, text, vec![(CONTENT_SECURITY_POLICY, policy), nosniff, SAME_ORIGIN_REFERRER])
}

/// What the question's own form sends with it tells that it is ours, also from browsers without `Sec-Fetch-Site`.
const SAME_ORIGIN_REFERRER: (HeaderName, HeaderValue) = (REFERRER_POLICY, HeaderValue::from_static("same-origin"));

fn fixed(status: u16, content_type: HeaderValue, body: &'static str, headers: Vec<(HeaderName, HeaderValue)>) -> Ending {
    Ending::Fixed(Arc::new(FixedAnswer { status, content_type, body: Bytes::from_static(body.as_bytes()), headers }))
}
