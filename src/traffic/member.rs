use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::model::Name;
use crate::model::settings::{HealthCheck, Outliers};

/// One server, by its address: what is known about it now. Outlives reloads, and an upstream's old and new settings share it.
///
/// Every field is written without a lock; a request that reads two of them a moment apart is off by one request at worst.
#[derive(Debug)]
pub struct Member {
    address: SocketAddr,
    label: Name,
    id: u64,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    probed: AtomicU8,
    /// Probes in a row that spoke against the present state.
    streak: AtomicU32,
    /// Requests in a row that failed.
    failures: AtomicU32,
    ejected_until: AtomicU64,
    ejections: AtomicU64,
    /// How often it was ejected lately: the length of the next ejection.
    level: AtomicU32,
    /// Since when it gets requests again; 0 if it always did.
    fresh_since: AtomicU64,
    /// What the last probe found wrong, or the last request that led to an ejection.
    why: ArcSwapOption<String>,
}

const UNCHECKED: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// What a server is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It gets requests; no probe has looked at it.
    Unchecked,
    /// It gets requests; its last probes were fine.
    Up,
    /// Probes failed.
    Down,
    /// Requests failed.
    Ejected,
}

impl Standing {
    /// The word of `/status`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Up => "up",
            Self::Down => "down",
            Self::Ejected => "ejected",
        }
    }

    /// Whether requests go there.
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Unchecked | Self::Up)
    }
}

/// One request under way on a server. Counted until it is dropped, on whatever way out.
#[derive(Debug)]
pub struct Ticket(Arc<Member>);

impl Ticket {
    /// The server.
    pub fn member(&self) -> &Arc<Member> {
        &self.0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Member {
    /// A server nobody has seen yet; `since` lets it start slowly.
    pub(super) fn new(address: SocketAddr, since: Option<Duration>) -> Self {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        Self {
            address,
            label: address.to_string().into(),
            id: hasher.finish(),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            probed: AtomicU8::new(UNCHECKED),
            streak: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            level: AtomicU32::new(0),
            fresh_since: AtomicU64::new(since.map_or(0, nanos)),
            why: ArcSwapOption::empty(),
        }
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as text, for logs and metrics.
    pub fn label(&self) -> &Name {
        &self.label
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests sent so far, every attempt.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// What was found wrong last.
    pub fn why(&self) -> Option<Arc<String>> {
        self.why.load_full()
    }

    /// Whether requests go there.
    pub fn standing(&self, now: Duration) -> Standing {
        if self.probed.load(Ordering::Relaxed) == DOWN {
            Standing::Down
        } else if self.ejected_until.load(Ordering::Relaxed) > nanos(now) {
            Standing::Ejected
        } else if self.probed.load(Ordering::Relaxed) == UP {
            Standing::Up
        } else {
            Standing::Unchecked
        }
    }

    /// Begins a request, unless `most` are under way.
    pub(super) fn enter(self: &Arc<Self>, most: Option<usize>) -> Option<Ticket> {
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        // From here on the drop of the ticket gives the place back.
        let ticket = Ticket(Arc::clone(self));
        if most.is_some_and(|most| before >= most) {
            return None;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        Some(ticket)
    }

    /// Takes the result of a probe. Returns the new state if it changed: the first probe decides alone, later ones need company.
    pub fn probed(&self, result: Result<(), String>, check: &HealthCheck, now: Duration) -> Option<bool> {
        let is_fine = result.is_ok();
        let before = self.probed.load(Ordering::Relaxed);
        if let Err(why) = result {
            self.why.store(Some(Arc::new(why)));
        }
        let agrees = matches!((before, is_fine), (UP, true) | (DOWN, false));
        if agrees {
            self.streak.store(0, Ordering::Relaxed);
            return None;
        }
        let needed = match (before, is_fine) {
            (UNCHECKED, _) => 1,
            (_, true) => check.healthy_after,
            (_, false) => check.unhealthy_after,
        };
        if self.streak.fetch_add(1, Ordering::Relaxed) + 1 < needed {
            return None;
        }
        self.streak.store(0, Ordering::Relaxed);
        if is_fine {
            self.why.store(None);
            if before == DOWN {
                self.failures.store(0, Ordering::Relaxed);
                self.fresh_since.store(nanos(now), Ordering::Relaxed);
            }
        }
        self.probed.store(if is_fine { UP } else { DOWN }, Ordering::Relaxed);
        // That an unchecked server is fine is no news.
        (before != UNCHECKED || !is_fine).then_some(is_fine)
    }

    /// Nobody probes it any more.
    pub(super) fn forget_probes(&self) {
        self.probed.store(UNCHECKED, Ordering::Relaxed);
        self.streak.store(0, Ordering::Relaxed);
    }

    /// Nobody counts its failures any more.
    pub(super) fn forget_failures(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.ejected_until.store(0, Ordering::Relaxed);
    }

    /// A request was answered properly.
    pub fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed. Returns whether that was one too many.
    pub(super) fn failed(&self, outliers: &Outliers) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= outliers.consecutive_failures
    }

    /// Takes it out for a while, longer each time, and says for how long; `None` if it is out already.
    pub(super) fn eject(&self, outliers: &Outliers, why: &str, now: Duration) -> Option<Duration> {
        let (before, now_nanos) = (self.ejected_until.load(Ordering::Acquire), nanos(now));
        if before > now_nanos {
            return None;
        }
        // Ten quiet ejections long, and the past is forgotten.
        let quiet = nanos(outliers.ejection).saturating_mul(10);
        let level = if before == 0 || now_nanos - before > quiet { 0 } else { self.level.load(Ordering::Relaxed) };
        let length = outliers.ejection.saturating_mul(level.saturating_add(1)).min(outliers.longest_ejection);
        let until = nanos(now.saturating_add(length));
        // One of several requests that failed at the same moment ejects.
        self.ejected_until.compare_exchange(before, until, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        self.level.store(level.saturating_add(1), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.fresh_since.store(until, Ordering::Relaxed);
        self.why.store(Some(Arc::new(why.to_owned())));
        Some(length)
    }

    /// How much of its share it gets, in thousandths.
    pub(super) fn ramp(&self, slow_start: Duration, now: Duration) -> u64 {
        const LEAST: u64 = 100;
        let since = self.fresh_since.load(Ordering::Relaxed);
        if since == 0 || slow_start.is_zero() {
            return 1_000;
        }
        let elapsed = nanos(now).saturating_sub(since);
        (u128::from(elapsed) * 1_000 / slow_start.as_nanos()).try_into().unwrap_or(1_000_u64).clamp(LEAST, 1_000)
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
