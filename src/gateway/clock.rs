//! The only place that reads the clocks of a request.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::Moment;

/// Set once, at the first reading; `Instant` has no origin of its own.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The wall clock's reading as a date, for people and logs; 1970 for what no calendar holds.
pub fn date(moment: Moment) -> jiff::Timestamp {
    jiff::SignedDuration::try_from(moment.unix()).and_then(jiff::Timestamp::from_duration).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// Both clocks, now.
pub fn now() -> Moment {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment::new(unix, steady())
}

/// The steady clock, now: time since the process first asked, plus a day, so that no limit's window begins before zero.
pub fn steady() -> Duration {
    ORIGIN.elapsed() + Duration::from_secs(86_400)
}
