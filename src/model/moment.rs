use std::time::Duration;

/// One reading of both clocks, taken at the edge and passed down, so that everything below is deterministic.
///
/// The steady clock decides limits (it never jumps); the wall clock decides token times and billing windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    unix: Duration,
    steady: Duration,
}

impl Moment {
    /// `unix` is the time since 1970, `steady` the time since an arbitrary origin that never goes backwards.
    pub const fn new(unix: Duration, steady: Duration) -> Self {
        Self { unix, steady }
    }

    /// Seconds since 1970, as `exp` and `iat` count them.
    pub const fn unix_seconds(self) -> u64 {
        self.unix.as_secs()
    }

    /// Time since 1970.
    pub const fn unix(self) -> Duration {
        self.unix
    }

    /// Time on the steady clock.
    pub const fn steady(self) -> Duration {
        self.steady
    }

    /// Nanoseconds on the steady clock; 584 years fit.
    pub fn steady_nanos(self) -> u64 {
        u64::try_from(self.steady.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment `later` after this one, on both clocks.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self { unix: self.unix.saturating_add(later), steady: self.steady.saturating_add(later) }
    }
}
