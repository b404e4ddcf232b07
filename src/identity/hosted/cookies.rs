use http::{HeaderMap, HeaderValue};

use crate::identity::carried::cookies;
use crate::identity::session::Session;
use crate::model::settings::HostedBackend;
use crate::model::{Moment, Rejection, TokenFault};

/// A cookie's name, value and attributes: RFC 6265 6.1 asks browsers for no more.
const ONE_COOKIE: usize = 4096;
const ACCESS: &str = HostedBackend::COOKIES[0];
const REFRESH: &str = HostedBackend::COOKIES[1];
const ID: &str = HostedBackend::COOKIES[2];
const EXPIRY: &str = HostedBackend::COOKIES[3];

/// The four cookies of the contract: names, attributes, lifetimes.
#[derive(Debug)]
pub(super) struct Cookies {
    /// Behind the value and the lifetime; the domain in it.
    attributes: String,
    lifetime: u64,
}

impl Cookies {
    pub(super) fn new(settings: &HostedBackend) -> Self {
        let domain = settings.cookie_domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        Self { attributes: format!("; Path=/{domain}; Secure; SameSite=Lax"), lifetime: settings.lifetime.as_secs() }
    }

    /// `None` if one is too long for browsers. The id_token is left out rather than that: it is for pages to look at.
    pub(super) fn set(&self, session: &Session, refresh_token: Option<&str>, now: Moment) -> Option<Vec<HeaderValue>> {
        let now = now.unix_seconds();
        let left = session.expires.saturating_sub(now);
        let rest = self.lifetime.saturating_sub(now.saturating_sub(session.began));
        let mut fields = vec![
            self.field(ACCESS, &session.access_token, left, true)?,
            self.field(EXPIRY, &session.expires.to_string(), left, false)?,
        ];
        if let Some(refresh_token) = refresh_token {
            fields.push(self.field(REFRESH, refresh_token, rest, true)?);
        }
        match session.id_token.as_deref().map(|token| self.field(ID, token, rest, false)) {
            Some(Some(field)) => fields.push(field),
            Some(None) => tracing::warn!("an id_token is too long for the cookie {ID}, so that pages do not get it"),
            None => {}
        }
        Some(fields)
    }

    /// The end of all of them.
    pub(super) fn end(&self) -> Vec<HeaderValue> {
        let fields = [(ACCESS, true), (REFRESH, true), (ID, false), (EXPIRY, false)];
        fields.into_iter().filter_map(|(name, hidden)| self.field(name, "", 0, hidden)).collect()
    }

    /// The access token: exactly one.
    pub(super) fn access_token<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Rejection> {
        let mut found = named(ACCESS, headers).filter(|value| !value.is_empty());
        match (found.next(), found.next()) {
            (None, _) => Err(Rejection::Unauthenticated(TokenFault::Missing)),
            (Some(token), None) => std::str::from_utf8(token).map_err(|_| Rejection::Unauthenticated(TokenFault::Malformed)),
            (Some(_), Some(_)) => Err(Rejection::Unauthenticated(TokenFault::Malformed)),
        }
    }

    pub(super) fn has_access_token(&self, headers: &HeaderMap) -> bool {
        named(ACCESS, headers).next().is_some()
    }

    /// Every refresh token that the browser sent: other hosts of the domain can add some.
    pub(super) fn refresh_tokens<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h [u8]> {
        const MOST: usize = 4;
        named(REFRESH, headers).take(MOST)
    }

    /// Whether a `Set-Cookie` field is for one of the four.
    pub(super) fn sets_ours(&self, field: &[u8]) -> bool {
        let end = field.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(field.len());
        let name = field.get(..end).unwrap_or_default().trim_ascii();
        HostedBackend::COOKIES.iter().any(|ours| ours.as_bytes() == name)
    }

    fn field(&self, name: &str, value: &str, seconds: u64, is_hidden: bool) -> Option<HeaderValue> {
        let hidden = if is_hidden { "; HttpOnly" } else { "" };
        let field = format!("{name}={value}; Max-Age={seconds}{}{hidden}", self.attributes);
        if field.len() > ONE_COOKIE { None } else { HeaderValue::try_from(field).ok() }
    }
}

fn named<'h>(name: &'static str, headers: &'h HeaderMap) -> impl Iterator<Item = &'h [u8]> {
    cookies(headers).filter(move |(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
}
