use std::time::Duration;

/// Reads `5s`, `500ms`, `1h30m`; `None` for everything else, a bare number included.
pub(super) fn parse(text: &str) -> Option<Duration> {
    // jiff also reads ISO 8601 (`PT5S`) and signs, which would be a second way to say the same.
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // Days have 24 hours here; jiff leaves them to calendars.
    if let Some(days) = text.strip_suffix('d') {
        return days.parse::<u64>().ok()?.checked_mul(86_400).map(Duration::from_secs);
    }
    text.parse::<jiff::SignedDuration>().ok()?.try_into().ok()
}

/// In the largest unit that needs no fraction.
pub(super) fn written(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds >= length && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    format!("{milliseconds}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, milliseconds) in
            [("5s", 5_000), ("500ms", 500), ("1m", 60_000), ("1h30m", 5_400_000), ("24h", 86_400_000), ("365d", 31_536_000_000)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["5", "", "-5s", "PT5S", "5 parsecs", "1 month", "99999999999999999999h", "5s ago"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(written(Duration::from_secs(90)), "90s");
        assert_eq!(written(Duration::from_secs(3600)), "1h");
        assert_eq!(written(Duration::ZERO), "0ms");
    }
}
