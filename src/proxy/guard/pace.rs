//! How slow a body may come. Only the time counts in which the gateway waited for the client: while an upstream takes its time, nobody
//! reads, and that is not the client's fault.

use std::time::Duration;

/// A body on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Duration>,
}

impl Pace {
    /// Nothing has come, and the wait begins. Again is no harm.
    pub(super) fn wait(&mut self, now: Duration) {
        self.waiting_since.get_or_insert(now);
    }

    /// Bytes have come. `now` is asked only if somebody waited for them.
    pub(super) fn take(&mut self, bytes: usize, now: impl FnOnce() -> Duration) {
        self.bytes += bytes as u64;
        if let Some(since) = self.waiting_since.take() {
            self.waited += now().saturating_sub(since);
        }
    }

    /// When a body that is waited for will have been slower than `rate` bytes a second on the average, after `grace` in which it may be.
    pub(super) fn deadline(&self, rate: u64, grace: Duration) -> Option<Duration> {
        let since = self.waiting_since?;
        if rate == 0 {
            return None;
        }
        let earned = Duration::from_millis(self.bytes.saturating_mul(1_000) / rate);
        Some(since + grace.saturating_add(earned).saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_at_all_ends_after_the_grace() {
        let mut pace = Pace::default();
        assert_eq!(pace.deadline(100, GRACE), None);
        pace.wait(seconds(1));
        pace.wait(seconds(5));
        assert_eq!(pace.deadline(100, GRACE), Some(seconds(11)));
        assert_eq!(pace.deadline(0, GRACE), None);
    }

    #[test]
    fn a_drip_ends_soon_after_and_the_rate_never_does() {
        let (mut now, mut drip, mut steady) = (0, Pace::default(), Pace::default());
        let mut cut = None;
        for _ in 0..100 {
            drip.wait(seconds(now));
            steady.wait(seconds(now));
            now += 1;
            if drip.deadline(100, GRACE).is_some_and(|deadline| deadline <= seconds(now)) {
                cut = cut.or(Some(now));
            }
            assert!(steady.deadline(100, GRACE).unwrap() > seconds(now));
            drip.take(1, || seconds(now));
            steady.take(100, || seconds(now));
        }
        assert_eq!(cut, Some(11));
    }

    #[test]
    fn the_upstream_s_time_is_not_the_client_s() {
        let mut pace = Pace::default();
        pace.wait(seconds(0));
        pace.take(100, || seconds(1));
        // For an hour nobody reads.
        pace.wait(seconds(3_600));
        assert_eq!(pace.deadline(100, GRACE), Some(seconds(3_610)));
    }
}
