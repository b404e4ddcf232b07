use std::cell::Cell;
use std::time::Duration;

use rhai::Dynamic;

use super::Clock;
use crate::model::settings::RuleLimits;

/// What one hook call may still use up.
///
/// Kept per thread, because Rhai's progress callback is given nothing but a number; a hook never leaves its thread. Counted here
/// and not by `set_max_operations`, which forgets what happened inside callbacks of native functions (`array.map(|x| …)`).
#[derive(Clone, Copy)]
struct Budget {
    used: u64,
    operations: u64,
    ends_at: Duration,
    clock: Clock,
}

thread_local! {
    static LEFT: Cell<Option<Budget>> = const { Cell::new(None) };
}

/// Operations before the first look at the clock: what rules usually need, so that they do not pay for it.
const BEFORE_LOOKING: u64 = 32;
/// Operations between two looks: a native function on the largest allowed value takes up to a tenth of a millisecond.
const LOOK_EVERY: u64 = 4;

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    Operations,
    Time,
}

impl Exceeded {
    /// Travels through Rhai as the token of `ErrorTerminated`.
    pub(super) fn from_token(token: &Dynamic) -> Option<Self> {
        match token.as_int() {
            Ok(1) => Some(Self::Operations),
            Ok(2) => Some(Self::Time),
            _ => None,
        }
    }
}

/// Gives the running thread a fresh budget, beginning `now`.
pub(super) fn refill(limits: &RuleLimits, now: Duration, clock: Clock) {
    LEFT.set(Some(Budget { used: 0, operations: limits.operations, ends_at: now.saturating_add(limits.time), clock }));
}

/// Takes one operation; Rhai calls this for every function call and every turn of a loop.
pub(super) fn spend() -> Option<Dynamic> {
    let mut budget = LEFT.get()?;
    if budget.used >= budget.operations {
        return Some(Dynamic::from_int(1));
    }
    budget.used += 1;
    let looks = budget.used > BEFORE_LOOKING && budget.used.is_multiple_of(LOOK_EVERY);
    if looks && (budget.clock)() > budget.ends_at {
        return Some(Dynamic::from_int(2));
    }
    LEFT.set(Some(budget));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Duration {
        Duration::from_secs(43_200)
    }

    #[test]
    fn operations_are_counted_down_to_the_limit() {
        let limits = RuleLimits { operations: 3, time: Duration::from_secs(1), string_bytes: 1 };
        refill(&limits, noon(), noon);
        assert!((0..3).all(|_| spend().is_none()));
        assert_eq!(spend().as_ref().and_then(Exceeded::from_token), Some(Exceeded::Operations));
        refill(&limits, noon(), noon);
        assert!(spend().is_none());
    }

    #[test]
    fn the_clock_is_looked_at_now_and_then() {
        let limits = RuleLimits { operations: 1_000, time: Duration::from_millis(5), string_bytes: 1 };
        refill(&limits, noon().checked_sub(Duration::from_secs(1)).unwrap(), noon);
        let spent = (0..1_000).take_while(|_| spend().is_none()).count();
        assert!(spent < (BEFORE_LOOKING + LOOK_EVERY) as usize, "{spent}");
    }
}
