use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::{Instant, sleep};

use super::{Outcome, Seals, Session};
use crate::redis::{Redis, RedisError};

/// What a session is sealed for there: a cookie's text opens nothing in Redis, nor the other way round.
const STORED: &str = "a session in Redis";
const RENEWED: &str = "a renewal in Redis";
/// How long a renewal's result waits for gateways that still have the session from before.
const STANDS: Duration = Duration::from_secs(60);
/// How often those who wait for another gateway look.
const LOOK_AGAIN: Duration = Duration::from_millis(15);
/// Said instead of a sealed session when the issuer refused.
const REFUSED: &[u8] = b"refused";

/// Only over the session that it was made from: a renewal must not bring back what was logged out, nor a look at the clock what was renewed.
const REPLACE: &str = "if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end \
                       redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1";

/// A renewal, and whether another gateway did it.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// What became of it.
    pub outcome: Outcome,
    /// Nobody here asked the issuer.
    pub is_theirs: bool,
}

impl Renewal {
    const fn ours(outcome: Outcome) -> Self {
        Self { outcome, is_theirs: false }
    }

    const fn theirs(outcome: Outcome) -> Self {
        Self { outcome, is_theirs: true }
    }
}

/// What several gateways know of sessions, in Redis. Sealed, and under names that are hashes: a dump of it is useless.
pub(in crate::identity) struct Shared {
    redis: Arc<Redis>,
    seals: Arc<Seals>,
}

impl Shared {
    pub(in crate::identity) fn new(redis: &Arc<Redis>, seals: &Arc<Seals>) -> Self {
        Self { redis: Arc::clone(redis), seals: Arc::clone(seals) }
    }

    /// The session of this id.
    pub(super) async fn read(&self, id: &[u8; 16]) -> Result<Option<Session>, RedisError> {
        let Some(value) = self.redis.get(&name("session", id)).await? else { return Ok(None) };
        let sealed = value.get(8..).unwrap_or_default();
        // What another key sealed is nobody's session any more.
        Ok(self.seals.open(STORED, sealed).filter(|(of, _)| of == id).and_then(|(id, plain)| Session::decode(id, &plain)))
    }

    /// Keeps a new session.
    pub(super) async fn begin(&self, session: &Session, lifetime: Duration) -> Result<(), RedisError> {
        let value = self.value(session).ok_or(RedisError::Unexpected)?;
        self.redis.set(&name("session", &session.id), &value, lifetime).await
    }

    /// Keeps what a session of this generation became: false if it is another one by now, or gone.
    pub(super) async fn replace(&self, generation: u64, session: &Session, lifetime: Duration) -> Result<bool, RedisError> {
        let value = self.value(session).ok_or(RedisError::Unexpected)?;
        let lifetime = lifetime.as_millis().max(1).to_string();
        let key = name("session", &session.id);
        let done: u8 = self.redis.eval(REPLACE, &[&key], &[&generation.to_be_bytes(), &value, lifetime.as_bytes()]).await?;
        Ok(done == 1)
    }

    /// Forgets a session, for all gateways.
    pub(super) async fn remove(&self, id: &[u8; 16]) -> Result<(), RedisError> {
        self.redis.delete(&[&name("session", id)]).await.map(|_| ())
    }

    fn value(&self, session: &Session) -> Option<Vec<u8>> {
        let sealed = self.seals.seal(STORED, &session.id, &session.encode(true))?;
        Some([&session.generation.to_be_bytes()[..], sealed.as_bytes()].concat())
    }

    /// Runs `renewal` on one of all gateways; the others get its result. Without Redis, each gateway is alone: a one-time refresh token may
    /// then be used by two.
    pub(in crate::identity) async fn once(
        &self,
        session: &Session,
        patience: Duration,
        renewal: impl Future<Output = Outcome>,
    ) -> Renewal {
        if !self.redis.is_configured() {
            return Renewal::ours(renewal.await);
        }
        let of = format!("{}:{:016x}", name("renewal", &session.id), session.generation);
        let (claim, result) = (format!("{of}:claim"), format!("{of}:result"));
        let began = Instant::now();
        loop {
            match self.redis.get(&result).await {
                Ok(Some(value)) => return Renewal::theirs(self.told(session, &value)),
                Ok(None) => {}
                Err(_) => return Renewal::ours(renewal.await),
            }
            match self.redis.claim(&claim, b"1", patience).await {
                Ok(true) => break,
                Ok(false) if began.elapsed() >= patience => return Renewal::theirs(Outcome::Unavailable),
                Ok(false) => sleep(LOOK_AGAIN).await,
                // Whether it is claimed is not known: to wait for nobody is worse than to ask twice.
                Err(_) => break,
            }
        }
        // Between the look and the claim the one before may have finished.
        if let Ok(Some(value)) = self.redis.get(&result).await {
            return Renewal::theirs(self.told(session, &value));
        }
        let outcome = renewal.await;
        let told = match &outcome {
            Outcome::Renewed(next) => match self.seals.seal(RENEWED, &next.id, &next.encode(true)) {
                Some(sealed) => self.redis.set(&result, sealed.as_bytes(), STANDS).await,
                None => Err(RedisError::Unexpected),
            },
            Outcome::Refused => self.redis.set(&result, REFUSED, STANDS).await,
            // Another gateway may reach the issuer.
            Outcome::Unavailable => self.redis.delete(&[&claim]).await.map(|_| ()),
        };
        if let Err(error) = told {
            tracing::warn!("other gateways do not learn what became of a session: {error}");
        }
        Renewal::ours(outcome)
    }

    fn told(&self, session: &Session, sealed: &[u8]) -> Outcome {
        if sealed == REFUSED {
            return Outcome::Refused;
        }
        let opened = self.seals.open(RENEWED, sealed).filter(|(id, _)| *id == session.id);
        let next = opened.and_then(|(id, plain)| Session::decode(id, &plain));
        next.map_or(Outcome::Unavailable, |next| Outcome::Renewed(Arc::new(next)))
    }
}

/// Whoever reads names there cannot make a cookie of them.
fn name(kind: &str, id: &[u8; 16]) -> String {
    let hash = digest(&SHA256, id);
    let mut name = format!("{kind}:");
    for byte in hash.as_ref().iter().take(16) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
