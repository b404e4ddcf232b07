//! From a request to its spans.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

use super::{Permit, Trail};
use crate::model::settings::Tracing;
use crate::model::{Decision, Effect, Incoming, Moment, Outcome, OutcomeKind, Trace};
use crate::telemetry::{Span, Spans, Value};

/// Puts a request into a trace: the client's, if its word is trusted, or one of its own.
pub fn begin(settings: Option<&Tracing>, headers: &HeaderMap) -> Option<Trace> {
    let settings = settings?;
    let (span, upstream_span) = (fastrand::u64(1..), fastrand::u64(1..));
    if settings.trust_incoming
        && let Some(Incoming { id, span: parent, sampled, state }) = Incoming::read(headers)
    {
        return Some(Trace { id, parent: Some(parent), span, upstream_span, sampled, state });
    }
    let sampled = settings.otlp.is_some() && fastrand::f64() < settings.sample;
    Some(Trace { id: fastrand::u128(1..), parent: None, span, upstream_span, sampled, state: None })
}

/// Exports a finished request that was sampled.
pub(super) fn record(
    spans: Option<&Spans>,
    trail: &Trail,
    permit: Option<&Permit>,
    later: [Option<&Decision>; 2],
    outcome: &Outcome,
    now: Moment,
) {
    let (Some(spans), Some(trace)) = (spans, trail.trace().filter(|trace| trace.sampled)) else { return };
    let facts = trail.facts();
    let at = |moment: Moment, steady: Duration| wall(moment.unix().saturating_sub(moment.steady().saturating_sub(steady)));
    let route = trail.route().map_or("no route", |route| &**route.name());
    let text = |text: &str| Value::Text(text.to_owned());
    let mut attributes = vec![
        ("http.request.method".into(), text(facts.method.as_str())),
        ("http.route".into(), text(route)),
        ("http.response.status_code".into(), Value::Number(i64::from(outcome.response.status))),
        ("http.request.body.size".into(), Value::Number(i64::try_from(outcome.bytes_in).unwrap_or(i64::MAX))),
        ("http.response.body.size".into(), Value::Number(i64::try_from(outcome.response.body_bytes).unwrap_or(i64::MAX))),
        ("tollgate.outcome".into(), text(outcome.kind.label())),
        ("tollgate.request_id".into(), text(facts.id.as_str())),
    ];
    let decisions = trail.decision().map(|decision| &**decision).into_iter().chain(later.into_iter().flatten());
    for entry in decisions.flat_map(Decision::enforced) {
        if let Effect::Tag(key, value) = &entry.effect {
            attributes.push((format!("tollgate.tag.{key}").into(), text(value)));
        }
    }
    if let (Some(began), Some(permit)) = (trail.upstream_began(), permit) {
        let mut attributes = vec![("tollgate.upstream".into(), text(permit.upstream().pool.name()))];
        if let Some(server) = &outcome.server {
            attributes.push(("server.address".into(), text(server)));
        }
        if let Some(took) = outcome.upstream_took {
            attributes
                .push(("tollgate.first_byte_us".into(), Value::Number(i64::try_from(took.as_micros()).unwrap_or(i64::MAX))));
        }
        spans.record(Span {
            trace,
            name: format!("upstream {}", permit.upstream().pool.name()),
            is_upstream: true,
            began: at(now, began),
            ended: wall(now.unix()),
            attributes,
            failed: outcome.kind == OutcomeKind::UpstreamError,
        });
    }
    spans.record(Span {
        trace,
        name: format!("{} {route}", facts.method),
        is_upstream: false,
        began: at(now, facts.received_at.steady()),
        ended: wall(now.unix()),
        attributes,
        failed: outcome.response.status >= 500,
    });
}

fn wall(unix: Duration) -> SystemTime {
    UNIX_EPOCH + unix
}
