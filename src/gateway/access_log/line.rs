use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::AccessLog;
use crate::gateway::{Permit, Snapshot, Trail, clock};
use crate::model::{Decision, Effect, Ending, Facts, Outcome, Rejection};

/// The members of a line; absent ones are left out, so that a query for a member finds what has it.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<String>,
    protocol: &'static str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    status: u16,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
    #[serde(skip_serializing_if = "is_usual")]
    attempts: usize,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules_us: Option<u64>,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut_off: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shadow: Vec<String>,
}

/// Appends the line of one request.
#[expect(clippy::too_many_arguments, reason = "a line is made of everything that is known at the end")]
pub(in crate::gateway) fn write(
    log: &AccessLog,
    snapshot: &Snapshot,
    trail: &Trail,
    permit: Option<&Permit>,
    ending: Option<&Ending>,
    later: [Option<&Decision>; 2],
    laps: [Option<Duration>; 3],
    outcome: &Outcome,
) {
    if log.is_off() {
        return;
    }
    let facts = trail.facts();
    let omits = |member: &str| snapshot.config.access_log.omit.iter().any(|omitted| omitted == member);
    let decisions = || trail.decision().map(|d| &**d).into_iter().chain(later.into_iter().flatten());
    let identity = trail.caller().and_then(|caller| caller.identity());
    let mut tags = BTreeMap::new();
    let mut shadow = Vec::new();
    for entry in decisions().flat_map(|decision| &decision.entries) {
        match (&entry.effect, entry.shadow) {
            (effect, true) => shadow.push(format!("{}:{}", entry.place.rule, effect.verb())),
            (Effect::Tag(key, value), false) if !omits("tags") => {
                tags.insert(&**key, &**value);
            }
            _ => {}
        }
    }
    let line = Line {
        time: format!("{:.6}", clock::date(facts.received_at)),
        request_id: facts.id.as_str(),
        trace_id: trail.trace().map(ToString::to_string),
        client_ip: (!omits("client_ip")).then(|| facts.client_ip.to_string()),
        protocol: facts.protocol.label(),
        method: facts.method.as_str(),
        host: (!omits("host")).then_some(facts.host.as_str()),
        path: (!omits("path")).then_some(facts.path.as_str()),
        query: facts.query.as_deref().filter(|_| !omits("query") && !is_secret(snapshot, &facts)),
        status: outcome.response.status,
        outcome: outcome.kind.label(),
        route: trail.route().map(|route| &**route.name()),
        rule: decider(trail.decision().map(|d| &**d), ending),
        reason: match ending {
            Some(Ending::Rejected(rejection)) => Some(rejection.reason()),
            _ => None,
        },
        token: match trail.refused() {
            Some(Rejection::Unauthenticated(fault)) => Some(fault.label()),
            _ => None,
        },
        upstream: permit.map(|permit| &**permit.upstream().pool.name()),
        server: outcome.server.as_deref(),
        attempts: outcome.attempts,
        duration_ms: milliseconds(outcome.response.duration),
        upstream_ms: outcome.upstream_took.map(milliseconds),
        rules_us: laps[1].map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        bytes_in: outcome.bytes_in,
        bytes_out: outcome.response.body_bytes,
        cut_off: !outcome.response.completed,
        issuer: identity.map(|identity| &*identity.issuer),
        sub: identity.and_then(|identity| identity.claims.text("sub")).filter(|_| !omits("sub")),
        account: identity.and_then(|identity| identity.account.as_deref()).filter(|_| !omits("account")),
        user_agent: facts.header("user-agent").filter(|_| !omits("user_agent")),
        tags,
        shadow,
    };
    log.append(|lines| {
        // Serialising plain text and numbers into memory cannot fail.
        let _ = serde_json::to_writer(lines, &line);
    });
}

/// The query of a login's end has a code in it.
fn is_secret(snapshot: &Snapshot, facts: &Facts) -> bool {
    snapshot.login().is_some_and(|party| party.is_callback(&facts.host, facts.path.as_str()))
}

/// The rule that decided: it refused, answered, failed, limited, or chose the upstream.
fn decider<'a>(decision: Option<&'a Decision>, ending: Option<&'a Ending>) -> Option<&'a str> {
    if let Some(Ending::Rejected(Rejection::Throttled(throttled))) = ending {
        return Some(&throttled.rule);
    }
    let decision = decision?;
    if let Some(fault) = &decision.failed {
        return Some(&fault.place.rule);
    }
    let last = |wanted: fn(&Effect) -> bool| {
        decision.enforced().filter(|entry| wanted(&entry.effect)).last().map(|entry| &*entry.place.rule)
    };
    last(Effect::ends_rules).or_else(|| last(Effect::routes))
}

/// None, or one: only what was tried again is worth a member.
fn is_usual(attempts: &usize) -> bool {
    *attempts < 2
}

fn milliseconds(duration: Duration) -> f64 {
    // Three digits: a microsecond is what the clock is worth here.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
