use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::jar::{Found, Jar};
use super::{Seals, Session};
use crate::model::settings::{self, SessionStore};
use crate::model::{LoginFault, Moment};

/// The sessions of one configuration: from a request's cookies to what they stand for, and back.
pub struct Sessions {
    settings: settings::Sessions,
    seals: Arc<Seals>,
    jar: Jar,
}

/// What a request says about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing.
    Nothing,
    /// One that has ended, or cookies that are none of ours: the browser should forget them.
    Ended {
        /// Sealed by us, and too old.
        was_ours: bool,
    },
    /// One that lasts.
    Live(Box<Session>),
}

impl Sessions {
    pub(in crate::identity) fn new(settings: &settings::Sessions, seals: &Arc<Seals>) -> Self {
        Self { settings: settings.clone(), seals: Arc::clone(seals), jar: Jar::new(settings) }
    }

    pub(in crate::identity) fn jar(&self) -> &Jar {
        &self.jar
    }

    /// The session that the cookies of a request stand for.
    ///
    /// # Errors
    /// `Unavailable` if it is kept elsewhere, and nobody answers there.
    pub async fn open(&self, headers: &HeaderMap, now: Moment) -> Result<Opened, LoginFault> {
        let sealed = match self.jar.find(headers) {
            Found::Nothing => return Ok(Opened::Nothing),
            Found::Broken => return Ok(Opened::Ended { was_ours: false }),
            Found::Whole(sealed) => sealed,
        };
        match self.settings.store {
            SessionStore::Cookie => Ok(self.unseal(&sealed, now)),
        }
    }

    fn unseal(&self, sealed: &[u8], now: Moment) -> Opened {
        let opened = self.seals.open(self.jar.name(), sealed);
        let Some(session) = opened.and_then(|(id, plain)| Session::decode(id, &plain)) else {
            return Opened::Ended { was_ours: false };
        };
        if session.has_ended(now, self.settings.idle, self.settings.absolute) {
            return Opened::Ended { was_ours: true };
        }
        Opened::Live(Box::new(session))
    }

    /// The `Set-Cookie` fields with which the browser that sent `headers` gets or keeps this session.
    ///
    /// # Errors
    /// `TooLarge` if the tokens do not fit, also without the id_token; `Unavailable` if it is to be kept elsewhere, and nobody answers there.
    pub async fn save(&self, session: &Session, headers: &HeaderMap, now: Moment) -> Result<Vec<HeaderValue>, LoginFault> {
        match self.settings.store {
            SessionStore::Cookie => {
                let seconds = self.lasts(session, now);
                let pack = |with_id_token| {
                    let sealed = self.seals.seal(self.jar.name(), &session.id, &session.encode(with_id_token))?;
                    self.jar.pack(&sealed, seconds, headers)
                };
                pack(true).or_else(|| pack(false)).ok_or(LoginFault::TooLarge)
            }
        }
    }

    /// The `Set-Cookie` fields with which the browser that sent `headers` forgets its session.
    pub fn forget(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        self.jar.empty(headers)
    }

    /// Whether so much of the idle time is gone that this request should be written down. Not with each one: a cookie takes bytes.
    pub fn is_worth_touching(&self, session: &Session, now: Moment) -> bool {
        now.unix_seconds().saturating_sub(session.seen) >= (self.settings.idle.as_secs() / 10).clamp(1, 60)
    }

    /// `Cookie` without the cookies that no upstream may see, the others byte for byte; `None` if there is nothing to take out.
    pub fn without_ours(&self, field: &HeaderValue) -> Option<Option<HeaderValue>> {
        let left = self.jar.without_ours(field.as_bytes())?;
        Some(if left.is_empty() { None } else { HeaderValue::from_bytes(&left).ok() })
    }

    /// Whether a `Set-Cookie` is for a cookie that no upstream may set.
    pub fn sets_ours(&self, field: &HeaderValue) -> bool {
        self.jar.sets_ours(field.as_bytes())
    }

    /// Until its first end, in seconds.
    fn lasts(&self, session: &Session, now: Moment) -> u64 {
        let age = now.unix_seconds().saturating_sub(session.began);
        self.settings.idle.min(self.settings.absolute).as_secs().min(self.settings.absolute.as_secs().saturating_sub(age))
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("settings", &self.settings).finish_non_exhaustive()
    }
}
