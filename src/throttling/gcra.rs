//! GCRA: calls at a steady rate of `limit / per`, and `burst` at once. Never more than `burst + rate · t` in any time `t`.
//!
//! One number is kept, the theoretical arrival time: until then the calls so far would last if they came at the steady rate.
//! It has 32 binary places below the nanosecond and the time per call is rounded up, so no error adds up in the caller's favour.

use super::bucket::{Left, MAX_SPAN};

const PLACES: u32 = 32;

/// The theoretical arrival time, as nanoseconds on the steady clock and binary fraction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    until: u64,
    fraction: u32,
}

/// One draw from a pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// From 1.
    pub(super) limit: u64,
    /// Nanoseconds, from 1 to [`MAX_SPAN`].
    pub(super) per: u64,
    /// From 1.
    pub(super) burst: u64,
}

impl Pace {
    pub(super) fn parts(&self) -> (u64, u32) {
        (self.until, self.fraction)
    }

    pub(super) fn restored(until: u64, fraction: u32) -> Self {
        Self { until, fraction }
    }

    /// When nothing of it counts any more.
    pub(super) fn until(&self) -> u64 {
        self.until + u64::from(self.fraction > 0)
    }

    /// The pace after one more call, or how many nanoseconds to wait for one.
    pub(super) fn draw(self, now: u64, ask: Ask) -> Result<(Self, Left), u64> {
        let cost = (u128::from(ask.per) << PLACES).div_ceil(u128::from(ask.limit));
        let room = cost.saturating_mul(u128::from(ask.burst)).min(u128::from(MAX_SPAN) << PLACES);
        let start = u128::from(now) << PLACES;
        let arrival = (u128::from(self.until) << PLACES | u128::from(self.fraction)).max(start) + cost;
        let debt = arrival - start;
        if debt > room {
            return Err(nanos_up(debt - room));
        }
        let remaining = (room - debt) / cost;
        let next_call = (remaining + 1) * cost;
        let left = Left {
            remaining: u64::try_from(remaining).unwrap_or(u64::MAX),
            reset: nanos_up((next_call + debt).saturating_sub(room)),
        };
        let fraction = u32::try_from(arrival & u128::from(u32::MAX)).unwrap_or(u32::MAX);
        Ok((Self { until: u64::try_from(arrival >> PLACES).unwrap_or(u64::MAX - 1), fraction }, left))
    }
}

fn nanos_up(fixed: u128) -> u64 {
    u64::try_from(fixed.div_ceil(1 << PLACES)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
