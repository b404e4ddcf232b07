//! How many frames that carry nothing a client may send. Neither pingora nor the `h2` crate limits them, and each costs a worker thread
//! something: two connections full of PRIORITY keep one busy.

use super::frames::{Head, Kind};

/// What the frames of one kind may be: in any ten seconds `base`, and more for work that was really done.
struct Allowance {
    label: &'static str,
    base: u32,
    /// For each header block, that is: for each request.
    per_block: u32,
    /// For each KiB that was sent to the client, which acknowledges it by WINDOW_UPDATE and measures the path by PING meanwhile.
    per_kib: u32,
}

/// In the order of [`slot`]. What clients were seen to send, several times over: browsers one or two PRIORITY or PRIORITY_UPDATE a
/// request, gRPC a PING for each round trip of a transfer, small libraries two WINDOW_UPDATE for each DATA.
const ALLOWANCES: [Allowance; 8] = [
    Allowance { label: "h2_priority", base: 200, per_block: 4, per_kib: 0 },
    Allowance { label: "h2_rst_stream", base: 500, per_block: 0, per_kib: 0 },
    Allowance { label: "h2_settings", base: 50, per_block: 0, per_kib: 0 },
    Allowance { label: "h2_ping", base: 500, per_block: 1, per_kib: 1 },
    Allowance { label: "h2_window_update", base: 5_000, per_block: 4, per_kib: 4 },
    Allowance { label: "h2_continuation", base: 100, per_block: 3, per_kib: 0 },
    Allowance { label: "h2_empty_data", base: 200, per_block: 1, per_kib: 0 },
    Allowance { label: "h2_other", base: 200, per_block: 4, per_kib: 0 },
];

/// The number of labels.
pub(super) const KINDS: usize = ALLOWANCES.len();

/// How long a window is at least, in seconds. It has no end of its own: it is renewed when a count has used its allowance up, so a
/// connection that behaves never reads a clock.
pub(super) const WINDOW_SECONDS: u64 = 10;

/// The `reason` of a connection that was cut for a kind, for series that exist from the first scrape.
pub(super) fn labels() -> [&'static str; KINDS] {
    ALLOWANCES.map(|allowance| allowance.label)
}

/// The frames of one connection since its window began.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: [u32; KINDS],
    blocks: u32,
    /// When the window began, in seconds of the caller's clock.
    since: u64,
    /// KiB that had been sent when the window began.
    sent_before: u64,
}

impl Tally {
    /// At a time.
    pub(super) fn begin(now: u64) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// Counts a frame. Returns the place of its kind among [`labels`] if it was one too many. `sent` are bytes that the client was sent
    /// so far; `now` is asked only when an allowance is used up.
    pub(super) fn count(&mut self, head: Head, sent: u64, now: impl FnOnce() -> u64) -> Option<usize> {
        if head.kind == Kind::Headers {
            self.blocks = self.blocks.saturating_add(1);
        }
        let slot = slot(head.kind)?;
        let allowance = ALLOWANCES.get(slot)?;
        let count = self.counts.get_mut(slot)?;
        *count += 1;
        let counted = u64::from(*count);
        if counted <= u64::from(allowance.base) {
            return None;
        }
        let sent = (sent >> 10).saturating_sub(self.sent_before);
        let earned = u64::from(self.blocks) * u64::from(allowance.per_block) + sent * u64::from(allowance.per_kib);
        if counted <= u64::from(allowance.base) + earned {
            return None;
        }
        let now = now();
        if now.saturating_sub(self.since) < WINDOW_SECONDS {
            return Some(slot);
        }
        *self = Self { since: now, sent_before: self.sent_before + sent, ..Self::default() };
        None
    }
}

fn slot(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Data | Kind::Headers => None,
        Kind::Priority => Some(0),
        Kind::Reset => Some(1),
        Kind::Settings => Some(2),
        Kind::Ping => Some(3),
        Kind::WindowUpdate => Some(4),
        Kind::Continuation => Some(5),
        Kind::EmptyData => Some(6),
        Kind::Other => Some(7),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOODS: [(Kind, &str, u32); 8] = [
        (Kind::Priority, "h2_priority", 200),
        (Kind::Reset, "h2_rst_stream", 500),
        (Kind::Settings, "h2_settings", 50),
        (Kind::Ping, "h2_ping", 500),
        (Kind::WindowUpdate, "h2_window_update", 5_000),
        (Kind::Continuation, "h2_continuation", 100),
        (Kind::EmptyData, "h2_empty_data", 200),
        (Kind::Other, "h2_other", 200),
    ];

    fn head(kind: Kind) -> Head {
        Head { kind, length: 0, stream: 1, ends_headers: true }
    }

    #[test]
    fn each_kind_has_an_end() {
        for (kind, label, allowed) in FLOODS {
            let mut tally = Tally::begin(0);
            for n in 0..allowed {
                assert_eq!(tally.count(head(kind), 0, || 9), None, "{label} {n}");
            }
            let slot = tally.count(head(kind), 0, || 9).unwrap();
            assert_eq!(labels()[slot], label);
        }
    }

    #[test]
    fn a_slow_client_may_send_for_ever_and_costs_no_clock() {
        let mut tally = Tally::begin(0);
        let mut clock_was_read = 0;
        for n in 0..1_000_000_u64 {
            // 40 a second.
            let flood = tally.count(head(Kind::Ping), 0, || {
                clock_was_read += 1;
                n / 40
            });
            assert_eq!(flood, None, "{n}");
        }
        assert_eq!(clock_was_read, 1_000_000 / 501);
    }

    #[test]
    fn requests_and_transfers_earn_more() {
        let mut tally = Tally::begin(0);
        for n in 0..100_000 {
            tally.count(head(Kind::Headers), 0, || 0);
            for _ in 0..4 {
                assert_eq!(tally.count(head(Kind::Priority), 0, || 0), None, "{n}");
            }
        }
        let mut tally = Tally::begin(0);
        for kib in 0..100_000 {
            for _ in 0..4 {
                assert_eq!(tally.count(head(Kind::WindowUpdate), kib << 10, || 0), None, "{kib}");
            }
            assert_eq!(tally.count(head(Kind::Ping), kib << 10, || 0), None, "{kib}");
        }
        assert_eq!(tally.count(head(Kind::Settings), 1 << 40, || 0), None);
    }

    #[test]
    fn rapid_resets_earn_nothing_by_the_requests_that_they_reset() {
        let mut tally = Tally::begin(0);
        let last = (0..1_000).find(|_| {
            tally.count(head(Kind::Headers), 0, || 0);
            tally.count(head(Kind::Reset), 0, || 0).is_some()
        });
        assert_eq!(last, Some(500));
    }
}
