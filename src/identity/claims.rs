use std::time::Duration;

use serde_json::{Map, Value};

use super::token::Token;
use crate::model::settings::{self, ClaimKind, ClaimType, Issuer};
use crate::model::{Moment, TokenFault};

const MAX_SUBJECT_BYTES: usize = 256;
/// Beyond it a `double`, and so half of the world's JSON readers, cannot count in ones.
const LAST_EXACT: u64 = 1 << 53;

/// Claims that say that a token is for something else. They are what keeps apart what FusionAuth signs with one key and one `typ`:
/// id_tokens, webhook signatures, logout tokens; and a token bound to a DPoP key, which is no bearer token (RFC 9449 7.2).
const SIGNS_OF_OTHER_KINDS: [(&str, &str); 6] = [
    ("nonce", "an id_token"),
    ("at_hash", "an id_token"),
    ("c_hash", "an id_token"),
    ("request_body_sha256", "a webhook signature"),
    ("events", "a logout or event token"),
    ("cnf", "a token bound to a DPoP key"),
];

/// One thing that must be true of a token, whoever signed it.
pub(super) struct Check {
    pub(super) subject: &'static str,
    pub(super) judge: fn(&settings::Identity, &Token<'_>, Moment) -> Result<(), TokenFault>,
    /// What the token says about it, for operators; escaped.
    pub(super) show: fn(&Token<'_>, Moment) -> String,
}

/// In the order in which they are made, all of them before the signature: they cost a hundredth of it, and a token that is refused
/// here cannot make the gateway ask the issuer for keys.
pub(super) const CHECKS: [Check; 9] = [
    Check { subject: "kind", judge: kind, show: show_kind },
    Check { subject: "issuer", judge: issuer, show: |token, _| shown(token, "iss") },
    Check { subject: "tenant", judge: tenant, show: |token, _| shown(token, "tid") },
    Check { subject: "audience", judge: audience, show: |token, _| shown(token, "aud") },
    Check { subject: "expiry", judge: expiry, show: |token, now| show_time(token, "exp", now) },
    Check { subject: "start", judge: start, show: show_start },
    Check { subject: "lifetime", judge: lifetime, show: show_lifetime },
    Check { subject: "subject", judge: subject, show: |token, _| shown(token, "sub") },
    Check { subject: "declared claims", judge: declared, show: |token, _| format!("{} claims", token.claims.len()) },
];

fn kind(_: &settings::Identity, token: &Token<'_>, _: Moment) -> Result<(), TokenFault> {
    if other_kind(token).is_some() { Err(TokenFault::WrongKind) } else { Ok(()) }
}

/// FusionAuth marks access tokens with `tty: "at"` since 1.36; older ones have none.
fn other_kind(token: &Token<'_>) -> Option<(&'static str, &'static str)> {
    if token.claims.get("tty").is_some_and(|kind| kind != "at") {
        return Some(("tty", "not an access token"));
    }
    SIGNS_OF_OTHER_KINDS.into_iter().find(|(claim, _)| token.claims.contains_key(*claim))
}

fn issuer(policy: &settings::Identity, token: &Token<'_>, _: Moment) -> Result<(), TokenFault> {
    if of_issuer(policy, token).next().is_some() { Ok(()) } else { Err(TokenFault::WrongIssuer) }
}

fn tenant(policy: &settings::Identity, token: &Token<'_>, _: Moment) -> Result<(), TokenFault> {
    if of_tenant(policy, token).next().is_some() { Ok(()) } else { Err(TokenFault::WrongTenant) }
}

fn audience(policy: &settings::Identity, token: &Token<'_>, _: Moment) -> Result<(), TokenFault> {
    if candidates(policy, token).next().is_some() { Ok(()) } else { Err(TokenFault::WrongAudience) }
}

/// The configured issuers that may have issued this token: indices into `policy.issuers`, in their order.
///
/// All tenants of a FusionAuth share its keys and often the text of `iss` (`acme.com`), so the key that verifies proves nothing about
/// the tenant; `tid` does.
pub(super) fn candidates<'a>(policy: &'a settings::Identity, token: &'a Token<'_>) -> impl Iterator<Item = usize> + 'a {
    of_tenant(policy, token).filter(|(_, issuer)| is_for(issuer, token)).map(|(index, _)| index)
}

/// RFC 7519 4.1.1 with RFC 9207 2.4: byte by byte. A list of issuers does not exist.
fn of_issuer<'a>(policy: &'a settings::Identity, token: &'a Token<'_>) -> impl Iterator<Item = (usize, &'a Issuer)> {
    let text = token.text("iss");
    policy.issuers.iter().enumerate().filter(move |(_, issuer)| Some(issuer.issuer.as_str()) == text)
}

/// An entry for exactly this tenant goes before one for every tenant.
fn of_tenant<'a>(policy: &'a settings::Identity, token: &'a Token<'_>) -> impl Iterator<Item = (usize, &'a Issuer)> {
    let tenant = token.text("tid");
    let is_exact = move |issuer: &Issuer| issuer.tenant.is_some() && issuer.tenant.as_deref() == tenant;
    let has_own_entry = of_issuer(policy, token).any(|(_, issuer)| is_exact(issuer));
    of_issuer(policy, token).filter(move |(_, issuer)| if has_own_entry { is_exact(issuer) } else { issuer.tenant.is_none() })
}

/// `aud` is a text, or since FusionAuth 1.67 (RFC 8707) a list of texts.
fn is_for(issuer: &Issuer, token: &Token<'_>) -> bool {
    let is_ours = |audience: &str| issuer.audiences.iter().any(|ours| ours == audience);
    match token.claims.get("aud") {
        Some(Value::String(audience)) => is_ours(audience),
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string) && audiences.iter().filter_map(Value::as_str).any(is_ours)
        }
        _ => false,
    }
}

/// RFC 7519 4.1.4: worth nothing from `exp` on, here plus the skew.
fn expiry(policy: &settings::Identity, token: &Token<'_>, now: Moment) -> Result<(), TokenFault> {
    if now.unix() < dies_at(policy, token)? { Ok(()) } else { Err(TokenFault::Expired) }
}

/// When the token stops being accepted, since 1970.
pub(super) fn dies_at(policy: &settings::Identity, token: &Token<'_>) -> Result<Duration, TokenFault> {
    let expires = time(token, "exp")?.ok_or(TokenFault::Malformed)?;
    Ok(Duration::from_secs(expires) + policy.clock_skew)
}

fn start(policy: &settings::Identity, token: &Token<'_>, now: Moment) -> Result<(), TokenFault> {
    for claim in ["nbf", "iat"] {
        if time(token, claim)?.is_some_and(|at| Duration::from_secs(at) > now.unix() + policy.clock_skew) {
            return Err(TokenFault::NotYetValid);
        }
    }
    Ok(())
}

/// Catches an `exp` in milliseconds and other ways to live for ever.
fn lifetime(policy: &settings::Identity, token: &Token<'_>, now: Moment) -> Result<(), TokenFault> {
    if lifetime_of(token, now)? <= policy.max_lifetime { Ok(()) } else { Err(TokenFault::Malformed) }
}

fn lifetime_of(token: &Token<'_>, now: Moment) -> Result<Duration, TokenFault> {
    let expires = time(token, "exp")?.ok_or(TokenFault::Malformed)?;
    let born = time(token, "iat")?.unwrap_or(now.unix_seconds());
    Ok(Duration::from_secs(expires.saturating_sub(born)))
}

/// Whole seconds since 1970. RFC 7519 would allow fractions; nobody issues them, and readers disagree on rounding.
fn time(token: &Token<'_>, claim: &str) -> Result<Option<u64>, TokenFault> {
    match token.claims.get(claim) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(seconds) if seconds <= LAST_EXACT => Ok(Some(seconds)),
            _ => Err(TokenFault::Malformed),
        },
    }
}

fn subject(_: &settings::Identity, token: &Token<'_>, _: Moment) -> Result<(), TokenFault> {
    match token.text("sub") {
        Some(subject) if (1..=MAX_SUBJECT_BYTES).contains(&subject.len()) && !subject.chars().any(char::is_control) => Ok(()),
        _ => Err(TokenFault::BadClaim),
    }
}

fn declared(policy: &settings::Identity, token: &Token<'_>, _: Moment) -> Result<(), TokenFault> {
    for (name, expected) in &policy.claims {
        match find(&token.claims, name) {
            None | Some(Value::Null) if expected.required => return Err(TokenFault::BadClaim),
            None | Some(Value::Null) => {}
            Some(value) if is_of(value, expected) => {}
            Some(_) => return Err(TokenFault::BadClaim),
        }
    }
    Ok(())
}

fn is_of(value: &Value, expected: &ClaimType) -> bool {
    let has_kind = match expected.kind {
        ClaimKind::String => value.is_string(),
        ClaimKind::Int => value.is_i64(),
        ClaimKind::Float => value.is_number(),
        ClaimKind::Bool => value.is_boolean(),
        ClaimKind::Strings => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        ClaimKind::Object => value.is_object(),
        ClaimKind::Any => true,
    };
    let allowed = |value: &Value| expected.one_of.iter().any(|one| scalar(value).is_some_and(|text| text == *one));
    let has_value = match value {
        _ if expected.one_of.is_empty() => true,
        Value::Array(items) => items.iter().all(allowed),
        value => allowed(value),
    };
    has_kind && has_value
}

/// A claim by its exact name, else by a dotted path into objects. Names may have dots themselves (`https://hasura.io/jwt/claims`).
pub(super) fn find<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    object.get(path).or_else(|| {
        path.match_indices('.').find_map(|(dot, _)| {
            let (name, rest) = path.split_at_checked(dot)?;
            find(object.get(name)?.as_object()?, rest.strip_prefix('.')?)
        })
    })
}

/// A claim that is one value, as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn show_kind(token: &Token<'_>, _: Moment) -> String {
    match other_kind(token) {
        None => "an access token".into(),
        Some((claim, kind)) => format!("{kind} (it has `{claim}`)"),
    }
}

fn show_start(token: &Token<'_>, now: Moment) -> String {
    format!("{}, {}", show_time(token, "nbf", now), show_time(token, "iat", now))
}

fn show_lifetime(token: &Token<'_>, now: Moment) -> String {
    lifetime_of(token, now).map_or_else(|_| "unknown".into(), |lifetime| format!("{} s", lifetime.as_secs()))
}

fn show_time(token: &Token<'_>, claim: &str, now: Moment) -> String {
    match time(token, claim) {
        Ok(None) => format!("no `{claim}`"),
        Err(_) => format!("`{claim}` is not a time: {}", shown(token, claim)),
        Ok(Some(at)) if at > now.unix_seconds() => format!("`{claim}` {at}, in {} s", at - now.unix_seconds()),
        Ok(Some(at)) => format!("`{claim}` {at}, {} s ago", now.unix_seconds() - at),
    }
}

/// JSON escapes what a terminal would obey, except the C1 controls and what turns text around.
fn shown(token: &Token<'_>, claim: &str) -> String {
    token.claims.get(claim).map_or_else(
        || format!("no `{claim}`"),
        |value| value.to_string().chars().take(200).map(|c| if c.is_ascii() && !c.is_control() { c } else { '?' }).collect(),
    )
}
