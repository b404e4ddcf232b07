//! The one thread that writes: sleeps until a row waits, lets others join it for a moment, writes all of them at once.

use std::io;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::ledger::{Shared, Take};
use super::meter::Row;
use super::sqlite::Store;

/// Between attempts, doubling from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// When nothing was settled for so long, the rows of the last batches are summed up.
const QUIET: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(super) fn start(shared: Arc<Shared>, store: Store) -> io::Result<Thread> {
    let took = Duration::ZERO;
    let writer = Writer { shared, store, seq: 0, began: Instant::now(), took };
    let thread = thread::Builder::new().name("ledger".to_owned()).spawn(move || writer.run())?;
    Ok(thread.thread().clone())
}

struct Writer {
    shared: Arc<Shared>,
    store: Store,
    /// The last batch that was committed.
    seq: u64,
    /// When the last batch was taken, and how long writing one takes.
    began: Instant,
    took: Duration,
}

/// Tells everybody when the thread dies of a panic: rows would gather unseen.
struct Watch(Arc<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.failed("the thread that writes has died; restart the gateway".to_owned());
        }
    }
}

impl Writer {
    fn run(mut self) {
        let _watch = Watch(self.shared.clone());
        let is_whole = loop {
            let take = self.wait();
            self.began = Instant::now();
            let rows = self.shared.take(take);
            let is_written = rows.is_empty() || self.commit(&rows);
            // One slow commit must not be forgotten by the next fast one.
            self.took = self.began.elapsed().max(self.took * 7 / 8);
            if take == Take::Last || !is_written {
                break is_written;
            }
        };
        let Self { shared, store, .. } = self;
        if let Err(text) = store.close() {
            tracing::warn!(error = %text, "the ledger was not closed properly; nothing is lost");
        }
        if is_whole {
            shared.closed();
        }
    }

    /// Until rows are due. A row that came right after the last batch was taken is due `commit_every` after that, and the time
    /// that writing takes is part of it.
    fn wait(&mut self) -> Take {
        let mut first_seen = self.began;
        while !self.shared.has_rows() && !self.shared.is_closing() {
            self.shared.sleep(self.store.has_loose_rows().then_some(QUIET));
            first_seen = Instant::now();
            if !self.shared.has_rows() && !self.shared.is_closing() {
                self.sum_up();
            }
        }
        let due = first_seen + self.shared.commit_every().saturating_sub(self.took);
        while !self.shared.is_closing() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Take::Ready;
            }
            thread::park_timeout(left);
        }
        Take::Last
    }

    /// Writes the batch, however long it takes; false if nobody waits for it any more. The rows stay the same for the same
    /// `seq`, so an attempt that failed after all was written is recognised by the next.
    fn commit(&mut self, rows: &[Row]) -> bool {
        let mut pause = FIRST_RETRY;
        loop {
            match self.store.append(self.seq + 1, rows, now_ms()) {
                Ok(()) => break,
                Err(text) => self.shared.failed(text),
            }
            if self.shared.is_abandoned() {
                self.shared.give_up(rows);
                return false;
            }
            thread::park_timeout(pause);
            pause = (pause * 2).min(LAST_RETRY);
        }
        self.seq += 1;
        self.shared.committed(rows, now_ms());
        if self.store.has_many_loose_rows() {
            self.sum_up();
        }
        true
    }

    fn sum_up(&mut self) {
        // It changes no total, so it can be left to the next time.
        if let Err(text) = self.store.sum_up() {
            tracing::debug!(error = %text, "usage of past batches was not summed up; trying again later");
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
