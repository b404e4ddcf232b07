use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Whether `calls` calls in `time` nanoseconds are at most `burst + time · limit / per`, without rounding.
fn within(calls: u64, time: u64, ask: Ask) -> bool {
    u128::from(calls.saturating_sub(ask.burst)) * u128::from(ask.per) <= u128::from(time) * u128::from(ask.limit)
}

proptest! {
    #[test]
    fn no_time_sees_more_than_the_burst_and_the_rate(
        limit in prop_oneof![1..100_u64, 1..5_000_000_000_u64],
        per in prop_oneof![Just(SECOND), Just(3600 * SECOND), 1..SECOND],
        burst in 1..50_u64,
        pauses in prop::collection::vec(prop_oneof![Just(0), 0..1000_u64, 0..SECOND], 1..100),
    ) {
        let ask = Ask { limit, per, burst };
        let mut pace = Pace::default();
        let mut admitted: Vec<u64> = Vec::new();
        let mut now = SECOND;
        for pause in pauses {
            now += pause;
            match pace.draw(now, ask) {
                Ok((next, left)) => {
                    pace = next;
                    admitted.push(now);
                    prop_assert!(left.remaining < burst);
                    for (index, start) in admitted.iter().enumerate() {
                        prop_assert!(within((admitted.len() - index) as u64, now - start, ask));
                    }
                    let room = (0..burst).scan(pace, |pace, _| pace.draw(now, ask).ok().map(|(next, _)| *pace = next)).count();
                    prop_assert_eq!(left.remaining, room as u64);
                    if left.reset > 0 {
                        let later = |at| (0..burst).scan(pace, |pace, _| pace.draw(at, ask).ok().map(|(next, _)| *pace = next)).count();
                        prop_assert_eq!(later(now + left.reset - 1), room);
                        prop_assert!(later(now + left.reset) > room);
                    }
                }
                Err(wait) => {
                    prop_assert!(wait > 0);
                    prop_assert!(pace.draw(now + wait, ask).is_ok(), "refused at the promised instant");
                    prop_assert!(pace.draw(now + wait - 1, ask).is_err(), "promised too late");
                }
            }
        }
    }

    #[test]
    fn no_value_panics_or_wraps(
        limit in 1..=u64::MAX, per in 1..=MAX_SPAN, burst in 1..=u64::MAX,
        times in prop::collection::vec(0..=MAX_SPAN, 1..20),
    ) {
        let mut pace = Pace::default();
        for now in times {
            if let Ok((next, _)) = pace.draw(now, Ask { limit, per, burst }) {
                prop_assert!(next.until() >= pace.until());
                pace = next;
            }
        }
    }
}

#[test]
fn a_steady_client_is_never_refused() {
    let ask = Ask { limit: 10, per: SECOND, burst: 1 };
    let mut pace = Pace::default();
    for call in 0..1000 {
        pace = pace.draw(call * SECOND / 10, ask).unwrap().0;
    }
    assert_eq!(pace.draw(999 * SECOND / 10, ask).map(|_| ()), Err(SECOND / 10));
}

#[test]
fn a_burst_comes_back_at_the_rate() {
    let ask = Ask { limit: 60, per: 60 * SECOND, burst: 5 };
    let mut pace = Pace::default();
    for call in 0..5 {
        let (next, left) = pace.draw(0, ask).unwrap();
        assert_eq!(left, Left { remaining: 4 - call, reset: SECOND });
        pace = next;
    }
    assert_eq!(pace.draw(0, ask).map(|_| ()), Err(SECOND));
    assert_eq!(pace.draw(3 * SECOND, ask).map(|(_, left)| left.remaining), Ok(2));
}

#[test]
fn a_rate_above_one_call_a_nanosecond_is_still_a_limit() {
    let ask = Ask { limit: 4 * SECOND, per: SECOND, burst: 3 };
    let mut pace = Pace::default();
    for _ in 0..3 {
        pace = pace.draw(5, ask).unwrap().0;
    }
    assert_eq!(pace.draw(5, ask).map(|_| ()), Err(1));
}
