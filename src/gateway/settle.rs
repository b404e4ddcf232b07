use super::report::report;
use super::{Lasting, Permit, Snapshot, Trail, access_log, traces};
use crate::model::{Decision, Effect, Ending, Hook, Line, Moment, Name, Outcome, OutcomeKind, Rejection, Usage};

/// Who is billed for a metered request that names no customer.
const NOBODY: &str = "_anonymous";

/// The end of every request, however it ended: runs the `on_complete` rules, bills, counts and logs. The proxy calls it exactly
/// once, also for a request whose hook panicked or that a shutdown cut off.
///
/// `now` is when it ended.
///
/// A request that was never permitted bills nothing and runs no `on_complete` rule: no byte of it reached an upstream.
#[expect(clippy::too_many_arguments, reason = "accounting needs everything that is known at the end")]
pub fn settle(
    snapshot: &Snapshot,
    lasting: &Lasting,
    trail: &Trail,
    permit: Option<&Permit>,
    ending: Option<&Ending>,
    reviewed: Option<&Decision>,
    outcome: &mut Outcome,
    now: Moment,
) {
    let facts = trail.facts();
    let route = trail.route();
    outcome.response.duration = now.steady().saturating_sub(facts.received_at.steady());
    if let Some(decision) = trail.decision() {
        report(snapshot, &lasting.faults, facts.id, Hook::Request, decision, now);
    }
    if let Some(decision) = reviewed {
        report(snapshot, &lasting.faults, facts.id, Hook::Response, decision, now);
    }

    let mut completed = None;
    if let (Some(permit), Some(route), Some(caller)) = (permit, route, trail.caller()) {
        if route.rules.has(Hook::Complete) {
            let response = std::sync::Arc::new(std::mem::take(&mut outcome.response));
            let decision = snapshot.rules.complete(&route.rules, &facts, route.name(), caller, &response, outcome.bytes_in);
            outcome.response = std::sync::Arc::unwrap_or_clone(response);
            report(snapshot, &lasting.faults, facts.id, Hook::Complete, &decision, now);
            completed = Some(decision);
        }
        let lines = owed(permit, reviewed, completed.as_ref(), outcome.kind);
        bill(snapshot, lasting, trail, lines, now.unix().as_millis());
    }

    if let Some(route) = route
        && (reviewed.is_some() || completed.is_some())
    {
        let evaluations = reviewed.into_iter().chain(&completed).flat_map(|decision| &decision.evaluations);
        route.handles.reviewed(evaluations.map(|evaluation| evaluation.took).sum());
    }
    count(snapshot, lasting, trail, permit, ending, outcome);
    traces::record(lasting.spans.as_ref(), trail, permit, [reviewed, completed.as_ref()], outcome, now);
    let laps = trail.laps();
    access_log::write(&lasting.access_log, snapshot, trail, permit, ending, [reviewed, completed.as_ref()], laps, outcome);
}

/// What a permitted request owes. The meters of `on_request` count if the upstream did its work, also when the client did not wait
/// for the end; the later hooks have seen the outcome and decide themselves.
pub fn owed(permit: &Permit, reviewed: Option<&Decision>, completed: Option<&Decision>, kind: OutcomeKind) -> Vec<Line> {
    let was_served = matches!(kind, OutcomeKind::Proxied | OutcomeKind::ClientClosed);
    let mut lines: Vec<Line> = if was_served { permit.plan().meters.clone() } else { Vec::new() };
    // A rule that failed before the answer was passed on turned it into a 500: what others had recorded for the answer is void.
    let reviewed = reviewed.filter(|decision| decision.failed.is_none());
    lines.extend(reviewed.into_iter().chain(completed).flat_map(metered));
    lines
}

fn metered(decision: &Decision) -> impl Iterator<Item = Line> {
    decision.enforced().filter_map(|entry| match &entry.effect {
        Effect::Meter(line) => Some(line.clone()),
        _ => None,
    })
}

fn bill(snapshot: &Snapshot, lasting: &Lasting, trail: &Trail, lines: Vec<Line>, at_ms: u128) {
    if lines.is_empty() {
        return;
    }
    for line in &lines {
        if let Some(meter) = snapshot.meters.iter().find(|meter| meter.name() == &line.meter) {
            meter.add(&line.dimensions, line.quantity);
        }
    }
    if let Some(ledger) = &lasting.ledger {
        let account = trail.caller().and_then(|caller| caller.account()).cloned().unwrap_or_else(|| Name::from(NOBODY));
        ledger.settle(Usage { account, at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX), lines });
    }
}

fn count(
    snapshot: &Snapshot,
    lasting: &Lasting,
    trail: &Trail,
    permit: Option<&Permit>,
    ending: Option<&Ending>,
    outcome: &Outcome,
) {
    let metrics = &lasting.metrics;
    let handles = match trail.route() {
        Some(route) => {
            route.handles.left(outcome.bytes_in, outcome.response.body_bytes);
            &route.handles
        }
        None => &snapshot.unrouted,
    };
    match (trail.refused(), trail.caller()) {
        (Some(Rejection::Unauthenticated(fault)), _) => metrics.token(Some(*fault)),
        (None, Some(caller)) if caller.identity().is_some() => metrics.token(None),
        (None, Some(crate::model::Caller::Anonymous(crate::model::Absence::Ignored(fault)))) => metrics.token(Some(*fault)),
        _ => {}
    }
    let [identified, decided, admitted] = trail.laps();
    if let Some(took) = identified {
        handles.identified(took);
    }
    if let Some(took) = decided {
        handles.decided(took);
    }
    if let Some(took) = admitted {
        handles.admitted(took);
    }
    if let Some(permit) = permit {
        for draw in &permit.plan().draws {
            if let Some(rule) = snapshot.rule(&draw.rule) {
                rule.admitted();
            }
        }
    }
    if let Some(Ending::Rejected(Rejection::Throttled(throttled))) = ending
        && let Some(rule) = snapshot.rule(&throttled.rule)
    {
        rule.refused();
    }
    metrics.ended(handles, &trail.facts().method, outcome.response.status, outcome.kind, outcome.response.duration);
}
