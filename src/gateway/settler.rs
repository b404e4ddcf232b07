use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Gateway, Permit, Snapshot, Trail, settle};
use crate::model::{Decision, Ending, Moment, Outcome};

/// Settles finished requests on a thread of its own, many at a time.
///
/// A request's client does not wait for its accounting, and its thread should not do it: between two requests the rules' and
/// metrics' code has long left the processor's caches, and settling one request costs several times what it costs in a row of fifty.
/// Measured on the whole process, that row is worth more than all five rules of the comparison cost.
pub struct Settler {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How long a finished request may wait. Added to the ledger's `commit_every` when one asks what a `kill -9` can lose.
const SETTLE_EVERY: Duration = Duration::from_millis(2);

/// Requests that wait; beyond it they are settled where they ended, which slows down who sends them.
const WAITING: usize = 8_192;

/// Fewer threads than this meet at a lock.
const SHARDS: usize = 8;

/// A request that is over, with everything that accounting needs.
pub struct Settlement {
    /// The gateway it went through.
    pub gateway: Arc<Gateway>,
    /// The configuration it began with.
    pub snapshot: Arc<Snapshot>,
    /// What the stages found.
    pub trail: Trail,
    /// Present if it was let through.
    pub permit: Option<Permit>,
    /// Present if the gateway answered it.
    pub ending: Option<Ending>,
    /// What the `on_response` rules recorded.
    pub reviewed: Option<Decision>,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: Moment,
}

struct Queue {
    shards: [Mutex<Vec<Settlement>>; SHARDS],
    waiting: AtomicUsize,
    closed: AtomicBool,
    asleep: Mutex<()>,
    wake: Condvar,
}

impl Settler {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start() -> io::Result<Self> {
        let queue = Arc::new(Queue {
            shards: std::array::from_fn(|_| Mutex::new(Vec::new())),
            waiting: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            asleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let theirs = Arc::clone(&queue);
        let thread = thread::Builder::new().name("settler".into()).spawn(move || theirs.run())?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Takes a finished request; it is settled within two milliseconds, or at once if too many wait or the end was near.
    pub fn take(&self, settlement: Settlement) {
        let queue = &self.queue;
        if queue.closed.load(Ordering::Acquire) || queue.waiting.load(Ordering::Relaxed) >= WAITING {
            settlement.settle();
            return;
        }
        // Counted before it is there, so that the thread never takes away what was not counted yet.
        let is_first = queue.waiting.fetch_add(1, Ordering::AcqRel) == 0;
        let mut hasher = DefaultHasher::new();
        thread::current().id().hash(&mut hasher);
        let shard = usize::try_from(hasher.finish()).unwrap_or_default() % SHARDS;
        if let Some(shard) = queue.shards.get(shard) {
            shard.lock().push(settlement);
        }
        if is_first {
            // Under the lock, so that the thread cannot fall asleep between its look and its wait.
            drop(queue.asleep.lock());
            queue.wake.notify_one();
        }
    }

    /// Settles what waits and ends the thread; later requests are settled where they end.
    pub fn close(&self) {
        self.queue.closed.store(true, Ordering::Release);
        drop(self.queue.asleep.lock());
        self.queue.wake.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        self.queue.drain(&mut Vec::new());
    }
}

impl Queue {
    fn run(&self) {
        // Kept, so that neither side grows a vector again for every batch.
        let mut spare = Vec::new();
        while !self.closed.load(Ordering::Acquire) {
            let mut asleep = self.asleep.lock();
            if self.waiting.load(Ordering::Acquire) == 0 && !self.closed.load(Ordering::Acquire) {
                self.wake.wait(&mut asleep);
            }
            drop(asleep);
            thread::sleep(SETTLE_EVERY);
            self.drain(&mut spare);
        }
    }

    fn drain(&self, spare: &mut Vec<Settlement>) {
        for shard in &self.shards {
            std::mem::swap(&mut *shard.lock(), spare);
            self.waiting.fetch_sub(spare.len(), Ordering::AcqRel);
            for settlement in spare.drain(..) {
                // One request that cannot be settled must not take the others with it; the panic itself is on the standard error.
                let _ = catch_unwind(AssertUnwindSafe(|| settlement.settle()));
            }
        }
    }
}

impl Settlement {
    fn settle(self) {
        let Self { gateway, snapshot, trail, permit, ending, reviewed, mut outcome, at } = self;
        settle(&snapshot, &gateway.lasting, &trail, permit.as_ref(), ending.as_ref(), reviewed.as_ref(), &mut outcome, at);
    }
}
