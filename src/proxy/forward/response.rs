use http::HeaderMap;
use pingora::http::ResponseHeader;
use pingora::prelude::Result;

use super::{REQUEST_ID, end};
use crate::gateway::clock;
use crate::model::{Hook, Plan, ResponseFacts};
use crate::proxy::Exchange;
use crate::throttling::{Standing, headers as limits};

/// The answer as the client gets it: the `on_response` rules, the request id, what is left of a limit that is nearly used up.
pub(in crate::proxy) fn shape_response(response: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    let Some(permit) = exchange.permitted() else { return Ok(()) };
    let upstream = permit.upstream().clone();
    let status = response.status.as_u16();
    if response.status.is_informational() && status != 101 {
        return Ok(());
    }
    if exchange.attempts.took.is_none() {
        let took = clock::steady().saturating_sub(exchange.attempts.began);
        exchange.gateway().lasting.metrics.answered(&upstream.handles, status, took);
        exchange.attempts.took = Some(took);
    }
    let snapshot = exchange.snapshot().clone();
    let Some(trail) = exchange.trail() else { return Ok(()) };
    let facts = trail.facts();
    let mut headers = HeaderMap::new();
    if let (Some(route), Some(caller)) = (trail.route(), trail.caller()) {
        if route.rules.reads_response_headers() {
            headers = response.headers.clone();
        }
        if route.rules.has(Hook::Response) {
            let seen = ResponseFacts { status, headers: headers.clone(), ..ResponseFacts::default() };
            let decision = snapshot.rules.respond(&route.rules, &facts, route.name(), caller, &seen.into());
            let plan = decision.plan(true);
            exchange.reviewed = Some(decision);
            match plan {
                Ok(plan) => apply_to_response(&plan, response)?,
                Err(ending) => {
                    let status = ending.status();
                    return end(exchange, ending, status);
                }
            }
        }
    }
    response.insert_header(REQUEST_ID, facts.id.as_str())?;
    if let Some(standing) = exchange.permitted().and_then(|permit| permit.admission().tightest())
        && is_nearly_used_up(&standing)
    {
        let fields = limits::Fields::admitted(&standing);
        response.insert_header(limits::RATE_LIMIT_POLICY, fields.policy)?;
        response.insert_header(limits::RATE_LIMIT, fields.limit)?;
    }
    exchange.answered(status, headers);
    Ok(())
}

/// The draft lets servers send the fields only when it matters; below a fifth it does.
fn is_nearly_used_up(standing: &Standing) -> bool {
    standing.remaining < standing.limit.div_ceil(5)
}

fn apply_to_response(plan: &Plan, response: &mut ResponseHeader) -> Result<()> {
    for (name, value) in &plan.header_edits {
        match value {
            Some(value) => response.insert_header(name.clone(), value)?,
            None => {
                response.remove_header(name);
            }
        }
    }
    Ok(())
}
