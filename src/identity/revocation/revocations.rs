use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::file::File;
use super::mark::seconds;
use super::order::{Kind, Order, Record};
use super::set::{Inserted, Revoked};
use crate::identity::webhook::Inbox;
use crate::model::{Moment, settings};

/// How often what is too old to matter is dropped.
const TIDY: Duration = Duration::from_secs(30);

/// The revocations of one gateway: in memory for requests, and in a file for restarts. Outlives reloads.
#[derive(Debug)]
pub struct Revocations {
    set: Arc<Revoked>,
    file: Option<File>,
    retention: ArcSwap<Duration>,
    counts: [[AtomicU64; Kind::ALL.len()]; Source::ALL.len()],
    last: Mutex<Option<(Source, Duration)>>,
    /// What came by webhook.
    pub inbox: Inbox,
}

/// Who asked for a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// FusionAuth, by webhook.
    Webhook,
    /// `tollgate revoke`.
    Operator,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 2] = [Self::Webhook, Self::Operator];

    /// The `source` label of metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Operator => "operator",
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
}

impl Revocations {
    /// Reads the file, if the configuration has revocations.
    ///
    /// # Errors
    /// When the file cannot be used; says which and why.
    pub fn open(identity: &settings::Identity) -> Result<Self, String> {
        let set = Arc::new(Revoked::default());
        let open = |revocation: &settings::Revocation| {
            set.limit(revocation.max_entries);
            File::open(Path::new(&revocation.file), &set)
        };
        let file = identity.revocation.as_ref().map(open).transpose()?;
        let revocations = Self {
            set,
            file,
            retention: ArcSwap::default(),
            counts: Default::default(),
            last: Mutex::default(),
            inbox: Inbox::default(),
        };
        revocations.follow(identity);
        Ok(revocations)
    }

    /// None, and none can be added: for `tollgate explain` and rule tests.
    pub fn off() -> Self {
        let (set, retention) = (Arc::default(), ArcSwap::default());
        Self { set, file: None, retention, counts: Default::default(), last: Mutex::default(), inbox: Inbox::default() }
    }

    /// Takes the settings of another configuration; the file stays the same.
    pub fn follow(&self, identity: &settings::Identity) {
        if let Some(revocation) = &identity.revocation {
            self.set.limit(revocation.max_entries);
        }
        self.retention.store(Arc::new(settings::Revocation::retention(identity.max_lifetime, identity.clock_skew)));
    }

    /// What requests look into.
    pub fn set(&self) -> &Arc<Revoked> {
        &self.set
    }

    /// Applies orders at once, and resolves when they are on disk: true if one of them was news.
    ///
    /// # Errors
    /// [`NotKept`]
    pub async fn revoke(&self, orders: &[Order], source: Source, now: Moment) -> Result<bool, NotKept> {
        let Some(file) = &self.file else { return Err(NotKept::Off) };
        let oldest = self.oldest(now);
        let records: Vec<Record> = orders.iter().map(Order::record).filter(|record| record.cutoff >= oldest).collect();
        let outcomes: Vec<Inserted> = records.iter().map(|record| self.set.insert(record)).collect();
        let fresh = orders.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Inserted::Yes);
        let mut is_news = false;
        for (order, _) in fresh {
            is_news = true;
            self.count(source, order.target.kind());
        }
        if is_news {
            *self.last.lock() = Some((source, now.unix()));
        }
        if outcomes.contains(&Inserted::Full) {
            return Err(NotKept::Full);
        }
        // Known ones, too: who asks again may do so because they could not be written the first time.
        if !records.is_empty() {
            file.write(records).await.map_err(NotKept::Unwritten)?;
        }
        Ok(is_news)
    }

    /// Whether a revocation of this instant can still hit a token.
    pub fn matters(&self, until: Duration, now: Moment) -> bool {
        seconds(until.as_secs()) >= self.oldest(now)
    }

    fn oldest(&self, now: Moment) -> u32 {
        seconds(now.unix().saturating_sub(**self.retention.load()).as_secs())
    }

    fn count(&self, source: Source, kind: Kind) {
        let counter = self.counts.get(source as usize).and_then(|counts| counts.get(kind as usize - 1));
        counter.map(|counter| counter.fetch_add(1, Ordering::Relaxed));
    }

    /// Drops what is too old to matter. Runs until cancelled.
    pub async fn keep_tidy(&self, clock: fn() -> Moment) {
        loop {
            let now = clock();
            self.set.forget_before(now.unix().saturating_sub(**self.retention.load()));
            if let Some(file) = &self.file {
                file.forget_before(self.oldest(now));
            }
            tokio::time::sleep(TIDY).await;
        }
    }

    /// Source, kind, and how many were news.
    pub fn counts(&self) -> impl Iterator<Item = (Source, Kind, u64)> {
        let of_source = |(source, counts): (Source, &'_ [AtomicU64; Kind::ALL.len()])| {
            let counts: Vec<_> =
                Kind::ALL.into_iter().zip(counts).map(|(kind, count)| (kind, count.load(Ordering::Relaxed))).collect();
            counts.into_iter().map(move |(kind, count)| (source, kind, count))
        };
        Source::ALL.into_iter().zip(&self.counts).flat_map(of_source)
    }

    /// For operators; `None` without `identity.revocation`.
    pub fn status(&self) -> Option<RevocationStatus> {
        let file = self.file.as_ref()?;
        Some(RevocationStatus { entries: self.set.len(), last: *self.last.lock(), file_error: file.last_error() })
    }
}
