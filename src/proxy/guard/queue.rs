//! When to shed: like CoDel (RFC 8289), from how long work waits and not from how much there is.
//!
//! A worker thread is asked how late it is for a small task that was due. One late answer is a burst, which will pass; when the *least*
//! lateness of half a second is above the target, the queue never emptied, and waiting longer will not empty it. Then a share of the new
//! requests is refused, more each time the target is still missed, less each time it is met.

use std::time::Duration;

/// How long lateness is watched before anything is decided.
const INTERVAL: Duration = Duration::from_millis(500);

/// At most this share is shed, of [`WHOLE`]: some must get through, or nobody would see that it is over.
const MOST: u32 = 950;

/// All requests.
pub(super) const WHOLE: u32 = 1_000;

/// One worker thread's queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    least: Option<Duration>,
    decide_at: Option<Duration>,
    share: u32,
}

impl Queue {
    /// Notes how late the thread was at `now`, with the share of requests to shed from now on as the answer.
    pub(super) fn note(&mut self, lateness: Duration, now: Duration, target: Duration) -> u32 {
        if target.is_zero() {
            *self = Self::default();
            return 0;
        }
        let least = self.least.map_or(lateness, |least| least.min(lateness));
        self.least = Some(least);
        let decide_at = *self.decide_at.get_or_insert(now + INTERVAL);
        if now >= decide_at {
            self.share = next_share(self.share, least, target);
            self.least = None;
            self.decide_at = Some(now + INTERVAL);
        }
        self.share
    }
}

/// If `least` is twice the target, half as much work would meet it. Half of that way is gone each time, for requests that are refused
/// come back.
fn next_share(share: u32, least: Duration, target: Duration) -> u32 {
    if least > target {
        let excess = 1.0 - target.as_secs_f64() / least.as_secs_f64();
        let passing = f64::from(WHOLE - share);
        // From 0 to 500: neither sign nor fraction matters.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ step ≤ 500")]
        let step = (passing * excess / 2.0) as u32;
        (share + step.max(10)).min(MOST)
    } else {
        let kept = share * 3 / 4;
        if kept < 10 { 0 } else { kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(100);

    fn run(queue: &mut Queue, from: u64, lateness: impl Fn(u64) -> u64, ticks: u64) -> (u32, u64) {
        let mut share = 0;
        for tick in 0..ticks {
            let now = Duration::from_millis(from + tick * 50);
            share = queue.note(Duration::from_millis(lateness(tick)), now, TARGET);
        }
        (share, from + ticks * 50)
    }

    #[test]
    fn bursts_shed_nothing() {
        let mut queue = Queue::default();
        // Late nine times of ten.
        let (share, _) = run(&mut queue, 0, |tick| if tick % 10 == 0 { 1 } else { 900 }, 1_000);
        assert_eq!(share, 0);
    }

    #[test]
    fn a_standing_queue_sheds_more_and_more_and_an_empty_one_nothing_any_more() {
        let mut queue = Queue::default();
        let (first, now) = run(&mut queue, 0, |_| 300, 12);
        let (then, now) = run(&mut queue, now, |_| 300, 100);
        assert!(first > 0 && first < then, "{first} {then}");
        assert_eq!(then, MOST);
        let (after, _) = run(&mut queue, now, |_| 0, 400);
        assert_eq!(after, 0);
    }

    #[test]
    fn a_little_over_the_target_sheds_a_little() {
        let mut queue = Queue::default();
        let (share, _) = run(&mut queue, 0, |_| 105, 12);
        assert!((1..50).contains(&share), "{share}");
    }

    #[test]
    fn no_target_never_sheds() {
        let mut queue = Queue::default();
        for tick in 0..1_000 {
            assert_eq!(queue.note(Duration::from_secs(9), Duration::from_millis(tick * 50), Duration::ZERO), 0);
        }
    }

    /// A closed loop: delay follows from how many requests pass, with a shed one costing a tenth. The share must settle where the
    /// delay is near its target, instead of swinging between all and nothing.
    #[test]
    fn it_settles() {
        let mut queue = Queue::default();
        let mut share = 0;
        let mut delays = Vec::new();
        for tick in 0..2_000_u64 {
            let passing = f64::from(WHOLE - share) / f64::from(WHOLE);
            let delay = 400.0 * (passing + (1.0 - passing) * 0.1);
            share = queue.note(Duration::from_millis(delay as u64), Duration::from_millis(tick * 50), TARGET);
            delays.push(delay);
        }
        let last = &delays[1_000..];
        let mean = last.iter().sum::<f64>() / last.len() as f64;
        assert!((60.0..180.0).contains(&mean), "{mean}");
    }
}
