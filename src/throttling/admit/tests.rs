use std::thread;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn at(steady: Duration) -> Moment {
    Moment::new(Duration::from_secs(1_800_000_000), steady)
}

fn draw(key: &str, limit: u64) -> Draw {
    Draw { rule: "per-plan".into(), key: Some(key.into()), limit, per: MINUTE, burst: None }
}

fn admitted(throttling: &Throttling, draws: &[Draw], times: usize) -> usize {
    (0..times).filter(|_| throttling.admit(draws, at(Duration::ZERO)).is_ok()).count()
}

#[test]
fn a_request_without_limits_passes() {
    assert_eq!(Throttling::new(10).admit(&[], at(Duration::ZERO)), Ok(Admission { tightest: None }));
}

#[test]
fn the_61st_call_is_refused_and_told_when_to_come_back() {
    let throttling = Throttling::new(10);
    let call = [draw("initech", 60)];
    assert_eq!(admitted(&throttling, &call, 60), 60);
    let refusal = throttling.admit(&call, at(Duration::from_secs(20))).unwrap_err();
    assert_eq!(refusal, Throttled { rule: "per-plan".into(), limit: 60, per: MINUTE, retry_after: Duration::from_secs(40) });
    assert!(throttling.admit(&call, at(Duration::from_millis(59_999))).is_err());
    assert!(throttling.admit(&call, at(MINUTE)).is_ok());
}

#[test]
fn a_refused_request_consumes_nothing_of_its_other_limits() {
    let throttling = Throttling::new(10);
    let (wide, narrow) = (draw("initech", 100), draw("initech:reports", 1));
    assert_eq!(admitted(&throttling, &[wide.clone(), narrow.clone()], 1), 1);
    assert_eq!(admitted(&throttling, &[wide.clone(), narrow.clone()], 50), 0);
    assert_eq!(admitted(&throttling, &[narrow, wide.clone()], 50), 0);
    let left = throttling.admit(&[wide], at(Duration::ZERO)).unwrap().tightest().unwrap();
    assert_eq!(left.remaining, 98);
}

#[test]
fn a_refused_request_takes_no_room() {
    let throttling = Throttling::new(10);
    assert_eq!(admitted(&throttling, &[draw("new", 5), draw("never", 0)], 3), 0);
    assert_eq!(throttling.keys(), 0);
}

#[test]
fn the_longest_wait_is_reported() {
    let throttling = Throttling::new(10);
    let hour = Draw { per: Duration::from_secs(3600), ..draw("a", 1) };
    assert_eq!(admitted(&throttling, &[draw("a", 1), hour.clone(), draw("b", 1)], 1), 1);
    let refusal = throttling.admit(&[draw("a", 1), hour, draw("b", 1)], at(Duration::from_secs(5))).unwrap_err();
    assert_eq!((refusal.per, refusal.retry_after), (Duration::from_secs(3600), Duration::from_secs(3595)));
}

#[test]
fn the_tightest_limit_is_the_one_with_the_fewest_calls_left() {
    let throttling = Throttling::new(10);
    let admission = throttling.admit(&[draw("a", 50), draw("b", 7), draw("c", 60)], at(Duration::ZERO)).unwrap();
    let standing = admission.tightest().unwrap();
    assert_eq!((standing.limit, standing.remaining, standing.reset), (7, 6, MINUTE));
}

#[test]
fn two_draws_of_one_request_from_one_bucket_are_two_calls() {
    let throttling = Throttling::new(10);
    let both = [draw("a", 5), draw("a", 5)];
    assert_eq!(admitted(&throttling, &both, 9), 2);
    assert_eq!(throttling.keys(), 1);
    assert_eq!(admitted(&throttling, &[draw("a", 5)], 9), 1);
}

#[test]
fn a_limit_of_zero_refuses_always_and_a_huge_one_never() {
    let throttling = Throttling::new(10);
    for never in [draw("a", 0), Draw { burst: Some(0), ..draw("a", 9) }, Draw { burst: Some(3), ..draw("a", 0) }] {
        assert_eq!(throttling.admit(&[never], at(MINUTE)).unwrap_err().retry_after, MINUTE);
    }
    for per in [Duration::ZERO, Duration::from_nanos(1), MINUTE, Duration::MAX] {
        for burst in [None, Some(u64::MAX)] {
            let throttling = Throttling::new(1);
            let always = [Draw { per, burst, ..draw("a", u64::MAX) }];
            for now in [Duration::ZERO, Duration::from_secs(1), MINUTE, Duration::MAX] {
                assert!(throttling.admit(&always, at(now)).is_ok());
            }
        }
    }
}

#[test]
fn the_end_of_the_clock_gives_no_endless_credit() {
    let throttling = Throttling::new(10);
    for burst in [None, Some(5)] {
        let call = [Draw { burst, ..draw("a", 5) }];
        let admitted = (0..100).filter(|_| throttling.admit(&call, at(Duration::MAX)).is_ok()).count();
        assert_eq!(admitted, 5);
    }
}

#[test]
fn no_two_principals_share_a_bucket() {
    let throttling = Throttling::new(100);
    let keyed = |rule: &str, key: Option<&str>| Draw { rule: rule.into(), key: key.map(Into::into), ..draw("", 1) };
    let others = [
        keyed("rule", None),
        keyed("rule", Some("")),
        keyed("rule", Some("a")),
        keyed("rulea", Some("")),
        keyed("rul", Some("ea")),
        keyed("rule", Some("a\0")),
        keyed("rule", Some("a:b")),
        keyed("rule:a", Some("b")),
        keyed("rule", Some("\u{e9}")),
        keyed("rule", Some("e\u{301}")),
        Draw { per: MINUTE * 2, ..keyed("rule", None) },
        Draw { burst: Some(1), ..keyed("rule", None) },
        Draw { key: Some("x".repeat(1 << 20).into()), ..draw("", 1) },
        Draw { key: Some(("x".repeat(1 << 20) + "y").into()), ..draw("", 1) },
    ];
    for other in &others {
        assert_eq!(admitted(&throttling, std::slice::from_ref(other), 2), 1, "{:?} {:.9?}", other.rule, other.key);
    }
    assert_eq!(throttling.keys(), others.len());
}

#[test]
fn a_changed_limit_keeps_the_count() {
    let throttling = Throttling::new(10);
    assert_eq!(admitted(&throttling, &[draw("a", 60)], 60), 60);
    assert_eq!(admitted(&throttling, &[draw("a", 100)], 60), 40);
    assert_eq!(admitted(&throttling, &[draw("a", 60)], 60), 0);
}

#[test]
fn a_thousand_parallel_requests_get_what_the_limits_allow() {
    let throttling = Throttling::new(1000);
    let total: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let throttling = &throttling;
                scope.spawn(move || {
                    let mut draws = [draw("shared", 100), draw("other", 5000), draw(&format!("own {number}"), 5000)];
                    // Every order of locks there is.
                    draws.rotate_left(number % 3);
                    admitted(throttling, &draws, 125)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(total, 100);
    let left = throttling.admit(&[draw("other", 5000)], at(Duration::ZERO)).unwrap().tightest().unwrap().remaining;
    assert_eq!(left, 5000 - 101);
}

#[test]
fn keys_without_room_share_one_bucket_and_offenders_keep_theirs() {
    let throttling = Throttling::new(100);
    assert_eq!(admitted(&throttling, &[draw("offender", 5)], 50), 5);
    let flood: usize = (0..10_000).map(|number| admitted(&throttling, &[draw(&format!("new {number}"), 5)], 1)).sum();
    assert_eq!(flood, 99 + 5, "99 found room, the others shared a limit of 5");
    assert_eq!((throttling.keys(), throttling.overflowed()), (100, 10_000 - 99));
    assert_eq!(admitted(&throttling, &[draw("offender", 5)], 50), 0);
    throttling.evict(at(Duration::from_secs(59)));
    assert_eq!(throttling.keys(), 100, "nothing has run out yet");
    assert_eq!(admitted(&throttling, &[draw("offender", 5)], 50), 0);
    throttling.evict(at(MINUTE));
    assert_eq!(throttling.keys(), 0);
}

#[test]
fn a_new_key_takes_the_room_of_one_that_has_run_out() {
    let throttling = Throttling::new(1);
    let mut found = 0;
    for number in 0..10_000_u64 {
        // Only keys of one shard see each other without the caretaker.
        let now = at(Duration::from_secs(number * 100));
        found += u64::from(throttling.admit(&[draw(&format!("{number}"), 1)], now).is_ok());
        assert!(throttling.keys() <= 1);
    }
    assert_eq!(found, 10_000, "the shared bucket has run out each time, too");
    assert!(throttling.overflowed() < 10_000 - 10);
}

#[test]
fn rules_without_end_cannot_open_buckets_without_end() {
    let throttling = Throttling::new(0);
    let fresh = |number: usize| Draw { per: Duration::from_secs(number as u64 + 1), ..draw("a", 5) };
    let found: usize = (0..2 * MAX_OVERFLOW).map(|number| admitted(&throttling, &[fresh(number)], 1)).sum();
    assert_eq!((found, throttling.keys()), (MAX_OVERFLOW, 0));
    throttling.evict(at(MINUTE * 100));
    assert_eq!(admitted(&throttling, &[fresh(0)], 9), 5);
}

#[test]
fn more_room_is_used_at_once() {
    let throttling = Throttling::new(1);
    assert_eq!((admitted(&throttling, &[draw("a", 1)], 1), admitted(&throttling, &[draw("b", 1)], 1)), (1, 1));
    assert_eq!(admitted(&throttling, &[draw("c", 1)], 1), 0);
    throttling.set_max_keys(2);
    assert_eq!(admitted(&throttling, &[draw("c", 1)], 1), 1);
}

#[test]
fn eviction_forgets_exactly_what_has_run_out() {
    let throttling = Throttling::new(100_000);
    for number in 0..3000_u64 {
        let call = [draw(&format!("{number}"), 1)];
        throttling.admit(&call, at(Duration::from_secs(number % 3 * 60))).unwrap();
    }
    for (minute, keys) in [(0, 3000), (1, 2000), (2, 1000)] {
        throttling.evict(at(MINUTE * minute));
        assert_eq!(throttling.keys(), keys);
        let refused = (0..3000_u64)
            .filter(|number| number % 3 >= u64::from(minute))
            .filter(|number| throttling.admit(&[draw(&format!("{number}"), 1)], at(MINUTE * minute)).is_err())
            .count();
        assert_eq!(refused, keys, "each that is left still counts");
    }
}

#[test]
fn a_key_takes_at_most_64_bytes() {
    let throttling = Throttling::new(usize::MAX);
    let bytes = || throttling.shards.iter().map(|shard| shard.lock().bytes()).sum::<usize>();
    for number in 0..150_000_usize {
        throttling.admit(&[draw(&number.to_string(), 60)], at(Duration::ZERO)).unwrap();
        let keys = number + 1;
        if keys >= 30_000 && keys % 5_000 == 0 {
            assert!(bytes() <= 64 * keys, "{} bytes a key at {keys}", bytes() / keys);
        }
    }
    for minute in 1..20 {
        throttling.evict(at(MINUTE * minute));
    }
    assert_eq!(throttling.keys(), 0);
    assert!(bytes() < 1 << 20, "{} bytes are kept for nobody", bytes());
}

#[test]
fn a_successor_goes_on_where_its_predecessor_was() {
    let few = draw("few", 3);
    let many = draw("many", 60);
    let pace = Draw { burst: Some(5), ..draw("pace", 60) };
    for (limit, calls) in [(few, 2), (many, 41), (pace, 3)] {
        let before = Throttling::new(10);
        for call in 0..calls {
            assert!(before.admit(std::slice::from_ref(&limit), at(Duration::from_millis(call))).is_ok());
        }
        // The successor's own clock began at another time.
        let (theirs, ours) = (Duration::from_secs(2), Duration::from_secs(86_400));
        let after = Throttling::succeeding(10, before.heritage(at(theirs)), at(ours));
        assert_eq!(after.take_over(&before.leave(at(theirs))), 1);
        for later in [Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(70)] {
            let expected = before.admit(std::slice::from_ref(&limit), at(theirs + later));
            assert_eq!(after.admit(std::slice::from_ref(&limit), at(ours + later)), expected, "{limit:?} after {later:?}");
        }
    }
}

#[test]
fn what_was_shared_for_want_of_room_stays_shared() {
    let before = Throttling::new(1);
    assert!(before.admit(&[draw("a", 2)], at(Duration::ZERO)).is_ok());
    assert_eq!(admitted(&before, &[draw("b", 2)], 1) + admitted(&before, &[draw("c", 2)], 2), 2, "b and c share two calls");
    let after = Throttling::succeeding(1, before.heritage(at(Duration::ZERO)), at(Duration::ZERO));
    assert_eq!(after.take_over(&before.leave(at(Duration::ZERO))), 2);
    assert_eq!(admitted(&after, &[draw("d", 2)], 1), 0);
    assert_eq!(admitted(&after, &[draw("a", 2)], 2), 1);
}

#[test]
fn what_has_run_out_is_not_left_and_nonsense_is_not_taken() {
    let throttling = Throttling::new(10);
    assert!(throttling.admit(&[draw("a", 2)], at(Duration::ZERO)).is_ok());
    assert_eq!(throttling.leave(at(MINUTE)), Vec::<u8>::new());
    assert_eq!(throttling.take_over(&[0xff; 100]), 0);
}
