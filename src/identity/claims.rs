use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::settings::{self, Issuer};
use crate::model::{Moment, TokenFault};

/// What a token says about itself, or what its issuer says about it.
pub(super) type Said = Map<String, Value>;

const MAX_SUBJECT_BYTES: usize = 256;
/// Beyond it a `double`, and so half of the world's JSON readers, cannot count in ones.
const LAST_EXACT: u64 = 1 << 53;

/// Claims that say that a token is for something else. They are what keeps apart what FusionAuth signs with one key and one `typ`:
/// id_tokens, webhook signatures, logout tokens.
const SIGNS_OF_OTHER_KINDS: [(&str, &str); 5] = [
    ("nonce", "an id_token"),
    ("at_hash", "an id_token"),
    ("c_hash", "an id_token"),
    ("request_body_sha256", "a webhook signature"),
    ("events", "a logout or event token"),
];

/// A claim that is text.
pub(super) fn text<'a>(said: &'a Said, claim: &str) -> Option<&'a str> {
    said.get(claim)?.as_str()
}

/// One thing that must be true of a token, whoever signed it.
pub(super) struct Check {
    pub(super) subject: &'static str,
    pub(super) judge: fn(&settings::Identity, &Said, Moment) -> Result<(), TokenFault>,
    /// What the token says about it, for operators; escaped.
    pub(super) show: fn(&Said, Moment) -> String,
    /// What would be right, for operators.
    pub(super) expected: fn(&settings::Identity, &Said) -> Option<String>,
}

/// In the order in which they are made, all of them before the signature: they cost a hundredth of it, and a token that is refused
/// here cannot make the gateway ask the issuer for keys.
pub(super) const CHECKS: [Check; 9] = [
    Check { subject: "kind", judge: kind, show: show_kind, expected: |_, _| None },
    Check { subject: "issuer", judge: issuer, show: |said, _| shown(said, "iss"), expected: expected_issuer },
    Check { subject: "tenant", judge: tenant, show: |said, _| shown(said, "tid"), expected: expected_tenant },
    Check { subject: "audience", judge: audience, show: |said, _| shown(said, "aud"), expected: expected_audience },
    Check { subject: "expiry", judge: expiry, show: |said, now| show_time(said, "exp", now), expected: expected_skew },
    Check { subject: "start", judge: start, show: show_start, expected: expected_skew },
    Check { subject: "lifetime", judge: lifetime, show: show_lifetime, expected: expected_lifetime },
    Check {
        subject: "subject",
        judge: subject,
        show: |said, _| shown(said, "sub"),
        expected: |_, _| Some(format!("`sub` is 1 to {MAX_SUBJECT_BYTES} bytes of text")),
    },
    Check {
        subject: "declared claims",
        judge: declared,
        show: |said, _| format!("{} claims", said.len()),
        expected: |policy, said| policy.unmet_claim(said).map(|name| format!("`{name}` is not as `identity.claims` declares it")),
    },
];

fn kind(_: &settings::Identity, said: &Said, _: Moment) -> Result<(), TokenFault> {
    if other_kind(said).is_some() { Err(TokenFault::WrongKind) } else { Ok(()) }
}

/// FusionAuth marks access tokens with `tty: "at"` since 1.36; older ones have none.
fn other_kind(said: &Said) -> Option<(&'static str, &'static str)> {
    if said.get("tty").is_some_and(|kind| kind != "at") {
        return Some(("tty", "not an access token"));
    }
    SIGNS_OF_OTHER_KINDS.into_iter().find(|(claim, _)| said.contains_key(*claim))
}

fn issuer(policy: &settings::Identity, said: &Said, _: Moment) -> Result<(), TokenFault> {
    if of_issuer(policy, said).next().is_some() { Ok(()) } else { Err(TokenFault::WrongIssuer) }
}

fn tenant(policy: &settings::Identity, said: &Said, _: Moment) -> Result<(), TokenFault> {
    if of_tenant(policy, said).next().is_some() { Ok(()) } else { Err(TokenFault::WrongTenant) }
}

fn audience(policy: &settings::Identity, said: &Said, _: Moment) -> Result<(), TokenFault> {
    if candidates(policy, said).next().is_some() { Ok(()) } else { Err(TokenFault::WrongAudience) }
}

/// The configured issuers that may have issued this token: indices into `policy.issuers`, in their order.
///
/// All tenants of a FusionAuth share its keys and often the text of `iss` (`acme.com`), so the key that verifies proves nothing about
/// the tenant; `tid` does.
pub(super) fn candidates<'a>(policy: &'a settings::Identity, said: &'a Said) -> impl Iterator<Item = usize> + 'a {
    of_tenant(policy, said).filter(|(_, issuer)| is_for(issuer, said)).map(|(index, _)| index)
}

/// RFC 7519 4.1.1 with RFC 9207 2.4: byte by byte. A list of issuers does not exist.
fn of_issuer<'a>(policy: &'a settings::Identity, said: &'a Said) -> impl Iterator<Item = (usize, &'a Issuer)> {
    let text = text(said, "iss");
    policy.issuers.iter().enumerate().filter(move |(_, issuer)| Some(issuer.issuer.as_str()) == text)
}

/// An entry for exactly this tenant goes before one for every tenant.
fn of_tenant<'a>(policy: &'a settings::Identity, said: &'a Said) -> impl Iterator<Item = (usize, &'a Issuer)> {
    let tenant = text(said, "tid");
    let is_exact = move |issuer: &Issuer| issuer.tenant.is_some() && issuer.tenant.as_deref() == tenant;
    let has_own_entry = of_issuer(policy, said).any(|(_, issuer)| is_exact(issuer));
    of_issuer(policy, said).filter(move |(_, issuer)| if has_own_entry { is_exact(issuer) } else { issuer.tenant.is_none() })
}

/// `aud` is a text, or since FusionAuth 1.67 (RFC 8707) a list of texts.
fn is_for(issuer: &Issuer, said: &Said) -> bool {
    let is_ours = |audience: &str| issuer.audiences.iter().any(|ours| ours == audience);
    match said.get("aud") {
        Some(Value::String(audience)) => is_ours(audience),
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string) && audiences.iter().filter_map(Value::as_str).any(is_ours)
        }
        _ => false,
    }
}

/// RFC 7519 4.1.4: worth nothing from `exp` on, here plus the skew.
fn expiry(policy: &settings::Identity, said: &Said, now: Moment) -> Result<(), TokenFault> {
    if now.unix() < dies_at(policy, said)? { Ok(()) } else { Err(TokenFault::Expired) }
}

/// When the token stops being accepted, since 1970.
pub(super) fn dies_at(policy: &settings::Identity, said: &Said) -> Result<Duration, TokenFault> {
    let expires = time(said, "exp")?.ok_or(TokenFault::Malformed)?;
    Ok(Duration::from_secs(expires) + policy.clock_skew)
}

fn start(policy: &settings::Identity, said: &Said, now: Moment) -> Result<(), TokenFault> {
    for claim in ["nbf", "iat"] {
        if time(said, claim)?.is_some_and(|at| Duration::from_secs(at) > now.unix() + policy.clock_skew) {
            return Err(TokenFault::NotYetValid);
        }
    }
    Ok(())
}

/// Catches an `exp` in milliseconds and other ways to live for ever.
fn lifetime(policy: &settings::Identity, said: &Said, now: Moment) -> Result<(), TokenFault> {
    if lifetime_of(said, now)? <= policy.max_lifetime { Ok(()) } else { Err(TokenFault::Malformed) }
}

fn lifetime_of(said: &Said, now: Moment) -> Result<Duration, TokenFault> {
    let expires = time(said, "exp")?.ok_or(TokenFault::Malformed)?;
    let born = time(said, "iat")?.unwrap_or(now.unix_seconds());
    Ok(Duration::from_secs(expires.saturating_sub(born)))
}

/// Whole seconds since 1970. RFC 7519 would allow fractions; nobody issues them, and readers disagree on rounding.
pub(super) fn time(said: &Said, claim: &str) -> Result<Option<u64>, TokenFault> {
    match said.get(claim) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(seconds) if seconds <= LAST_EXACT => Ok(Some(seconds)),
            _ => Err(TokenFault::Malformed),
        },
    }
}

fn subject(_: &settings::Identity, said: &Said, _: Moment) -> Result<(), TokenFault> {
    match text(said, "sub") {
        Some(subject) if (1..=MAX_SUBJECT_BYTES).contains(&subject.len()) && !subject.chars().any(char::is_control) => Ok(()),
        _ => Err(TokenFault::BadClaim),
    }
}

fn declared(policy: &settings::Identity, said: &Said, _: Moment) -> Result<(), TokenFault> {
    if policy.unmet_claim(said).is_none() { Ok(()) } else { Err(TokenFault::BadClaim) }
}

fn expected_issuer(policy: &settings::Identity, _: &Said) -> Option<String> {
    Some(format!("the configuration has {}", listed(policy.issuers.iter().map(|issuer| issuer.issuer.as_str()))))
}

fn expected_tenant(policy: &settings::Identity, said: &Said) -> Option<String> {
    let tenants = of_issuer(policy, said).filter_map(|(_, issuer)| issuer.tenant.as_deref());
    Some(format!("the configuration has {} for this issuer", listed(tenants)))
}

fn expected_audience(policy: &settings::Identity, said: &Said) -> Option<String> {
    let audiences = of_tenant(policy, said).flat_map(|(_, issuer)| issuer.audiences.iter().map(String::as_str));
    Some(format!("the configuration has {} for this issuer", listed(audiences)))
}

fn expected_skew(policy: &settings::Identity, _: &Said) -> Option<String> {
    Some(format!("clocks may differ by {} s", policy.clock_skew.as_secs()))
}

fn expected_lifetime(policy: &settings::Identity, _: &Said) -> Option<String> {
    Some(format!("at most {} s is accepted", policy.max_lifetime.as_secs()))
}

fn listed<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(|text| Value::from(text).to_string()).collect();
    if texts.is_empty() { "none".into() } else { printable(&texts.join(", ")) }
}

fn show_kind(said: &Said, _: Moment) -> String {
    match other_kind(said) {
        None => "an access token".into(),
        Some((claim, kind)) => format!("{kind} (it has `{claim}`)"),
    }
}

fn show_start(said: &Said, now: Moment) -> String {
    format!("{}, {}", show_time(said, "nbf", now), show_time(said, "iat", now))
}

fn show_lifetime(said: &Said, now: Moment) -> String {
    lifetime_of(said, now).map_or_else(|_| "unknown".into(), |lifetime| format!("{} s", lifetime.as_secs()))
}

fn show_time(said: &Said, claim: &str, now: Moment) -> String {
    let date = |at: u64| {
        let at = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
        at.map_or_else(|| "beyond all calendars".to_owned(), |at| at.to_string())
    };
    match time(said, claim) {
        Ok(None) => format!("no `{claim}`"),
        Err(_) => format!("`{claim}` is not a time: {}", shown(said, claim)),
        Ok(Some(at)) if at > now.unix_seconds() => format!("`{claim}` {}, in {}", date(at), span(at - now.unix_seconds())),
        Ok(Some(at)) => format!("`{claim}` {}, {} ago", date(at), span(now.unix_seconds() - at)),
    }
}

/// In the largest unit that says enough.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// JSON escapes what a terminal would obey, except the C1 controls and what turns text around.
fn shown(said: &Said, claim: &str) -> String {
    said.get(claim).map_or_else(|| format!("no `{claim}`"), |value| printable(&value.to_string()))
}

fn printable(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_ascii() && !c.is_control() { c } else { '?' }).collect()
}
