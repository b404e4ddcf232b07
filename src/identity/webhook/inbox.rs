use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::event_log::Reading;

/// Ids that are remembered. More than a minute of the busiest FusionAuth; an event that comes again after that changes nothing either.
const IDS: usize = 16_384;

/// What came by webhook so far. Outlives reloads.
#[derive(Debug, Default)]
pub struct Inbox {
    ids: Mutex<Ids>,
    counts: [AtomicU64; Outcome::ALL.len()],
    /// The log of events, where it is read.
    pub reading: Reading,
}

#[derive(Debug, Default)]
struct Ids {
    known: HashSet<Box<str>>,
    order: VecDeque<Box<str>>,
}

/// What became of a request to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was news, and is on disk.
    Applied,
    /// It was here before, or says nothing new.
    Known,
    /// An event that revokes nothing.
    Ignored,
    /// Of a tenant that is none of ours.
    OtherTenant,
    /// So old that no token can be as old.
    Stale,
    /// Not FusionAuth's, as far as anybody can tell.
    Refused,
    /// Authentic, but not of a form that is known.
    Unreadable,
    /// The keys to check it with are missing.
    Unavailable,
    /// It holds until a restart, but could not be written down.
    Unwritten,
    /// There was no room for it.
    Full,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 10] = [
        Self::Applied,
        Self::Known,
        Self::Ignored,
        Self::OtherTenant,
        Self::Stale,
        Self::Refused,
        Self::Unreadable,
        Self::Unavailable,
        Self::Unwritten,
        Self::Full,
    ];

    /// The `result` label of `tollgate_webhook_events_total`, and what an authentic sender is told.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Known => "known",
            Self::Ignored => "ignored",
            Self::OtherTenant => "other_tenant",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
            Self::Unavailable => "unavailable",
            Self::Unwritten => "unwritten",
            Self::Full => "full",
        }
    }

    /// What FusionAuth is answered: 2xx is success to it, and everything else a failure.
    pub const fn status(self) -> u16 {
        match self {
            Self::Applied | Self::Known | Self::Ignored | Self::OtherTenant | Self::Stale => 200,
            Self::Refused => 401,
            Self::Unreadable => 400,
            Self::Unavailable | Self::Unwritten | Self::Full => 503,
        }
    }
}

impl Inbox {
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.lock().known.contains(id)
    }

    pub(super) fn remember(&self, id: &str) {
        let mut ids = self.ids.lock();
        if ids.known.insert(id.into()) {
            ids.order.push_back(id.into());
        }
        if ids.order.len() > IDS
            && let Some(oldest) = ids.order.pop_front()
        {
            ids.known.remove(&oldest);
        }
    }

    /// Counts a request.
    pub fn count(&self, outcome: Outcome) {
        self.counts.get(outcome as usize).map(|count| count.fetch_add(1, Ordering::Relaxed));
    }

    /// Requests by what became of them.
    pub fn counts(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_forgotten_in_their_order() {
        let inbox = Inbox::default();
        (0..=IDS).for_each(|number| inbox.remember(&number.to_string()));
        inbox.remember("1");
        assert!(!inbox.has("0"));
        assert!(inbox.has("1") && inbox.has(&IDS.to_string()));
        assert_eq!(inbox.ids.lock().known.len(), IDS);
    }
}
