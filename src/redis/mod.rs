//! The one connection to Redis (or Valkey), for what several gateways share.
//!
//! Nobody waits for a server that is away: [`Redis::keep_connected`] connects and connects again, on the one runtime that runs it,
//! and everybody else only asks. While there is no connection, or the last command got no answer in time, a command fails at once.

mod error;
mod link;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
pub use redis::FromRedisValue as FromReply;
use redis::{Cmd, cmd};
use tokio::sync::{Notify, watch};

pub use self::error::RedisError;
use self::link::Link;
pub use self::stream::{Entry, Follower};
use crate::model::settings;

/// Asks a Redis server. Outlives reloads; asks nobody until it [follows](Self::follow) a configuration that names one.
#[derive(Default)]
pub struct Redis {
    settings: ArcSwapOption<settings::Redis>,
    link: ArcSwapOption<Link>,
    state: watch::Sender<RedisState>,
    /// The settings changed, or a command got no answer.
    nudge: Notify,
    last_error: Mutex<Option<String>>,
    commands: AtomicU64,
    failures: AtomicU64,
}

/// How the connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedisState {
    /// No `redis:` in the configuration.
    #[default]
    Off,
    /// Not connected yet; commands wait for it as long as for their answer.
    Connecting,
    /// Connected.
    Up,
    /// Commands fail at once.
    Down,
}

/// What operators see.
#[derive(Clone, Debug)]
pub struct RedisStatus {
    /// How the connection is doing.
    pub state: RedisState,
    /// Host and port.
    pub server: Option<String>,
    /// Why the last attempt failed; `None` while connected.
    pub last_error: Option<String>,
    /// Commands sent, or meant to be.
    pub commands: u64,
    /// Those without an answer.
    pub failures: u64,
}

impl RedisState {
    /// The word in `/status`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl Redis {
    /// Takes the settings of another configuration; whoever is connected with others connects anew.
    pub fn follow(&self, settings: Option<&settings::Redis>) {
        let same = self.settings.load().as_deref() == settings;
        if !same {
            self.settings.store(settings.cloned().map(Arc::new));
            self.link.store(None);
            self.state.send_replace(if settings.is_some() { RedisState::Connecting } else { RedisState::Off });
            self.nudge.notify_one();
        }
    }

    /// Whether the configuration names a server.
    pub fn is_configured(&self) -> bool {
        self.settings.load().is_some()
    }

    /// Changes of the state, and the state now.
    pub fn state(&self) -> watch::Receiver<RedisState> {
        self.state.subscribe()
    }

    /// For operators.
    pub fn status(&self) -> RedisStatus {
        RedisStatus {
            state: *self.state.borrow(),
            server: self.settings.load().as_ref().map(|settings| format!("{}:{}", settings.host, settings.port)),
            last_error: self.last_error.lock().clone(),
            commands: self.commands.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// `GET`
    ///
    /// # Errors
    /// As for all commands: [`RedisError`], at the latest after `redis.timeout`.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, RedisError> {
        self.ask(|prefix| cmd("GET").arg(named(prefix, key)).take()).await
    }

    /// `SET key value PX lifetime`
    ///
    /// # Errors
    /// [`RedisError`]
    pub async fn set(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), RedisError> {
        self.ask(|prefix| cmd("SET").arg(named(prefix, key)).arg(value).arg("PX").arg(milliseconds(lifetime)).take()).await
    }

    /// `SET key value NX PX lifetime`: true if the key was not there. A claim that ends by itself.
    ///
    /// # Errors
    /// [`RedisError`]
    pub async fn claim(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<bool, RedisError> {
        let answer: Option<String> = self
            .ask(|prefix| cmd("SET").arg(named(prefix, key)).arg(value).arg("NX").arg("PX").arg(milliseconds(lifetime)).take())
            .await?;
        Ok(answer.is_some())
    }

    /// `DEL`: how many keys there were.
    ///
    /// # Errors
    /// [`RedisError`]
    pub async fn delete(&self, keys: &[&str]) -> Result<u64, RedisError> {
        self.ask(|prefix| cmd("DEL").arg(keys.iter().map(|key| named(prefix, key)).collect::<Vec<_>>()).take()).await
    }

    /// `EVAL`: all of the script or nothing, and nobody in between.
    ///
    /// The text goes along each time: its digest (`EVALSHA`) would be SHA-1, and the server remembers scripts by it anyway.
    ///
    /// # Errors
    /// [`RedisError`]
    pub async fn eval<T: FromReply>(&self, script: &str, keys: &[&str], arguments: &[&[u8]]) -> Result<T, RedisError> {
        self.ask(|prefix| {
            let keys: Vec<_> = keys.iter().map(|key| named(prefix, key)).collect();
            cmd("EVAL").arg(script).arg(keys.len()).arg(keys).arg(arguments).take()
        })
        .await
    }

    /// `PUBLISH`: how many listened.
    ///
    /// # Errors
    /// [`RedisError`]
    pub async fn publish(&self, channel: &str, message: &[u8]) -> Result<u64, RedisError> {
        self.ask(|prefix| cmd("PUBLISH").arg(named(prefix, channel)).arg(message).take()).await
    }

    async fn ask<T: FromReply>(&self, command: impl FnOnce(&str) -> Cmd) -> Result<T, RedisError> {
        self.commands.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer(command).await;
        if answer.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn answer<T: FromReply>(&self, command: impl FnOnce(&str) -> Cmd) -> Result<T, RedisError> {
        let settings = self.settings.load_full().ok_or(RedisError::Off)?;
        let began = tokio::time::Instant::now();
        let link = tokio::time::timeout(settings.timeout, self.link()).await.map_err(|_| RedisError::Down)??;
        let mut connection = link.connection.clone();
        let command = command(&settings.prefix);
        let patience = settings.timeout.saturating_sub(began.elapsed());
        let Ok(answer) = tokio::time::timeout(patience, command.query_async::<T>(&mut connection)).await else {
            link.doubt();
            self.nudge.notify_one();
            return Err(RedisError::Late);
        };
        answer.map_err(|error| {
            let error = RedisError::of(&error);
            if error != RedisError::Unexpected && !matches!(error, RedisError::Refused(_)) {
                link.doubt();
                self.nudge.notify_one();
            }
            error
        })
    }

    /// The connection. Waits only while the first one is being made.
    async fn link(&self) -> Result<Arc<Link>, RedisError> {
        loop {
            if let Some(link) = self.link.load_full() {
                return if link.is_doubtful() { Err(RedisError::Down) } else { Ok(link) };
            }
            let mut state = self.state.subscribe();
            let state = state.wait_for(|state| *state != RedisState::Connecting).await.map_err(|_| RedisError::Down)?;
            match *state {
                // Between the link and the state nothing waits, so this comes round at most a few times.
                RedisState::Up if self.link.load().is_some() => {}
                RedisState::Off => return Err(RedisError::Off),
                _ => return Err(RedisError::Down),
            }
        }
    }
}

fn named(prefix: &str, key: &str) -> String {
    [prefix, key].concat()
}

/// Redis refuses a lifetime of nothing.
fn milliseconds(lifetime: Duration) -> u64 {
    u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 52)
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Redis").field(&*self.state.borrow()).finish()
    }
}
