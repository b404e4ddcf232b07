use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::model::settings::{Billing, OnFull};
use crate::model::{Name, Usage};

use super::meter::{Fold, Folded, Row, Tally};
use super::sqlite::Store;
use super::writer;

/// Locks over which accounts are spread. All lines of a request go through one of them, so they are written together.
const SHARDS: usize = 32;
/// Rows that may wait in memory: about 40 MB. Beyond it new rows are not taken in.
const MAX_ROWS: usize = 200_000;
/// How long the last handle that is dropped without [`Ledger::close`] tries to write what is left.
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// Where settled usage goes. Cheap to clone; one thread writes.
#[derive(Clone)]
pub struct Ledger(Arc<Handle>);

/// What operators see of the ledger. `settled = committed + pending + unbilled`, always.
#[derive(Clone, Debug)]
pub struct LedgerStatus {
    /// How it is doing.
    pub state: LedgerState,
    /// In memory, not on disk yet.
    pub pending: Tally,
    /// On disk, of this epoch.
    pub committed: Tally,
    /// Lost: there was neither disk nor memory for it, or it came after the end.
    pub unbilled: Tally,
    /// The same by meter; meters that lost nothing are not in it.
    pub unbilled_by_meter: Vec<(Name, Tally)>,
    /// Unix milliseconds of the last commit.
    pub last_commit_ms: Option<u64>,
    /// Why the last attempt failed; stays after recovery.
    pub last_error: Option<String>,
    /// Which start of a gateway on this file this is, from 1.
    pub epoch: u64,
    /// The name of the file, made with it.
    pub node: Name,
}

/// Whether usage can be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerState {
    /// Yes.
    Ok,
    /// No, but memory still takes it; tried again every 0.1 to 1 seconds.
    Failing,
    /// No, and new rows are lost.
    Full,
}

impl LedgerState {
    /// Every state, for series that exist from the first scrape.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Failing, Self::Full];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Full => "full",
        }
    }
}

/// Why a ledger cannot be opened or read. Every text names the file.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No `billing:` section.
    #[error("`billing.ledger` is not set, so there is no file to keep usage in")]
    NotConfigured,
    /// The operating system refused.
    #[error("{path}: cannot be opened: {source}", path = path.display())]
    Unreadable {
        /// The ledger.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Not a database, or another program's.
    #[error("{path}: is not a tollgate ledger; name another file or move this one away", path = path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// From a later release.
    #[error("{path}: was written by a newer tollgate (schema {found}, this one knows {known})", path = path.display())]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known schema.
        known: i64,
    },
    /// Damaged.
    #[error("{path}: is damaged ({text}); restore a backup, or recover it with `sqlite3 FILE .recover`", path = path.display())]
    Damaged {
        /// The ledger.
        path: PathBuf,
        /// What SQLite found.
        text: String,
    },
    /// Anything else that SQLite says.
    #[error("{path}: {text}", path = path.display())]
    Failed {
        /// The ledger.
        path: PathBuf,
        /// What it said.
        text: String,
    },
    /// A report is asked to group by something that no row has.
    #[error("cannot group by `{name}`; known are {known}")]
    UnknownGroup {
        /// As asked.
        name: String,
        /// With commas.
        known: String,
    },
}

impl Ledger {
    /// Opens or creates the file, takes the next epoch in it, and starts the thread that writes.
    pub fn open(billing: &Billing) -> Result<Self, LedgerError> {
        let path = billing.ledger.as_deref().ok_or(LedgerError::NotConfigured)?;
        let store = Store::open(path)?;
        let shared = Arc::new(Shared::new(store.node(), store.epoch(), billing));
        let thread =
            writer::start(shared.clone(), store).map_err(|source| LedgerError::Unreadable { path: path.to_owned(), source })?;
        let _ = shared.writer.set(thread);
        Ok(Self(Arc::new(Handle { shared })))
    }

    /// Whether a request that will owe something may be let in: false while nothing can be written and `on_full` is `reject`.
    pub fn accepts(&self) -> bool {
        let shared = &self.0.shared;
        !shared.rejects.load(Ordering::Relaxed) || shared.state() == LedgerState::Ok
    }

    /// Takes in what a request owes. Never waits for the disk; all lines are written in one transaction.
    pub fn settle(&self, usage: Usage) {
        self.0.shared.settle(usage);
    }

    /// Applies a reload.
    pub fn set_policy(&self, on_full: OnFull, commit_every: Duration) {
        self.0.shared.set_policy(on_full, commit_every);
    }

    /// How it is doing.
    pub fn status(&self) -> LedgerStatus {
        self.0.shared.status()
    }

    /// Writes what is left and closes the file; true if all is on disk before the deadline. What is settled afterwards is
    /// counted as unbilled. A second call waits for the same end.
    pub fn close(&self, deadline: Duration) -> bool {
        let is_whole = self.0.shared.close(deadline);
        if !is_whole {
            let pending = self.status().pending;
            tracing::error!(lines = pending.lines, "usage is not on disk yet; it is lost if the process ends now");
        }
        is_whole
    }
}

/// Ends the thread with the last clone.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.shared.close(DROP_DEADLINE) {
            self.shared.abandoned.store(true, Ordering::Release);
            self.shared.wake();
        }
    }
}

/// What requests and the writing thread share.
pub(super) struct Shared {
    shards: Box<[Mutex<Shard>]>,
    hashing: ahash::RandomState,
    /// Rows in the shards and in the batch that is being written.
    rows: AtomicUsize,
    rejects: AtomicBool,
    commit_every_nanos: AtomicU64,
    is_failing: AtomicBool,
    /// Lines were lost since the last commit, and it was said.
    is_losing: AtomicBool,
    is_closing: AtomicBool,
    /// Nobody waits any more for what cannot be written.
    abandoned: AtomicBool,
    /// The writer waits for a row, and whoever opens one wakes it.
    is_asleep: AtomicBool,
    writer: OnceLock<Thread>,
    book: Mutex<Book>,
    closed: Condvar,
    node: Name,
    epoch: u64,
}

#[derive(Default)]
struct Shard {
    fold: Fold,
    is_sealed: bool,
}

/// What only the writer, operators and misfortune touch.
#[derive(Default)]
struct Book {
    writing: Tally,
    committed: Tally,
    unbilled: BTreeMap<Name, Tally>,
    last_commit_ms: Option<u64>,
    last_error: Option<String>,
    is_closed: bool,
}

/// Whether rows may still come after these.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    Ready,
    Last,
}

impl Shared {
    fn new(node: Name, epoch: u64, billing: &Billing) -> Self {
        let shared = Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hashing: ahash::RandomState::new(),
            rows: AtomicUsize::new(0),
            rejects: AtomicBool::new(false),
            commit_every_nanos: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            is_losing: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            is_asleep: AtomicBool::new(false),
            writer: OnceLock::new(),
            book: Mutex::default(),
            closed: Condvar::new(),
            node,
            epoch,
        };
        shared.set_policy(billing.on_full, billing.commit_every);
        shared
    }

    fn settle(&self, usage: Usage) {
        let Usage { account, at_ms, lines } = usage;
        let number = usize::try_from(self.hashing.hash_one(&*account) % SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(number) else { return };
        let (mut opened, mut unplaced) = (0, Vec::new());
        {
            let mut shard = shard.lock();
            for line in lines {
                if shard.is_sealed {
                    unplaced.push(line);
                    continue;
                }
                let room = self.rows.load(Ordering::Relaxed) + opened < MAX_ROWS;
                match shard.fold.add(&account, at_ms, line, room) {
                    Folded::Joined => {}
                    Folded::Opened => opened += 1,
                    Folded::Unplaced(line) => unplaced.push(line),
                }
            }
            // Before the lock is given back, so that the writer cannot subtract these rows first. The order of this and of the
            // look at `is_asleep` is what `sleep` relies on.
            if opened > 0 {
                self.rows.fetch_add(opened, Ordering::SeqCst);
            }
        }
        if opened > 0 && self.is_asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        if !unplaced.is_empty() {
            self.lose(unplaced.iter().map(|line| (&line.meter, Tally::of(line))));
        }
    }

    fn set_policy(&self, on_full: OnFull, commit_every: Duration) {
        self.rejects.store(on_full == OnFull::Reject, Ordering::Relaxed);
        let nanos = u64::try_from(commit_every.as_nanos()).unwrap_or(u64::MAX);
        self.commit_every_nanos.store(nanos, Ordering::Relaxed);
    }

    fn state(&self) -> LedgerState {
        if self.rows.load(Ordering::Relaxed) >= MAX_ROWS || self.is_closing.load(Ordering::Relaxed) {
            LedgerState::Full
        } else if self.is_failing.load(Ordering::Relaxed) {
            LedgerState::Failing
        } else {
            LedgerState::Ok
        }
    }

    fn status(&self) -> LedgerStatus {
        let book = self.book.lock();
        let mut pending = book.writing;
        self.shards.iter().for_each(|shard| pending.add(shard.lock().fold.tally()));
        let mut unbilled = Tally::default();
        book.unbilled.values().for_each(|tally| unbilled.add(*tally));
        LedgerStatus {
            state: self.state(),
            pending,
            committed: book.committed,
            unbilled,
            unbilled_by_meter: book.unbilled.iter().map(|(meter, tally)| (meter.clone(), *tally)).collect(),
            last_commit_ms: book.last_commit_ms,
            last_error: book.last_error.clone(),
            epoch: self.epoch,
            node: self.node.clone(),
        }
    }

    fn close(&self, deadline: Duration) -> bool {
        self.is_closing.store(true, Ordering::SeqCst);
        self.wake();
        let end = Instant::now() + deadline;
        let mut book = self.book.lock();
        while !book.is_closed {
            if self.closed.wait_until(&mut book, end).timed_out() {
                break;
            }
        }
        book.is_closed
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            self.is_asleep.store(false, Ordering::SeqCst);
            writer.unpark();
        }
    }

    fn lose<'a>(&self, lines: impl Iterator<Item = (&'a Name, Tally)>) {
        let mut book = self.book.lock();
        for (meter, tally) in lines {
            book.unbilled.entry(meter.clone()).or_default().add(tally);
        }
        drop(book);
        if !self.is_losing.swap(true, Ordering::Relaxed) {
            tracing::error!("usage is lost: it can neither be written down nor kept in memory; the status page says how much");
        }
    }
}

/// The writer's side.
impl Shared {
    pub(super) fn commit_every(&self) -> Duration {
        Duration::from_nanos(self.commit_every_nanos.load(Ordering::Relaxed))
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    pub(super) fn has_rows(&self) -> bool {
        self.rows.load(Ordering::SeqCst) > 0
    }

    /// Waits until a row is opened, the ledger is closed, or the time is over. Either whoever opens a row sees `is_asleep`, or
    /// the row is seen here.
    pub(super) fn sleep(&self, at_most: Option<Duration>) {
        self.is_asleep.store(true, Ordering::SeqCst);
        if !self.has_rows() && !self.is_closing() {
            match at_most {
                Some(time) => std::thread::park_timeout(time),
                None => std::thread::park(),
            }
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    /// Moves all waiting rows out.
    pub(super) fn take(&self, take: Take) -> Vec<Row> {
        let mut rows = Vec::new();
        // The status page must not look while rows are neither here nor there.
        let mut book = self.book.lock();
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.is_sealed |= take == Take::Last;
            shard.fold.drain_into(&mut rows);
        }
        rows.iter().for_each(|row| book.writing.add(row.tally));
        rows
    }

    pub(super) fn committed(&self, rows: &[Row], at_ms: u64) {
        let mut book = self.book.lock();
        let written = std::mem::take(&mut book.writing);
        book.committed.add(written);
        book.last_commit_ms = Some(at_ms);
        drop(book);
        self.rows.fetch_sub(rows.len(), Ordering::SeqCst);
        self.is_losing.store(false, Ordering::Relaxed);
        if self.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!(rows = rows.len(), "usage can be written down again");
        }
    }

    pub(super) fn failed(&self, text: String) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::error!(error = %text, "usage cannot be written down and is kept in memory; trying again");
        }
        self.book.lock().last_error = Some(text);
    }

    /// Counts rows as lost that nobody waits for any more.
    pub(super) fn give_up(&self, rows: &[Row]) {
        self.book.lock().writing = Tally::default();
        self.rows.fetch_sub(rows.len(), Ordering::SeqCst);
        self.lose(rows.iter().map(|row| (&row.meter, row.tally)));
    }

    pub(super) fn closed(&self) {
        self.book.lock().is_closed = true;
        self.closed.notify_all();
    }
}

#[cfg(test)]
mod tests;
