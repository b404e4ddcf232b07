//! W3C Trace Context, level 1: which trace a request belongs to, and how that is said in headers.

use std::fmt::{self, Write};
use std::ops::Range;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// `traceparent`
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// `tracestate`
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// §3.3.1.5: what must be passed on; more than that is dropped as a whole.
const STATE_BYTES: usize = 512;
const STATE_MEMBERS: usize = 32;

/// A request's place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Of the whole trace; never zero.
    pub id: u128,
    /// Who called, if the trace was begun elsewhere.
    pub parent: Option<u64>,
    /// This gateway's own part; never zero.
    pub span: u64,
    /// The part that the upstream is told to be called by.
    pub upstream_span: u64,
    /// Whether it is exported.
    pub sampled: bool,
    /// What other systems say about it, passed on as it came.
    pub state: Option<HeaderValue>,
}

/// What a caller says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Of the whole trace.
    pub id: u128,
    /// Who calls.
    pub span: u64,
    /// Whether the caller records it.
    pub sampled: bool,
    /// `tracestate`, if it is usable.
    pub state: Option<HeaderValue>,
}

impl Incoming {
    /// Reads the headers; anything that is not exactly as the recommendation has it counts as absent.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(&TRACEPARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
        let (id, span, sampled) = parse(parent.as_bytes())?;
        Some(Self { id, span, sampled, state: state(headers) })
    }
}

/// §3.2: `00-` trace id `-` span id `-` flags, lower case. A higher version may have more behind it.
fn parse(text: &[u8]) -> Option<(u128, u64, bool)> {
    let (fields, rest) = text.split_at_checked(55)?;
    let number = |range: Range<usize>| hexadecimal(fields.get(range)?);
    let dash = |at: usize| fields.get(at) == Some(&b'-');
    if !(dash(2) && dash(35) && dash(52)) {
        return None;
    }
    let version = number(0..2)?;
    let is_whole = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.first() == Some(&b'-') };
    if version == 0xff || !is_whole {
        return None;
    }
    let (id, span, flags) = (number(3..35)?, u64::try_from(number(36..52)?).ok()?, number(53..55)?);
    (id != 0 && span != 0).then_some((id, span, flags & 1 == 1))
}

fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut joined: Vec<u8> = Vec::new();
    for value in headers.get_all(&TRACESTATE) {
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(value.as_bytes());
    }
    let members = joined.split(|byte| *byte == b',').filter(|member| !member.trim_ascii().is_empty());
    let is_member = |member: &&[u8]| {
        let member = member.trim_ascii();
        member.iter().all(|byte| matches!(byte, 0x20..=0x7e)) && memchr::memchr(b'=', member).is_some_and(|at| at > 0)
    };
    let (count, good) = members.fold((0, true), |(count, good), member| (count + 1, good && is_member(&member)));
    if count == 0 || count > STATE_MEMBERS || joined.len() > STATE_BYTES || !good {
        return None;
    }
    HeaderValue::from_bytes(&joined).ok()
}

impl Trace {
    /// `traceparent` towards the upstream.
    pub fn traceparent(&self) -> HeaderValue {
        let mut text = String::with_capacity(55);
        let _ = write!(text, "00-{:032x}-{:016x}-{:02x}", self.id, self.upstream_span, u8::from(self.sampled));
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The trace id as logs and collectors write it.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

    #[test]
    fn w3c_3_2_a_traceparent_is_read_strictly() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parse(good.as_bytes()), Some((ID, SPAN, true)));
        assert_eq!(parse(good.replace("-01", "-00").as_bytes()), Some((ID, SPAN, false)));
        assert_eq!(parse(good.replace("-01", "-03").as_bytes()), Some((ID, SPAN, true)), "unknown flags are ignored");
        assert_eq!(parse(good.replacen("00-", "cc-", 1).as_bytes()), Some((ID, SPAN, true)));
        assert_eq!(parse(format!("{}-what-comes", good.replacen("00-", "cc-", 1)).as_bytes()), Some((ID, SPAN, true)));
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &format!("{good}-more"),
            &format!("{good} "),
            &good.replacen("00-", "ff-", 1),
            &format!("{}x", good.replacen("00-", "cc-", 1)),
            &good.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &good.replace("00f067aa0ba902b7", "0000000000000000"),
            &good.replace('-', "_"),
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn w3c_3_3_a_tracestate_passes_whole_or_not_at_all() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.append(TRACEPARENT, HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
            for value in values {
                headers.append(TRACESTATE, value.parse().unwrap());
            }
            Incoming::read(&headers).unwrap().state.map(|state| state.to_str().unwrap().to_owned())
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["a=1, b@c=x y"]).as_deref(), Some("a=1, b@c=x y"));
        assert_eq!(read(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(read(&["nonsense"]), None);
        assert_eq!(read(&["=1"]), None);
        assert_eq!(read(&[&format!("a={}", "x".repeat(511))]), None);
        assert_eq!(read(&[&vec!["a=1"; 33].join(",")]), None);
    }

    #[test]
    fn two_parents_are_none() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(TRACEPARENT, HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        }
        assert_eq!(Incoming::read(&headers), None);
    }

    #[test]
    fn what_is_sent_can_be_read() {
        let trace = Trace { id: ID, parent: None, span: 1, upstream_span: SPAN, sampled: true, state: None };
        assert_eq!(parse(trace.traceparent().as_bytes()), Some((ID, SPAN, true)));
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }
}
