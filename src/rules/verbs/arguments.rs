use std::time::Duration;

use http::{HeaderName, HeaderValue};
use rhai::{Dynamic, ImmutableString, Map};

use crate::model::{CanonicalPath, Dimensions, Name, PathProblem, local_page, settings};

/// Bytes of a `respond` body: a maintenance note, not a page.
const BODY: usize = 4 * 1024;
/// Bytes of a log line.
const LOG_LINE: usize = 1024;
/// Bytes of a tag or a dimension.
const LABEL: usize = 256;
/// Characters of a reason or a tag's key.
const WORD: usize = 64;
/// The longest span of a limit: 31 days.
const LONGEST: u64 = 31 * 86_400;

/// `403`: what `deny` may answer.
pub(in crate::rules) fn status(value: i64) -> Result<u16, String> {
    within(value, 400, 599).ok_or_else(|| format!("{value} is no status to deny with; take one from 400 to 599"))
}

pub(in crate::rules) fn redirect_status(value: i64) -> Result<u16, String> {
    match value {
        301 | 302 | 303 | 307 | 308 => Ok(u16::try_from(value).unwrap_or(302)),
        _ => Err(format!("{value} is no redirect; take 301, 302, 303, 307 or 308")),
    }
}

pub(in crate::rules) fn response_status(value: i64) -> Result<u16, String> {
    within(value, 200, 599).ok_or_else(|| format!("{value} is no status to respond with; take one from 200 to 599"))
}

fn within(value: i64, low: u16, high: u16) -> Option<u16> {
    u16::try_from(value).ok().filter(|status| (low..=high).contains(status))
}

/// A word that clients, logs and metrics can rely on.
pub(in crate::rules) fn reason(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    if text.is_empty() || text.len() > WORD || !text.bytes().all(plain) {
        return Err(format!("`{}` is no stable word: use 1 to {WORD} of a-z, 0-9, `_`, `.` and `-`", shortened(text, WORD)));
    }
    Ok(())
}

pub(in crate::rules) fn body(text: &str) -> Result<(), String> {
    if text.len() > BODY {
        return Err(format!("the body has {} bytes; at most {BODY} are sent", text.len()));
    }
    Ok(())
}

pub(super) fn location(url: &str) -> Result<HeaderValue, String> {
    if url.is_empty() || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a redirect needs a URL of visible ASCII characters; escape the others with %".into());
    }
    HeaderValue::from_str(url).map_err(|_| "the URL is no header value".into())
}

/// A page of this site, to come back to.
pub(in crate::rules) fn page(text: &str) -> Result<Name, String> {
    local_page(text).map(Name::from).ok_or_else(|| {
        format!("`{}` is no page of this site: a path like /account, with or without a query", shortened(text, WORD))
    })
}

/// A path for the upstream, in its one spelling.
pub(in crate::rules) fn path(text: &str) -> Result<CanonicalPath, String> {
    const LONGEST: usize = 8 * 1024;
    let shown = shortened(text, WORD);
    if text.len() > LONGEST {
        return Err(format!("`{shown}…` has {} bytes; a path has at most {LONGEST}", text.len()));
    }
    CanonicalPath::parse(text).map_err(|problem| {
        let why = match problem {
            PathProblem::NotAbsolute => "it begins with `/`",
            PathProblem::DotSegment => "`.` and `..` are no segments",
            PathProblem::EmptySegment => "no segment but the last is empty",
            PathProblem::Forbidden => "only characters of a URL path, without a query; escape the others with %",
            PathProblem::BadEscape => "it has an escape that servers read differently",
            PathProblem::NotUtf8 => "its escapes are not UTF-8",
        };
        format!("`{shown}` is no path: {why}")
    })
}

/// A header that rules may edit: those that frame the message or name the host belong to the gateway.
pub(in crate::rules) fn header_name(name: &str) -> Result<HeaderName, String> {
    const OURS: [&str; 10] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    ];
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|parsed| !parsed.as_str().contains('_'))
        .ok_or_else(|| format!("`{}` is no header name", shortened(name, WORD)))?;
    if OURS.contains(&parsed.as_str()) {
        return Err(format!("`{parsed}` belongs to the gateway and cannot be edited"));
    }
    Ok(parsed)
}

/// The value of `set_header`; `()` removes the header. A line break in a claim must not become a header of its own: it is an error
/// and not repaired, because half a value is rarely what somebody meant.
pub(super) fn header_value(value: &Dynamic) -> Result<Option<HeaderValue>, String> {
    let Some(text) = scalar(value, "a header")? else { return Ok(None) };
    let bytes = text.as_bytes();
    HeaderValue::from_bytes(bytes).map(Some).map_err(|_| "control characters cannot be sent in a header".into())
}

/// Who shares a limit; `()` is everybody without a key.
pub(super) fn key(value: &Dynamic) -> Result<Option<Name>, String> {
    Ok(scalar(value, "a limit's key")?.map(|text| text.as_str().into()))
}

/// How many calls.
pub(in crate::rules) fn limit(value: &Dynamic) -> Result<u64, String> {
    whole(value, "a limit")
}

/// The quantity of `meter`.
pub(in crate::rules) fn quantity(value: &Dynamic) -> Result<u64, String> {
    whole(value, "a quantity")
}

/// The `burst` of `#{ burst: 10 }`.
pub(in crate::rules) fn burst(options: &Map) -> Result<u64, String> {
    match options.iter().next() {
        Some((name, value)) if options.len() == 1 && name == "burst" => match whole(value, "a burst")? {
            0 => Err("a burst is at least 1".into()),
            burst => Ok(burst),
        },
        _ => Err("the options of `throttle` are `#{ burst: n }`".into()),
    }
}

fn whole(value: &Dynamic, what: &str) -> Result<u64, String> {
    match value.as_int() {
        Ok(integer) => u64::try_from(integer).map_err(|_| format!("{what} cannot be negative, and this is {integer}")),
        Err(kind) => Err(format!("{what} is a whole number, not {}", article(kind))),
    }
}

/// `"10s"`, `"1m"`, `"1h"`, `"1d"`.
pub(in crate::rules) fn period(text: &str) -> Result<Duration, String> {
    let seconds = text.split_at_checked(text.len().saturating_sub(1)).and_then(|(digits, unit)| {
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)
    });
    match seconds {
        Some(seconds @ 1..=LONGEST) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("`{}` is no span of time; write for example 10s, 1m, 1h or 1d (at most 31d)", shortened(text, 20))),
    }
}

/// Hundredths of a percent.
pub(in crate::rules) fn in_percent(value: &Dynamic) -> Result<u64, String> {
    let percent = value.as_float().or_else(|_| value.as_int().map(|whole| whole as f64));
    match percent {
        // In range, so the cast neither truncates nor wraps.
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok((percent * 100.0).round() as u64),
        Ok(percent) => Err(format!("{percent} is no percentage; take a number from 0 to 100")),
        Err(kind) => Err(format!("a percentage is a number, not {}", article(kind))),
    }
}

/// Declared dimensions only: an undeclared one would open series nobody expects.
pub(super) fn dimensions(meter: &settings::Meter, given: &Map) -> Result<Dimensions, String> {
    let mut pairs = Vec::with_capacity(given.len());
    for (name, value) in given {
        let Some(declared) = meter.dimensions.iter().find(|declared| ***declared == **name) else {
            return Err(format!("the meter `{}` has no dimension `{name}`", meter.name));
        };
        let text = scalar(value, "a dimension")?;
        let value = text.as_ref().map_or("_none", |text| shortened(text, LABEL));
        pairs.push((Name::clone(declared), value.into()));
    }
    Ok(Dimensions::new(pairs))
}

/// The value of a tag; `()` is the empty text.
pub(super) fn label(value: &Dynamic) -> Result<Name, String> {
    Ok(scalar(value, "a tag")?.map_or_else(|| "".into(), |text| shortened(&text, LABEL).into()))
}

pub(super) fn log_line(value: &Dynamic) -> Name {
    match value.as_immutable_string_ref() {
        Ok(text) => shortened(&text, LOG_LINE).into(),
        Err(_) => shortened(&value.to_string(), LOG_LINE).into(),
    }
}

/// Text, integer or boolean as text; `()` as nothing. Floats are refused: `0.1 + 0.2` is no name, and money is counted in integers.
pub(super) fn scalar(value: &Dynamic, what: &str) -> Result<Option<ImmutableString>, String> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Some(ImmutableString::clone(&text)));
    }
    if value.is_unit() {
        return Ok(None);
    }
    match (value.as_int(), value.as_bool()) {
        (Ok(integer), _) => Ok(Some(integer.to_string().into())),
        (_, Ok(boolean)) => Ok(Some(if boolean { "true" } else { "false" }.into())),
        (Err(kind), Err(_)) => Err(format!("{what} is text, an integer or a boolean, not {}", article(kind))),
    }
}

/// Rhai's type names in words.
fn article(kind: &str) -> &'static str {
    match kind {
        "f64" => "a float",
        "i64" => "an integer",
        "string" => "text",
        "bool" => "a boolean",
        "()" => "absent",
        "array" => "a list",
        "map" => "an object",
        _ => "this",
    }
}

fn shortened(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, seconds) in
            [("1s", 1), ("10s", 10), ("1m", 60), ("60m", 3_600), ("1h", 3_600), ("1d", 86_400), ("31d", LONGEST)]
        {
            assert_eq!(period(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "1", "m", "0m", "-1m", "+1m", "1 m", "1 minit", "1M", "1.5h", "32d", "99999999999999999999d", "1é", "é"]
        {
            assert!(period(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reasons_are_stable_words() {
        assert_eq!(reason("plan_upgrade.required-2"), Ok(()));
        for text in ["", "Upgrade", "a b", "a\n", "é", &"a".repeat(65)] {
            assert!(reason(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn headers_that_frame_a_message_are_ours() {
        assert!(header_name("X-Org").is_ok_and(|name| name == "x-org"));
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "upgrade",
            "TE",
            "trailer",
            "",
            "x y",
            "x_org",
            "x\r\ny",
        ] {
            assert!(header_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn header_values_cannot_start_a_new_line() {
        for text in ["a\r\nset-cookie: x", "a\n", "a\0", "\u{7f}"] {
            assert!(header_value(&text.into()).is_err(), "{text:?}");
        }
        assert_eq!(header_value(&Dynamic::UNIT), Ok(None));
        assert!(header_value(&"Jürgen".into()).is_ok());
        assert!(header_value(&Dynamic::from_float(0.5)).is_err());
    }

    #[test]
    fn numbers_are_whole_and_not_negative() {
        assert_eq!(limit(&Dynamic::from_int(0)), Ok(0));
        assert_eq!(limit(&Dynamic::from_int(-1)), Err("a limit cannot be negative, and this is -1".into()));
        assert_eq!(quantity(&Dynamic::from_float(1.0)), Err("a quantity is a whole number, not a float".into()));
        assert_eq!(limit(&Dynamic::UNIT), Err("a limit is a whole number, not absent".into()));
    }

    #[test]
    fn percentages_may_have_a_fraction() {
        assert_eq!(in_percent(&Dynamic::from_int(5)), Ok(500));
        assert_eq!(in_percent(&Dynamic::from_float(0.25)), Ok(25));
        for value in [Dynamic::from_int(101), Dynamic::from_int(-1), Dynamic::from_float(f64::NAN), Dynamic::UNIT] {
            assert!(in_percent(&value).is_err());
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shortened("aéb", 2), "a");
        assert_eq!(shortened("aéb", 3), "aé");
        assert_eq!(shortened("a", 9), "a");
    }
}
