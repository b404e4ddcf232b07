//! `RateLimit` and `RateLimit-Policy` of the IETF draft "RateLimit header fields for HTTP" (as edited after -09):
//! `"name";q=60;w=60` says what the policy is, `"name";r=0;t=12` what is left and in how many seconds there will be more.

use std::fmt::Write;
use std::time::Duration;

use crate::model::Throttled;

use super::Standing;

/// The field that says what is left.
pub const RATE_LIMIT: &str = "ratelimit";
/// The field that says what the policy is.
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";

/// RFC 9651, 3.3.1: the largest integer of a structured field.
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// The values of both fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// For [`RATE_LIMIT`].
    pub limit: String,
    /// For [`RATE_LIMIT_POLICY`].
    pub policy: String,
}

impl Fields {
    /// For an answer to a request that was admitted.
    pub fn admitted(standing: &Standing) -> Self {
        Self::new(&standing.rule, standing.limit, standing.per, standing.remaining, standing.reset)
    }

    /// For a 429.
    pub fn refused(throttled: &Throttled) -> Self {
        Self::new(&throttled.rule, throttled.limit, throttled.per, 0, throttled.retry_after)
    }

    fn new(rule: &str, limit: u64, per: Duration, remaining: u64, reset: Duration) -> Self {
        let name = quoted(rule);
        let mut policy = format!("{name};q={}", limit.min(MAX_INTEGER));
        // `w` is optional and counts whole seconds: no window is better than a wrong one.
        if per.subsec_nanos() == 0 && per.as_secs() > 0 {
            let _ = write!(policy, ";w={}", per.as_secs().min(MAX_INTEGER));
        }
        let limit = format!("{name};r={};t={}", remaining.min(MAX_INTEGER), seconds_up(reset).min(MAX_INTEGER));
        Self { limit, policy }
    }
}

/// RFC 9651, 3.3.3: a string holds printable ASCII only; rules are named after files, which may have other names.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for character in name.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            ' '..='~' => text.push(character),
            _ => text.push('_'),
        }
    }
    text.push('"');
    text
}

fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(rule: &str, per: Duration, reset: Duration) -> Standing {
        Standing { rule: rule.into(), limit: 60, per, remaining: 3, reset }
    }

    #[test]
    fn an_admitted_request_learns_what_is_left() {
        let fields = Fields::admitted(&standing("per-plan", Duration::from_secs(60), Duration::from_millis(11_001)));
        assert_eq!(fields.policy, r#""per-plan";q=60;w=60"#);
        assert_eq!(fields.limit, r#""per-plan";r=3;t=12"#);
    }

    #[test]
    fn a_refused_request_learns_when_to_come_back() {
        let (per, retry_after) = (Duration::from_secs(3600), Duration::from_secs(12));
        let fields = Fields::refused(&Throttled { rule: "exports".into(), limit: u64::MAX, per, retry_after });
        assert_eq!(fields.policy, r#""exports";q=999999999999999;w=3600"#);
        assert_eq!(fields.limit, r#""exports";r=0;t=12"#);
    }

    #[test]
    fn a_span_that_is_no_whole_second_is_left_out() {
        let fields = Fields::admitted(&standing("fast", Duration::from_millis(1500), Duration::ZERO));
        assert_eq!(fields.policy, r#""fast";q=60"#);
        assert_eq!(fields.limit, r#""fast";r=3;t=0"#);
    }

    #[test]
    fn rfc_9651_strings_hold_printable_ascii() {
        assert_eq!(quoted("a\"b\\c\r\né"), r#""a\"b\\c___""#);
    }
}
