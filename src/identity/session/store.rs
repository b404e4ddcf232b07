use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::jar::{Found, Jar};
use super::{Seals, Session, Shared};
use crate::model::settings::{self, SessionStore};
use crate::model::{LoginFault, Moment};
use crate::redis::{Redis, RedisError};

/// What is sealed in a cookie whose session is in Redis: the id alone counts.
const ELSEWHERE: &[u8] = b"redis";

fn unavailable(error: &RedisError) -> LoginFault {
    tracing::warn!("sessions cannot be reached: {error}");
    LoginFault::Unavailable
}

/// The sessions of one configuration: from a request's cookies to what they stand for, and back.
pub struct Sessions {
    settings: settings::Sessions,
    seals: Arc<Seals>,
    jar: Jar,
    shared: Shared,
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
    pub(in crate::identity) fn new(settings: &settings::Sessions, seals: &Arc<Seals>, redis: &Arc<Redis>) -> Self {
        let shared = Shared::new(redis, seals);
        Self { settings: settings.clone(), seals: Arc::clone(seals), jar: Jar::new(settings), shared }
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
            SessionStore::Redis => self.fetch(&sealed, now).await,
        }
    }

    async fn fetch(&self, sealed: &[u8], now: Moment) -> Result<Opened, LoginFault> {
        let Some((id, _)) = self.seals.open(self.jar.name(), sealed).filter(|(_, plain)| plain == ELSEWHERE) else {
            return Ok(Opened::Ended { was_ours: false });
        };
        let found = self.shared.read(&id).await.map_err(|error| unavailable(&error))?;
        let lasts = |session: &Session| !session.has_ended(now, self.settings.idle, self.settings.absolute);
        Ok(found.filter(lasts).map_or(Opened::Ended { was_ours: true }, |session| Opened::Live(Box::new(session))))
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

    /// The `Set-Cookie` fields with which the browser that sent `headers` gets a new session.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub async fn begin(&self, session: &Session, headers: &HeaderMap, now: Moment) -> Result<Vec<HeaderValue>, LoginFault> {
        match self.settings.store {
            SessionStore::Cookie => self.save(session, headers, now).await,
            SessionStore::Redis => {
                let seconds = self.lasts(session, now);
                self.shared.begin(session, Duration::from_secs(seconds)).await.map_err(|error| unavailable(&error))?;
                self.pointer(session, seconds, headers)
            }
        }
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
            SessionStore::Redis => {
                let seconds = self.lasts(session, now);
                let kept = self.shared.replace(session.generation, session, Duration::from_secs(seconds)).await;
                // Another gateway has renewed or ended it meanwhile, which stands.
                if kept.map_err(|error| unavailable(&error))? { self.pointer(session, seconds, headers) } else { Ok(Vec::new()) }
            }
        }
    }

    /// Keeps what a session of this generation became, where several gateways can see it: false if somebody ended it meanwhile.
    pub(in crate::identity) async fn renewed(&self, generation: u64, session: &Session, now: Moment) -> bool {
        if self.settings.store == SessionStore::Cookie {
            return true;
        }
        let lifetime = Duration::from_secs(self.lasts(session, now));
        match self.shared.replace(generation, session, lifetime).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!("new tokens are not kept, so that their session ends with this gateway's memory of it: {error}");
                true
            }
        }
    }

    /// The session is over for all gateways; a sealed cookie is not kept anywhere.
    pub async fn remove(&self, session: &Session) {
        if self.settings.store == SessionStore::Redis
            && let Err(error) = self.shared.remove(&session.id).await
        {
            tracing::warn!("a session that somebody ended goes on for other gateways: {error}");
        }
    }

    pub(in crate::identity) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The cookie of a session that is kept elsewhere.
    fn pointer(&self, session: &Session, seconds: u64, headers: &HeaderMap) -> Result<Vec<HeaderValue>, LoginFault> {
        let sealed = self.seals.seal(self.jar.name(), &session.id, ELSEWHERE).ok_or(LoginFault::Unavailable)?;
        self.jar.pack(&sealed, seconds, headers).ok_or(LoginFault::TooLarge)
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
