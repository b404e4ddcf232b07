use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

/// A window and every call it has admitted.
struct Trial {
    window: Window,
    admitted: Vec<u64>,
    per: u64,
    phase: u32,
}

impl Trial {
    fn new(per: u64, phase: u32) -> Self {
        Self { window: Window::new(1), admitted: Vec::new(), per, phase }
    }

    fn draw(&mut self, now: u64, limit: u64) -> Result<Left, u64> {
        let (window, left) = self.window.draw(now, Ask { limit, per: self.per, phase: self.phase })?;
        self.window = window;
        self.admitted.push(now);
        Ok(left)
    }

    fn admitted_within(&self, span: u64, until: u64) -> u64 {
        self.admitted.iter().rev().take_while(|instant| until - **instant < span).count() as u64
    }

    /// The most that any span of `per` has seen; the worst one ends with a call.
    fn worst(&self) -> u64 {
        self.admitted
            .iter()
            .enumerate()
            .map(|(index, end)| {
                let older = self.admitted[..index].iter().rev().take_while(|instant| end - **instant < self.per).count();
                older as u64 + 1
            })
            .max()
            .unwrap_or(0)
    }
}

/// How long a call may count, and how many calls may be held back: the bounds that the documentation states.
fn bounds(limit: u64, per: u64) -> (u64, u64) {
    let slots = if limit <= FEW { FEW_SLOTS } else { MANY_SLOTS };
    let mut shift = 0;
    while limit > 255 << shift {
        shift += 1;
    }
    ((slots + 1) * per.div_ceil(slots), (1 << shift) - 1)
}

/// Bursts and pauses of every length that matters to a window of `per`.
fn arrivals(per: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
    let pause = prop_oneof![
        Just(0),
        Just(1),
        0..per / 1000 + 2,
        0..per / 17 + 2,
        per / 17..per / 17 + 3,
        0..per + 2,
        per - 1..per + 2,
        per..per * 3,
    ];
    prop::collection::vec((pause, 1..40_u64), 1..80)
}

fn limits() -> impl Strategy<Value = u64> {
    prop_oneof![1..=FEW, FEW + 1..256_u64, 256..3000_u64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_span_ever_sees_more_than_the_limit_and_no_refusal_is_without_cause(
        (per, pattern) in prop_oneof![Just(MINUTE), Just(SECOND), Just(7), Just(100_003), 17..5 * MINUTE]
            .prop_flat_map(|per| (Just(per), arrivals(per))),
        limit in limits(), phase: u32, start in 0..MINUTE,
    ) {
        let mut trial = Trial::new(per, phase);
        let (hold, held_back) = bounds(limit, per);
        let mut now = start;
        for (pause, calls) in pattern {
            now += pause;
            for _ in 0..calls * limit.div_ceil(40) {
                let before = trial.window;
                match trial.draw(now, limit) {
                    Ok(left) => {
                        let used = trial.admitted_within(per, now);
                        prop_assert!(used <= limit, "{used} in one span");
                        prop_assert!(left.remaining <= limit - used);
                        prop_assert!(left.reset > 0 && left.reset <= per);
                    }
                    Err(wait) => {
                        let used = trial.admitted_within(hold, now);
                        prop_assert!(used + held_back >= limit, "refused although only {used} counted");
                        prop_assert!(wait > 0 && wait <= per);
                        let ask = Ask { limit, per, phase };
                        prop_assert!(before.draw(now + wait, ask).is_ok(), "refused at the promised instant");
                        prop_assert!(before.draw(now + wait - 1, ask).is_err(), "promised too late");
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn a_limit_that_changes_holds_at_every_call(
        pattern in prop::collection::vec((prop_oneof![0..SECOND, 0..MINUTE], 1..30_u64, prop_oneof![limits(), Just(100_000)]), 1..60),
        phase: u32,
    ) {
        let mut trial = Trial::new(MINUTE, phase);
        let mut now = 0;
        for (pause, calls, limit) in pattern {
            now += pause;
            for _ in 0..calls {
                if trial.draw(now, limit).is_ok() {
                    let used = trial.admitted_within(MINUTE, now);
                    prop_assert!(used <= limit, "{used} of {limit} in one span");
                }
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_credit(
        steps in prop::collection::vec((any::<bool>(), 0..2 * MINUTE), 1..60), limit in 1..40_u64, phase: u32,
    ) {
        let mut trial = Trial::new(MINUTE, phase);
        let (mut now, mut latest) = (10 * MINUTE, 0);
        for (back, step) in steps {
            now = if back { now.saturating_sub(step) } else { now + step };
            for _ in 0..limit {
                if trial.draw(now, limit).is_ok() {
                    // A call of the past counts as one of the latest instant that was seen.
                    latest = latest.max(now);
                    *trial.admitted.last_mut().unwrap() = latest;
                }
            }
        }
        prop_assert!(trial.worst() <= limit);
    }
}

/// The form that this one replaces, to show what the difference is worth.
#[derive(Default)]
struct TwoBuckets {
    window: u64,
    previous: u64,
    current: u64,
}

impl TwoBuckets {
    fn draw(&mut self, now: u64, limit: u64, per: u64) -> bool {
        let window = now / per;
        if window != self.window {
            self.previous = if window == self.window + 1 { self.current } else { 0 };
            (self.window, self.current) = (window, 0);
        }
        let estimate = self.previous * (per - now % per) / per + self.current;
        let admits = estimate < limit;
        self.current += u64::from(admits);
        admits
    }
}

/// Sixty calls at the very end of one calendar minute, then a call every 100 ms.
fn late_burst() -> impl Iterator<Item = u64> {
    let end = 10 * MINUTE;
    std::iter::repeat_n(end - 1, 60).chain((0..600).map(move |step| end + step * SECOND / 10))
}

#[test]
fn no_minute_sees_more_than_60_where_two_buckets_let_120_through() {
    let mut ours = Trial::new(MINUTE, 0);
    let mut two = TwoBuckets::default();
    let mut admitted_by_two = 0;
    for now in late_burst() {
        let _ = ours.draw(now, 60);
        admitted_by_two += u64::from(now < 11 * MINUTE - 1 && two.draw(now, 60, MINUTE));
    }
    assert_eq!(ours.worst(), 60);
    assert_eq!(admitted_by_two, 120);
}

#[test]
fn the_61st_call_of_a_minute_waits_until_the_minute_is_over() {
    let mut trial = Trial::new(MINUTE, 77);
    for call in 0..60 {
        assert_eq!(trial.draw(5 * SECOND, 60).map(|left| left.remaining), Ok(59 - call));
    }
    assert_eq!(trial.draw(5 * SECOND, 60), Err(MINUTE));
    assert_eq!(trial.draw(64 * SECOND, 60), Err(SECOND));
    assert!(trial.draw(65 * SECOND, 60).is_ok());
}

#[test]
fn an_even_client_at_93_percent_of_the_limit_is_never_refused() {
    for limit in [1, 2, FEW, FEW + 1, 60, 255, 256, 600, 4096, 10_000] {
        let mut trial = Trial::new(MINUTE, 1 << 31);
        for call in 0..limit * 5 {
            assert!(trial.draw(call * MINUTE / limit * 100 / 93, limit).is_ok(), "call {call} at limit {limit}");
        }
    }
}

#[test]
fn a_limit_of_one_is_exact_to_the_nanosecond() {
    let mut trial = Trial::new(SECOND, 123);
    assert!(trial.draw(7, 1).is_ok());
    assert_eq!(trial.draw(SECOND + 6, 1), Err(1));
    assert!(trial.draw(SECOND + 7, 1).is_ok());
}

#[test]
fn a_higher_limit_counts_what_the_lower_one_admitted() {
    let mut trial = Trial::new(MINUTE, 9);
    for second in 0..10 {
        assert!(trial.draw(second * SECOND, 10).is_ok());
    }
    for limit in [20, 300, 70_000] {
        let used = trial.admitted.len() as u64;
        assert_eq!(trial.draw(11 * SECOND, limit).map(|left| left.remaining), Ok(limit - used - 1));
    }
    assert!(trial.draw(12 * SECOND, 5).is_err());
}

#[test]
fn the_largest_values_neither_panic_nor_wrap() {
    let most = super::super::bucket::MAX_SPAN;
    let window = Window::new(MAX_LIMIT);
    let ask = Ask { limit: MAX_LIMIT, per: most, phase: u32::MAX };
    let (window, left) = window.draw(most, ask).unwrap();
    assert_eq!(left.remaining, MAX_LIMIT - 1);
    let (window, _) = window.draw(0, ask).unwrap();
    let full = match window {
        Window::Many { shift, rest, until, .. } => Window::Many { shift, cells: [255; MANY_CELLS], rest, until },
        Window::Few { .. } => unreachable!(),
    };
    assert_eq!(full.draw(most, ask).map(|(_, left)| left), Err(most));
}
