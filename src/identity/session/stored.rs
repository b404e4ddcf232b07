use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::{Seals, Session};
use crate::redis::{Redis, RedisError};
use aws_lc_rs::digest::{SHA256, digest};

/// What a session is sealed for there: a cookie's text opens nothing in Redis, nor the other way round.
const STORED: &str = "a session in Redis";

/// Only over the session that it was made from: a renewal must not bring back what was logged out, nor a look at the clock what was renewed.
const REPLACE: &str = "if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end \
                       redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1";

/// Sessions in Redis. Sealed, and under names that are hashes: a dump of it is useless.
pub(in crate::identity) struct Stored {
    redis: Arc<Redis>,
    seals: Arc<Seals>,
}

impl Stored {
    pub(in crate::identity) fn new(redis: &Arc<Redis>, seals: &Arc<Seals>) -> Self {
        Self { redis: Arc::clone(redis), seals: Arc::clone(seals) }
    }

    pub(super) fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The session of this id.
    pub(super) async fn read(&self, id: &[u8; 16]) -> Result<Option<Session>, RedisError> {
        let Some(value) = self.redis.get(&name(id)).await? else { return Ok(None) };
        let sealed = value.get(8..).unwrap_or_default();
        // What another key sealed is nobody's session any more.
        Ok(self.seals.open(STORED, sealed).filter(|(of, _)| of == id).and_then(|(id, plain)| Session::decode(id, &plain)))
    }

    /// Keeps a new session.
    pub(super) async fn begin(&self, session: &Session, lifetime: Duration) -> Result<(), RedisError> {
        let value = self.value(session).ok_or(RedisError::Unexpected)?;
        self.redis.set(&name(&session.id), &value, lifetime).await
    }

    /// Keeps what a session of this generation became: false if it is another one by now, or gone.
    pub(super) async fn replace(&self, generation: u64, session: &Session, lifetime: Duration) -> Result<bool, RedisError> {
        let value = self.value(session).ok_or(RedisError::Unexpected)?;
        let lifetime = lifetime.as_millis().max(1).to_string();
        let key = name(&session.id);
        let done: u8 = self.redis.eval(REPLACE, &[&key], &[&generation.to_be_bytes(), &value, lifetime.as_bytes()]).await?;
        Ok(done == 1)
    }

    /// Forgets a session, for all gateways.
    pub(super) async fn remove(&self, id: &[u8; 16]) -> Result<(), RedisError> {
        self.redis.delete(&[&name(id)]).await.map(|_| ())
    }

    fn value(&self, session: &Session) -> Option<Vec<u8>> {
        let sealed = self.seals.seal(STORED, &session.id, &session.encode(true))?;
        Some([&session.generation.to_be_bytes()[..], sealed.as_bytes()].concat())
    }
}

/// Whoever reads names there cannot make a cookie of them.
fn name(id: &[u8; 16]) -> String {
    let hash = digest(&SHA256, id);
    let mut name = String::from("sessions:");
    for byte in hash.as_ref().iter().take(16) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
