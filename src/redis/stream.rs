use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use redis::{FromRedisValue, cmd};
use tokio::time::timeout;

use super::link::connect;
use super::{Redis, RedisError, named};

/// Reads a stream on a connection of its own: it waits there, which nobody else may.
pub struct Follower {
    connection: MultiplexedConnection,
    stream: String,
    patience: Duration,
}

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is: what comes later compares as later for the server, not as text.
    pub position: String,
    /// The field `v`; empty if there is none.
    pub value: Vec<u8>,
}

impl Redis {
    /// Opens a connection to read a stream on, whose entries have their value in the field `v`.
    ///
    /// # Errors
    /// [`RedisError`]
    pub async fn follower(&self, stream: &str) -> Result<Follower, RedisError> {
        let settings = self.settings.load_full().ok_or(RedisError::Off)?;
        let connection = connect(&settings).await.map_err(|_| RedisError::Down)?;
        Ok(Follower {
            connection,
            stream: named(&settings.prefix, stream),
            patience: settings.timeout.max(Duration::from_secs(1)),
        })
    }
}

impl Follower {
    /// Entries after a position, as soon as there are any; none if `wait` passes before.
    ///
    /// # Errors
    /// [`RedisError`], after `wait` and as long as an answer may take.
    pub async fn next(&mut self, after: &str, wait: Duration, most: usize) -> Result<Vec<Entry>, RedisError> {
        let wait = wait.max(Duration::from_millis(1));
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(most).arg("BLOCK").arg(super::milliseconds(wait));
        read.arg("STREAMS").arg(&self.stream).arg(after);
        let patience = wait + self.patience;
        let answer = timeout(patience, read.query_async::<Option<StreamReadReply>>(&mut self.connection)).await;
        let answer = answer.map_err(|_| RedisError::Late)?.map_err(|error| RedisError::of(&error))?;
        let ids = answer.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        Ok(ids
            .map(|mut id| {
                let value = id.map.remove("v").and_then(|value| Vec::<u8>::from_redis_value(value).ok());
                Entry { position: id.id, value: value.unwrap_or_default() }
            })
            .collect())
    }
}
