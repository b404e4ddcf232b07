use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::Guard;
use super::queue::{Queue, WHOLE};
use crate::gateway::clock;

/// How often a thread is asked how late it is. Twenty wake-ups a second are nothing, and ten answers fit into one decision.
const TICK: Duration = Duration::from_millis(50);

/// Ticks after which addresses that sent nothing lately are forgotten.
const TIDY: u32 = 20;

/// How busy one worker thread is.
#[derive(Debug, Default)]
pub(super) struct Worker {
    share: AtomicU32,
}

impl Worker {
    /// For the thread that this runs on: pingora runs one runtime on each, so a task stays where it was made.
    pub(super) fn start(guard: &Arc<Guard>) -> Arc<Self> {
        let worker = Arc::new(Self::default());
        tokio::spawn(Arc::clone(&worker).listen(Arc::downgrade(guard)));
        worker
    }

    /// Whether the request that has just come is to be shed. Chance, so that no client is always the one.
    pub(super) fn sheds(&self) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        share > 0 && fastrand::u32(..WHOLE) < share
    }

    async fn listen(self: Arc<Self>, guard: Weak<Guard>) {
        let mut queue = Queue::default();
        for tick in 1_u32.. {
            let due = Instant::now() + TICK;
            tokio::time::sleep_until(due).await;
            let Some(guard) = guard.upgrade() else { return };
            let target = guard.gateway.snapshot().config.limits.queue_delay;
            self.share.store(queue.note(due.elapsed(), clock::steady(), target), Ordering::Relaxed);
            if tick.is_multiple_of(TIDY) {
                guard.clients.evict(clock::now());
            }
        }
    }
}
