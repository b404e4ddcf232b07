use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Lasting, Settler, Snapshot, clock};
use crate::model::Moment;

/// A running gateway: the configuration in use, and what outlives it.
pub struct Gateway {
    current: ArcSwap<Snapshot>,
    /// When the process began.
    pub started_at: Moment,
    /// What outlives a reload.
    pub lasting: Lasting,
    /// Accounts for finished requests.
    pub settler: Settler,
    last_failure: Mutex<Option<FailedReload>>,
    in_flight: AtomicUsize,
    draining: AtomicBool,
    announcing: AtomicBool,
    closing: watch::Sender<bool>,
}

/// A configuration that was refused, until one is accepted again.
#[derive(Clone, Debug)]
pub struct FailedReload {
    /// When.
    pub at: Moment,
    /// The problems as `tollgate check` prints them.
    pub problems: String,
}

impl Gateway {
    /// Starts with a first configuration.
    pub fn new(snapshot: Snapshot, lasting: Lasting, settler: Settler) -> Self {
        Self {
            current: ArcSwap::from_pointee(snapshot),
            started_at: clock::now(),
            lasting,
            settler,
            last_failure: Mutex::new(None),
            in_flight: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            announcing: AtomicBool::new(false),
            closing: watch::Sender::new(false),
        }
    }

    /// The configuration in use; a request takes it once and keeps it to its end.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts another configuration in use, for requests that begin from now on.
    pub fn replace(&self, next: Snapshot) -> Arc<Snapshot> {
        *self.last_failure.lock() = None;
        self.current.swap(Arc::new(next))
    }

    /// Remembers that a configuration was refused.
    pub fn refuse(&self, failure: FailedReload) {
        *self.last_failure.lock() = Some(failure);
    }

    /// The refused configuration, if the last attempt to reload failed.
    pub fn last_failure(&self) -> Option<FailedReload> {
        self.last_failure.lock().clone()
    }

    /// A request began.
    pub fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    /// A request was settled.
    pub fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Requests that are not settled yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// From now on the gateway says that it is not ready, and that connections end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.announce();
    }

    /// From now on clients are told that their connections end.
    pub fn announce(&self) {
        self.announcing.store(true, Ordering::Release);
    }

    /// Whether clients are told that their connections end.
    pub fn is_announcing(&self) -> bool {
        self.announcing.load(Ordering::Acquire)
    }

    /// From now on no new connection comes in, and connections that would stay open for ever are closed.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Becomes true with [`Self::close`].
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Whether new requests can be served: keys are there, names were looked up, and the process is not about to stop.
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Acquire) && self.lasting.keys.ready() && self.lasting.pools.are_looked_up()
    }

    /// Whether the process is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
