use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::member::nanos;

/// How many retries an upstream is good for: a share of its requests, and a few for quiet times.
///
/// Without it an upstream that fails gets twice the load of one that works, just when it can bear it least.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// Thousandths of a retry.
    tokens: AtomicU64,
    refilled_at: AtomicU64,
}

const ONE: u64 = 1_000;
/// What is there at the start, and comes back by itself at one a second.
const RESERVE: u64 = 10 * ONE;
/// What busy times can save up.
const MOST: u64 = 100 * ONE;

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self { tokens: AtomicU64::new(RESERVE), refilled_at: AtomicU64::new(0) }
    }

    /// A request came in.
    pub(super) fn deposit(&self, percent: u32) {
        let add = u64::from(percent) * ONE / 100;
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
            (tokens < MOST).then(|| tokens.saturating_add(add).min(MOST))
        });
    }

    /// Whether one may be tried again; takes it from the budget if so.
    pub(super) fn withdraw(&self, now: Duration) -> bool {
        self.refill(now);
        self.tokens.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |tokens| tokens.checked_sub(ONE)).is_ok()
    }

    fn refill(&self, now: Duration) {
        let now = nanos(now);
        let before = self.refilled_at.load(Ordering::Relaxed);
        let seconds = now.saturating_sub(before) / 1_000_000_000;
        let is_mine = seconds > 0 && self.refilled_at.compare_exchange(before, now, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_mine && before != 0 {
            let _ = self.tokens.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |tokens| {
                (tokens < RESERVE).then(|| tokens.saturating_add(seconds.saturating_mul(ONE)).min(RESERVE))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(86_400);

    fn drained() -> RetryBudget {
        let budget = RetryBudget::new();
        while budget.withdraw(START) {}
        budget
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_tried_again() {
        let budget = drained();
        for _ in 0..50 {
            budget.deposit(20);
        }
        let granted = (0..50).filter(|_| budget.withdraw(START)).count();
        assert_eq!(granted, 10);
    }

    #[test]
    fn quiet_times_bring_back_ten_at_one_a_second() {
        let budget = drained();
        assert!(!budget.withdraw(START + Duration::from_millis(900)));
        let later = START + Duration::from_secs(3);
        assert_eq!((0..20).filter(|_| budget.withdraw(later)).count(), 3);
        let much_later = START + Duration::from_secs(3_600);
        assert_eq!((0..20).filter(|_| budget.withdraw(much_later)).count(), 10);
    }

    #[test]
    fn busy_times_save_up_no_more_than_a_hundred() {
        let budget = RetryBudget::new();
        for _ in 0..10_000 {
            budget.deposit(100);
        }
        assert_eq!((0..200).filter(|_| budget.withdraw(START)).count(), 100);
    }
}
