//! The sliding window: at most `limit` calls in **any** span of `per`, never more.
//!
//! The usual two-bucket window guesses how the previous bucket's calls were spread and lets almost `2 · limit` through in the
//! worst minute. This one divides the span into slots, remembers how many calls fell into each, and counts a slot until its last
//! instant has left the window. So it never admits too much; a call only counts a little longer than it has to:
//!
//! - while the limit is at most [`FEW`], for `per` plus at most `per / 16384` (the slot of every call is kept);
//! - above that, for `per` plus at most `per / 17` (a count per slot is kept); limits over 255 are counted in units of `2^shift`
//!   calls and may hold back one unit, less than `limit / 127`.
//!
//! The newest call counts for exactly `per`, so no wait is ever longer than `per`.

use super::bucket::Left;

/// Up to this limit every call is remembered by itself.
pub(super) const FEW: u64 = 11;
const FEW_CELLS: usize = FEW as usize;
const FEW_SLOTS: u64 = 1 << 14;

const MANY_CELLS: usize = 18;
const MANY_SLOTS: u64 = MANY_CELLS as u64 - 1;
const MAX_SHIFT: u8 = 31;

/// Larger limits are this: 547 thousand million calls in one span.
pub(super) const MAX_LIMIT: u64 = 255 << MAX_SHIFT;

/// What is remembered of one key's calls. `until` is when the last one is forgotten, `per` after it was made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Window {
    /// The slot of each call, oldest first, modulo 2^16: nothing alive is older than two spans.
    Few { len: u8, slots: [u16; FEW_CELLS], until: u64 },
    /// Units per slot, newest first, and the calls that do not fill a unit yet; they age with the newest slot.
    Many { shift: u8, cells: [u8; MANY_CELLS], rest: u32, until: u64 },
}

/// One draw from a window. Times are nanoseconds on the steady clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// From 1 to [`MAX_LIMIT`].
    pub(super) limit: u64,
    /// From 1 to [`super::bucket::MAX_SPAN`].
    pub(super) per: u64,
    /// Shifts this key's slots against those of other keys, so that not all of them are released at the same instants.
    pub(super) phase: u32,
}

impl Window {
    /// A window without calls.
    pub(super) fn new(limit: u64) -> Self {
        if limit <= FEW {
            Self::Few { len: 0, slots: [0; FEW_CELLS], until: 0 }
        } else {
            Self::Many { shift: 0, cells: [0; MANY_CELLS], rest: 0, until: 0 }
        }
    }

    /// When nothing of it counts any more.
    /// `None` for values that no window has.
    pub(super) fn restored_few(len: u8, slots: [u16; FEW_CELLS], until: u64) -> Option<Self> {
        (u64::from(len) <= FEW).then_some(Self::Few { len, slots, until })
    }

    /// `None` for values that no window has.
    pub(super) fn restored_many(shift: u8, cells: [u8; MANY_CELLS], rest: u32, until: u64) -> Option<Self> {
        (shift <= MAX_SHIFT).then_some(Self::Many { shift, cells, rest, until })
    }

    pub(super) fn until(&self) -> u64 {
        match self {
            Self::Few { until, .. } | Self::Many { until, .. } => *until,
        }
    }

    /// The window after one more call, or how long to wait for one.
    pub(super) fn draw(self, now: u64, ask: Ask) -> Result<(Self, Left), u64> {
        if now >= self.until() {
            return Self::new(ask.limit).admit(now, ask).map_err(|instant| instant - now);
        }
        // A clock that went back would make slots younger than their calls.
        let steady = now.max(self.until().saturating_sub(ask.per));
        let window = if ask.limit > FEW { self.counted(ask) } else { self };
        window.aged(steady, ask).admit(steady, ask).map_err(|instant| instant.saturating_sub(now))
    }

    /// Without the slots that have left the window at `now`.
    fn aged(self, now: u64, ask: Ask) -> Self {
        match self {
            Self::Few { len, slots, until } => {
                let here = ask.few().at(now);
                let mut kept = [0; FEW_CELLS];
                let mut alive = 0;
                let living = slots.iter().take(usize::from(len)).filter(|slot| few_age(here, **slot) <= FEW_SLOTS);
                for (place, slot) in kept.iter_mut().zip(living) {
                    *place = *slot;
                    alive += 1;
                }
                Self::Few { len: alive, slots: kept, until }
            }
            Self::Many { shift, mut cells, rest, until } => {
                let slots = ask.many();
                let passed = slots.at(now).saturating_sub(slots.at(until.saturating_sub(ask.per)));
                let passed = usize::try_from(passed).unwrap_or(MANY_CELLS).min(MANY_CELLS);
                if passed > 0 {
                    cells.copy_within(..MANY_CELLS - passed, passed);
                    cells.iter_mut().take(passed).for_each(|cell| *cell = 0);
                }
                Self::Many { shift, cells, rest, until }.widened(ask.limit)
            }
        }
    }

    /// One more call at `now`, or the instant at which there is room for it.
    fn admit(self, now: u64, ask: Ask) -> Result<(Self, Left), u64> {
        match self {
            Self::Few { len, mut slots, until } => {
                let (used, here) = (u64::from(len), ask.few().at(now));
                if used >= ask.limit {
                    let last_to_go = usize::try_from(used - ask.limit).unwrap_or(0);
                    return Err(ask.few_release(here, &slots, len, last_to_go, until));
                }
                if let Some(place) = slots.get_mut(usize::from(len)) {
                    // Cut to 16 bits on purpose, see the field.
                    *place = (here & 0xffff) as u16;
                }
                let (len, until) = (len + 1, now + ask.per);
                let reset = ask.few_release(here, &slots, len, 0, until) - now;
                Ok((Self::Few { len, slots, until }, Left { remaining: ask.limit - used - 1, reset }))
            }
            Self::Many { shift, mut cells, rest, until } => {
                let used = (cells.iter().map(|cell| u64::from(*cell)).sum::<u64>() << shift) + u64::from(rest);
                if used >= ask.limit {
                    return Err(ask.many_release(now, &cells, shift, used - ask.limit + 1, until));
                }
                let mut rest = rest + 1;
                if rest >> shift > 0 {
                    rest = 0;
                    if let Some(newest) = cells.first_mut() {
                        *newest = newest.saturating_add(1);
                    }
                }
                let until = now + ask.per;
                let reset = ask.many_release(now, &cells, shift, 1, until) - now;
                Ok((Self::Many { shift, cells, rest, until }, Left { remaining: ask.limit - used - 1, reset }))
            }
        }
    }

    /// Counts instead of instants, for a limit that has grown. The other way round is never needed: a window that counts is
    /// merely coarser, and begins afresh when it is empty.
    fn counted(self, ask: Ask) -> Self {
        let Self::Few { len, slots, until } = self else { return self };
        let newest = until.saturating_sub(ask.per);
        let (few, many) = (ask.few(), ask.many());
        let (here, top) = (few.at(newest), many.at(newest));
        let mut cells = [0u8; MANY_CELLS];
        for slot in slots.iter().take(usize::from(len)) {
            // Somewhere in this slot, so at its end.
            let instant = few.begins(here.saturating_sub(few_age(here, *slot)) + 1).saturating_sub(1).min(newest);
            let age = usize::try_from(top.saturating_sub(many.at(instant))).unwrap_or(MANY_CELLS);
            if let Some(cell) = cells.get_mut(age) {
                *cell += 1;
            }
        }
        Self::Many { shift: 0, cells, rest: 0, until }
    }

    /// With units large enough for this limit. What does not fill a larger unit moves on to the next newer slot.
    fn widened(self, limit: u64) -> Self {
        let Self::Many { mut shift, mut cells, mut rest, until } = self else { return self };
        while limit > 255 << shift {
            let mut odd = 0;
            for cell in cells.iter_mut().rev() {
                let units = u16::from(*cell) + odd;
                odd = units & 1;
                *cell = u8::try_from(units >> 1).unwrap_or(u8::MAX);
            }
            rest += u32::from(odd) << shift;
            shift += 1;
        }
        Self::Many { shift, cells, rest, until }
    }
}

impl Ask {
    fn few(self) -> Slots {
        Slots::new(self.per, FEW_SLOTS, self.phase)
    }

    fn many(self) -> Slots {
        Slots::new(self.per, MANY_SLOTS, self.phase)
    }

    /// When the call at `index` leaves the window.
    fn few_release(self, here: u64, slots: &[u16; FEW_CELLS], len: u8, index: usize, until: u64) -> u64 {
        match slots.get(index) {
            Some(slot) if index + 1 < usize::from(len) => {
                self.few().begins(here.saturating_sub(few_age(here, *slot)) + FEW_SLOTS + 1).min(until)
            }
            _ => until,
        }
    }

    /// When at least `calls` calls have left the window.
    fn many_release(self, now: u64, cells: &[u8; MANY_CELLS], shift: u8, calls: u64, until: u64) -> u64 {
        let slots = self.many();
        let mut gone = 0;
        for (newer, cell) in cells.iter().rev().enumerate() {
            gone += u64::from(*cell) << shift;
            if gone >= calls {
                // The oldest cell leaves with the next slot, and so on.
                return slots.begins(slots.at(now) + 1 + newer as u64).min(until);
            }
        }
        until
    }
}

/// How many slots ago; right for at most 2^16 slots, and `aged` sees to it.
fn few_age(here: u64, slot: u16) -> u64 {
    u64::from(((here & 0xffff) as u16).wrapping_sub(slot))
}

/// Time cut into slots of a fraction of the span, rounded up, so that `count` slots are never shorter than the span.
#[derive(Clone, Copy)]
struct Slots {
    width: u64,
    offset: u64,
}

impl Slots {
    fn new(per: u64, count: u64, phase: u32) -> Self {
        let width = per.div_ceil(count);
        let offset = (u128::from(width) * u128::from(phase)) >> 32;
        Self { width, offset: u64::try_from(offset).unwrap_or(0) }
    }

    fn at(self, instant: u64) -> u64 {
        (instant + self.offset) / self.width
    }

    fn begins(self, slot: u64) -> u64 {
        slot.saturating_mul(self.width).saturating_sub(self.offset)
    }
}

#[cfg(test)]
mod tests;
