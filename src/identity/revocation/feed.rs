//! Revocations of other gateways, through Redis: all that hold as a sorted set, and the latest as a stream.
//!
//! Whoever was away for a moment reads on in the stream. Whoever was away for longer than it reaches back, or finds another Redis than
//! before, reads the whole set and adds what it lacks: so also a Redis that lost everything is filled again, by all who follow it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::file::File;
use super::order::Record;
use super::set::{Inserted, Revoked};
use super::sqlite::{bytes, words};
use crate::model::Moment;
use crate::redis::{Redis, RedisError, RedisState};

const NEWS: &str = "revocations:news";
const STATE: &str = "revocations";
/// How many of the latest the stream has, about.
const LATEST: &[u8] = b"10000";
/// Revocations in one command.
const BATCH: usize = 500;
/// How long a silent stream is waited for; so long is the feed's word good.
const SILENCE: Duration = Duration::from_millis(500);
/// FusionAuth waits while others are told.
const PATIENCE: Duration = Duration::from_millis(300);

const ADD: &str = include_str!("add.lua");
const SCAN: &str = "return redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', 1000)";
/// Whether a place of the stream is still there, so that nothing after it can be missing; and the latest place.
const PLACE: &str = "local latest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local known = ARGV[1] ~= '' and #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) or 0
return {known, latest[1] and latest[1][1] or '0-0'}";

/// What this gateway hears from others, and tells them.
#[derive(Debug)]
pub(super) struct Feed {
    redis: Arc<Redis>,
    /// Something could not be told.
    is_owing: AtomicBool,
    heard: Mutex<Heard>,
    received: AtomicU64,
    sent: AtomicU64,
}

/// Steady times.
#[derive(Debug, Default)]
struct Heard {
    /// Since when there is something to follow.
    since: Option<Duration>,
    /// When everything was known the last time.
    at: Option<Duration>,
    is_stale: bool,
}

/// How the feed is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    /// Since when nothing was heard; about nothing while all is well.
    pub age: Duration,
    /// Whether everything was known once.
    pub has_begun: bool,
    /// Nothing was heard for longer than `stale_after`.
    pub is_stale: bool,
    /// Revocations that came from others.
    pub received: u64,
    /// Revocations that others got from here.
    pub sent: u64,
}

/// Where revocations go that come from others.
pub(super) struct Local<'a> {
    pub(super) set: &'a Revoked,
    pub(super) file: &'a File,
    pub(super) clock: fn() -> Moment,
    pub(super) retention: &'a (dyn Fn() -> Duration + Send + Sync),
}

impl Feed {
    pub(super) fn new(redis: &Arc<Redis>) -> Self {
        Self {
            redis: Arc::clone(redis),
            is_owing: AtomicBool::new(false),
            heard: Mutex::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// Tells others. What they do not hear now, they hear later.
    pub(super) async fn tell(&self, records: &[Record], oldest: u32, retention: Duration) {
        if !self.redis.is_configured() || records.is_empty() {
            return;
        }
        let told = tokio::time::timeout(PATIENCE, self.send(records, oldest, retention)).await;
        if !matches!(told, Ok(Ok(()))) {
            self.is_owing.store(true, Ordering::Release);
        }
    }

    async fn send(&self, records: &[Record], oldest: u32, retention: Duration) -> Result<(), RedisError> {
        let (oldest, life) = (oldest.to_string(), retention.as_millis().to_string());
        for batch in records.chunks(BATCH) {
            let values: Vec<[u8; 20]> = batch.iter().map(encode).collect();
            let mut arguments: Vec<&[u8]> = vec![oldest.as_bytes(), LATEST, life.as_bytes()];
            arguments.extend(values.iter().map(<[u8; 20]>::as_slice));
            let added: u64 = self.redis.eval(ADD, &[NEWS, STATE], &arguments).await?;
            self.sent.fetch_add(added, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Listens for ever.
    pub(super) async fn follow(&self, local: &Local<'_>) {
        let mut place = String::new();
        let mut state = self.redis.state();
        loop {
            if state.wait_for(|state| *state == RedisState::Up).await.is_err() {
                return std::future::pending().await;
            }
            let Err(error) = self.listen(&mut place, local).await;
            if matches!(error, RedisError::Refused(_) | RedisError::Unexpected) {
                tracing::error!("revocations of other gateways cannot be read: {error}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn listen(&self, place: &mut String, local: &Local<'_>) -> Result<Infallible, RedisError> {
        let mut state = self.redis.state();
        state.mark_unchanged();
        let mut follower = self.redis.follower(NEWS).await?;
        let (is_known, latest): (bool, String) = self.redis.eval(PLACE, &[NEWS], &[place.as_bytes()]).await?;
        if !is_known {
            self.take_all(local).await?;
            self.is_owing.store(true, Ordering::Release);
            *place = latest;
        }
        loop {
            if self.is_owing.swap(false, Ordering::AcqRel)
                && let Err(error) = self.give_all(local).await
            {
                self.is_owing.store(true, Ordering::Release);
                return Err(error);
            }
            self.heard.lock().at = Some((local.clock)().steady());
            let news = follower.next(place, SILENCE, BATCH).await?;
            if let Some(last) = news.last() {
                *place = last.position.clone();
                self.take(news.iter().filter_map(|entry| decode(&entry.value)), local).await;
            }
            // Another server may have been configured.
            if state.has_changed().unwrap_or(true) {
                return Err(RedisError::Down);
            }
        }
    }

    /// Everything that holds, page by page. What is added meanwhile comes with the news.
    async fn take_all(&self, local: &Local<'_>) -> Result<(), RedisError> {
        let mut cursor = "0".to_owned();
        loop {
            let (next, page): (String, Vec<(Vec<u8>, f64)>) = self.redis.eval(SCAN, &[STATE], &[cursor.as_bytes()]).await?;
            let record = |(mark, cutoff): &(Vec<u8>, f64)| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a score is what `encode` put in")]
                let cutoff = *cutoff as u32;
                Some(Record { mark: words(mark.as_slice().try_into().ok()?), cutoff })
            };
            self.take(page.iter().filter_map(record), local).await;
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn take(&self, records: impl Iterator<Item = Record>, local: &Local<'_>) {
        let fresh: Vec<Record> = records.filter(|record| local.set.insert(record) == Inserted::Yes).collect();
        self.received.fetch_add(fresh.len() as u64, Ordering::Relaxed);
        if !fresh.is_empty() {
            // If it cannot be written, the file says so itself; after a restart Redis tells it again.
            let _ = local.file.write(fresh).await;
        }
    }

    async fn give_all(&self, local: &Local<'_>) -> Result<(), RedisError> {
        let retention = (local.retention)();
        let oldest = super::mark::seconds((local.clock)().unix().saturating_sub(retention).as_secs());
        let mut records = Vec::new();
        local.set.each(|record| records.push(record));
        records.retain(|record| record.cutoff >= oldest);
        self.send(&records, oldest, retention).await
    }

    /// Looks at the clock: whether what other gateways say is known. Returns whether tokens can be vouched for.
    pub(super) fn watch(&self, now: Moment, stale_after: Duration) -> bool {
        let mut heard = self.heard.lock();
        if !self.redis.is_configured() {
            *heard = Heard::default();
            return true;
        }
        let since = *heard.since.get_or_insert(now.steady());
        let age = now.steady().saturating_sub(heard.at.unwrap_or(since));
        let is_stale = age > stale_after;
        if is_stale != std::mem::replace(&mut heard.is_stale, is_stale) {
            if is_stale {
                tracing::warn!("revocations of other gateways may be missing: nothing was heard for {} s", age.as_secs());
            } else {
                tracing::info!("revocations of other gateways are heard again");
            }
        }
        heard.at.is_some() && !is_stale
    }

    /// For operators; `None` if there is nothing to follow.
    pub(super) fn status(&self, now: Moment) -> Option<FeedStatus> {
        let heard = self.heard.lock();
        let since = heard.since?;
        Some(FeedStatus {
            age: now.steady().saturating_sub(heard.at.unwrap_or(since)),
            has_begun: heard.at.is_some(),
            is_stale: heard.is_stale,
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        })
    }
}

fn encode(record: &Record) -> [u8; 20] {
    let mut bytes = bytes(record.mark).into_iter().chain(record.cutoff.to_be_bytes());
    std::array::from_fn(|_| bytes.next().unwrap_or_default())
}

fn decode(value: &[u8]) -> Option<Record> {
    let (mark, cutoff) = value.split_at_checked(16)?;
    Some(Record { mark: words(mark.try_into().ok()?), cutoff: u32::from_be_bytes(cutoff.try_into().ok()?) })
}
