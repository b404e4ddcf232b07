//! What a hostile client can do to the gateway, and where it ends. Everything here happens before anybody asks who is calling.
//!
//! | where | what |
//! |---|---|
//! | [`Guard::filter`] | addresses that are never let in, at accept |
//! | [`Guard::enter`], [`Entry::claim`] | connections in all and by address, before the TLS handshake |
//! | [`Watch`] | every byte of a connection: how long a head or a body takes, how large a head is, which HTTP/2 frames come |
//! | [`hooks`] | every request: how many are worked on, how many an address sends, how large a body is |
//!
//! `census`, `frames`, `flood`, `pace` and `queue` are state machines that know neither a clock nor a socket.

mod census;
mod entry;
mod flood;
mod frames;
pub(super) mod hooks;
mod http1;
mod http2;

mod line;
mod pace;
mod queue;
mod watch;
mod worker;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, ThreadId};

use ipnet::IpNet;
use parking_lot::Mutex;

pub(super) use entry::Entry;
pub(super) use line::Line;
pub(super) use watch::Watch;

use crate::gateway::Gateway;
use crate::metrics::Protection;
use crate::model::settings::Limits;
use crate::throttling::Throttling;
use census::Census;
use worker::Worker;

/// Addresses whose requests are counted at once; beyond it new ones share one count.
const CLIENTS: usize = 100_000;

/// What all connections share.
pub(super) struct Guard {
    gateway: Arc<Gateway>,
    census: Arc<Census>,
    clients: Throttling,
    /// One for each worker thread; there are few, and only a new connection looks.
    workers: Mutex<Vec<(ThreadId, Arc<Worker>)>>,
    /// Requests that were shed and wait for their answer.
    waiting: AtomicUsize,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("census", &self.census).finish_non_exhaustive()
    }
}

impl Guard {
    pub(super) fn new(gateway: Arc<Gateway>) -> Arc<Self> {
        let guard = Self {
            gateway,
            census: Arc::new(Census::new()),
            clients: Throttling::new(CLIENTS),
            workers: Mutex::default(),
            waiting: AtomicUsize::new(0),
        };
        guard.protection().expect_cuts(watch::REASONS.into_iter().chain(flood::labels()));
        Arc::new(guard)
    }

    fn protection(&self) -> &Protection {
        &self.gateway.lasting.metrics.protection
    }

    /// The worker thread that this runs on.
    fn worker(self: &Arc<Self>) -> Arc<Worker> {
        let here = thread::current().id();
        let mut workers = self.workers.lock();
        if let Some((_, worker)) = workers.iter().find(|(thread, _)| *thread == here) {
            return Arc::clone(worker);
        }
        let worker = Worker::start(self);
        workers.push((here, Arc::clone(&worker)));
        worker
    }
}

/// Whether an address may come at all.
fn is_welcome(limits: &Limits, ip: IpAddr) -> bool {
    !is_in(&limits.deny_ips, ip) && (limits.allow_ips.is_empty() || is_in(&limits.allow_ips, ip))
}

fn is_in(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}
