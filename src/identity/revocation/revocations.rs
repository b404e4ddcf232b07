use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::feed::{Feed, FeedStatus, Local};
use super::file::File;
use super::mark::seconds;
use super::order::{Kind, Order, Record, Target};
use super::set::{Inserted, Revoked};
use crate::identity::webhook::Inbox;
use crate::model::settings::{self, OnStale};
use crate::model::{Identity, Moment};
use crate::redis::Redis;

/// How often what is too old to matter is dropped.
const TIDY: Duration = Duration::from_secs(30);
/// How often those who wait are told that something was revoked, and the age of the feed is looked at.
const BEAT: Duration = Duration::from_millis(50);

/// The revocations of one gateway: in memory for requests, in a file for restarts, and in Redis for other gateways. Outlives reloads.
#[derive(Debug)]
pub struct Revocations {
    set: Arc<Revoked>,
    file: Option<File>,
    feed: Feed,
    policy: ArcSwap<Policy>,
    counts: [[AtomicU64; Kind::ALL.len()]; Source::ALL.len()],
    last: Mutex<Option<(Source, Duration)>>,
    changes: watch::Sender<u64>,
    /// What came by webhook.
    pub inbox: Inbox,
}

#[derive(Clone, Copy, Debug)]
struct Policy {
    /// How long a revocation matters.
    retention: Duration,
    stale_after: Duration,
    on_stale: OnStale,
}

/// Who asked for a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// FusionAuth, by webhook.
    Webhook,
    /// FusionAuth's log of events.
    EventLog,
    /// `tollgate revoke`.
    Operator,
    /// Somebody who logged out here.
    Logout,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 4] = [Self::Webhook, Self::EventLog, Self::Operator, Self::Logout];

    /// The `source` label of metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::EventLog => "event_log",
            Self::Operator => "operator",
            Self::Logout => "logout",
        }
    }
}

/// Why a revocation is not sure to last. What could be applied is applied all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// No `identity.revocation` in the configuration.
    #[error("the configuration has no `identity.revocation`")]
    Off,
    /// `max_entries`
    #[error("there are as many revocations as `identity.revocation.max_entries` allows")]
    Full,
    /// The file.
    #[error("the revocation holds until a restart, but cannot be written down: {0}")]
    Unwritten(String),
}

/// What operators see.
#[derive(Clone, Debug)]
pub struct RevocationStatus {
    /// How many there are.
    pub entries: usize,
    /// Who added the last one, and when, since 1970.
    pub last: Option<(Source, Duration)>,
    /// Why the last write failed.
    pub file_error: Option<String>,
    /// What is heard from other gateways; `None` if there is nothing to hear.
    pub feed: Option<FeedStatus>,
}

impl Revocations {
    /// Reads the file, if the configuration has revocations.
    ///
    /// # Errors
    /// When the file cannot be used; says which and why.
    pub fn open(identity: &settings::Identity, redis: &Arc<Redis>) -> Result<Self, String> {
        let mut revocations = Self::off(redis);
        if let Some(revocation) = &identity.revocation {
            revocations.set.limit(revocation.max_entries);
            revocations.file = Some(File::open(Path::new(&revocation.file), &revocations.set)?);
        }
        revocations.follow(identity);
        Ok(revocations)
    }

    /// None, and none can be added: for `tollgate explain` and rule tests.
    pub fn off(redis: &Arc<Redis>) -> Self {
        let policy = Policy { retention: Duration::ZERO, stale_after: Duration::MAX, on_stale: OnStale::Allow };
        Self {
            set: Arc::default(),
            file: None,
            feed: Feed::new(redis),
            policy: ArcSwap::from_pointee(policy),
            counts: Default::default(),
            last: Mutex::default(),
            changes: watch::Sender::new(0),
            inbox: Inbox::default(),
        }
    }

    /// Takes the settings of another configuration; the file stays the same.
    pub fn follow(&self, identity: &settings::Identity) {
        let Some(revocation) = identity.revocation.as_ref().filter(|_| self.file.is_some()) else { return };
        self.set.limit(revocation.max_entries);
        self.policy.store(Arc::new(Policy {
            retention: settings::Revocation::retention(identity.max_lifetime, identity.clock_skew),
            stale_after: revocation.stale_after,
            on_stale: revocation.on_stale,
        }));
    }

    /// What requests look into.
    pub fn set(&self) -> &Arc<Revoked> {
        &self.set
    }

    /// Resolves when a caller who was known is no longer welcome.
    pub async fn revoked(&self, identity: &Identity) {
        let mut changes = self.changes.subscribe();
        while !self.set.has(identity.claims.marks(super::marks)) {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Applies orders at once, and resolves when they are on disk and other gateways were told, if they can be: true if one of them
    /// was news.
    ///
    /// # Errors
    /// [`NotKept`]
    pub async fn revoke(&self, orders: &[Order], source: Source, now: Moment) -> Result<bool, NotKept> {
        let Some(file) = &self.file else { return Err(NotKept::Off) };
        let oldest = self.oldest(now);
        let retention = self.policy.load().retention;
        let record = |order: &Order| match order {
            // FusionAuth knows nothing of it and goes on renewing the tokens of this login, so those of the next time are refused, too.
            Order { target: Target::Session(_), until, .. } if matches!(source, Source::Operator | Source::Logout) => {
                Record { cutoff: seconds((*until + retention).as_secs()), ..order.record() }
            }
            order => order.record(),
        };
        let orders: Vec<(&Order, Record)> =
            orders.iter().map(|order| (order, record(order))).filter(|(_, record)| record.cutoff >= oldest).collect();
        let (mut is_news, mut is_full) = (false, false);
        for (order, record) in &orders {
            match self.set.insert(record) {
                Inserted::Yes => {
                    is_news = true;
                    self.count(source, order.target.kind());
                }
                Inserted::Known => {}
                Inserted::Full => is_full = true,
            }
        }
        if is_news {
            *self.last.lock() = Some((source, now.unix()));
        }
        if is_full {
            return Err(NotKept::Full);
        }
        if orders.is_empty() {
            return Ok(false);
        }
        // Known ones, too: who asks again may do so because they could not be written the first time.
        let records: Vec<Record> = orders.into_iter().map(|(_, record)| record).collect();
        let (written, ()) = tokio::join!(file.write(records.clone()), self.feed.tell(&records, oldest, retention));
        written.map_err(NotKept::Unwritten)?;
        Ok(is_news)
    }

    /// Whether a revocation of this instant can still hit a token.
    pub fn matters(&self, until: Duration, now: Moment) -> bool {
        seconds(until.as_secs()) >= self.oldest(now)
    }

    fn oldest(&self, now: Moment) -> u32 {
        seconds(self.horizon(now).as_secs())
    }

    /// Before it nothing matters any more; since 1970.
    pub fn horizon(&self, now: Moment) -> Duration {
        now.unix().saturating_sub(self.policy.load().retention)
    }

    fn count(&self, source: Source, kind: Kind) {
        let counter = self.counts.get(source as usize).and_then(|counts| counts.get(kind as usize - 1));
        counter.map(|counter| counter.fetch_add(1, Ordering::Relaxed));
    }

    /// Drops what is too old to matter, listens to other gateways, and tells who waits. Runs until cancelled, on one runtime.
    pub async fn keep(&self, clock: fn() -> Moment) {
        let Some(file) = &self.file else { return std::future::pending().await };
        let retention = || self.policy.load().retention;
        let local = Local { set: &self.set, file, clock, retention: &retention };
        tokio::join!(self.feed.follow(&local), self.beat(file, clock));
    }

    async fn beat(&self, file: &File, clock: fn() -> Moment) {
        let mut tidied: Option<Duration> = None;
        loop {
            let (now, policy) = (clock(), **self.policy.load());
            let knows_all = self.feed.watch(now, policy.stale_after);
            self.set.set_blind(policy.on_stale == OnStale::Deny && !knows_all);
            let generation = self.set.generation();
            self.changes.send_if_modified(|last| std::mem::replace(last, generation) != generation);
            if tidied.is_none_or(|at| now.steady().saturating_sub(at) >= TIDY) {
                tidied = Some(now.steady());
                self.set.forget_before(self.horizon(now));
                file.forget_before(self.oldest(now));
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// How far another source was read, in its own numbers.
    pub async fn progress(&self, name: &'static str) -> Option<i64> {
        self.file.as_ref()?.progress(name).await
    }

    /// Remembers it for the next start.
    pub fn note(&self, name: &'static str, value: i64) {
        if let Some(file) = &self.file {
            file.note(name, value);
        }
    }

    /// Source, kind, and how many were news.
    pub fn counts(&self) -> Vec<(Source, Kind, u64)> {
        let mut rows = Vec::new();
        for (source, counts) in Source::ALL.into_iter().zip(&self.counts) {
            rows.extend(Kind::ALL.into_iter().zip(counts).map(|(kind, count)| (source, kind, count.load(Ordering::Relaxed))));
        }
        rows
    }

    /// For operators; `None` without `identity.revocation`.
    pub fn status(&self, now: Moment) -> Option<RevocationStatus> {
        let file = self.file.as_ref()?;
        Some(RevocationStatus {
            entries: self.set.len(),
            last: *self.last.lock(),
            file_error: file.last_error(),
            feed: self.feed.status(now),
        })
    }
}
