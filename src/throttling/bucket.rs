use crate::model::Draw;

use super::gcra::{self, Pace};
use super::window::{self, Window};

/// Longer spans and later instants are this: 146 years in nanoseconds. Sums of two fit into 64 bits, so that no arithmetic
/// below can wrap into credit.
pub(super) const MAX_SPAN: u64 = 1 << 62;

/// What is remembered for one key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bucket {
    Window(Window),
    Pace(Pace),
}

/// What is left after a draw that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Calls.
    pub(super) remaining: u64,
    /// Nanoseconds until `remaining` grows, if nobody draws.
    pub(super) reset: u64,
}

impl Bucket {
    /// A bucket from which nothing was drawn.
    pub(super) fn new(draw: &Draw) -> Self {
        match draw.burst {
            None => Self::Window(Window::new(draw.limit)),
            Some(_) => Self::Pace(Pace::default()),
        }
    }

    /// Whether it can be forgotten without anybody noticing.
    pub(super) fn is_spent(&self, now: u64) -> bool {
        match self {
            Self::Window(window) => now >= window.until(),
            Self::Pace(pace) => now >= pace.until(),
        }
    }

    /// The bucket after one more call, or how many nanoseconds to wait for one. `now` is at most [`MAX_SPAN`].
    pub(super) fn draw(self, draw: &Draw, now: u64, phase: u32) -> Result<(Self, Left), u64> {
        let per = span(draw);
        if draw.limit == 0 || draw.burst == Some(0) {
            // There is no instant at which it would be admitted; the span is the least misleading answer.
            return Err(per);
        }
        match (self, draw.burst) {
            (Self::Pace(pace), Some(burst)) => {
                let (pace, left) = pace.draw(now, gcra::Ask { limit: draw.limit, per, burst })?;
                Ok((Self::Pace(pace), left))
            }
            (Self::Window(window), None) => {
                let limit = draw.limit.min(window::MAX_LIMIT);
                let (window, left) = window.draw(now, window::Ask { limit, per, phase })?;
                Ok((Self::Window(window), left))
            }
            // Keys tell the two kinds apart, so this bucket is nobody's.
            (Self::Pace(_), None) | (Self::Window(_), Some(_)) => Self::new(draw).draw(draw, now, phase),
        }
    }
}

/// The span of a draw in nanoseconds, from 1 to [`MAX_SPAN`].
pub(super) fn span(draw: &Draw) -> u64 {
    u64::try_from(draw.per.as_nanos()).unwrap_or(MAX_SPAN).clamp(1, MAX_SPAN)
}
