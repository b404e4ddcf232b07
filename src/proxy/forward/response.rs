use http::HeaderMap;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;

use super::edits::{self, apply_plan};
use super::{end, secrets};
use crate::gateway::{Trail, clock};
use crate::model::settings::SecurityHeaders;
use crate::model::{Facts, Hook, ResponseFacts};
use crate::proxy::{Exchange, compress, cors};
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
    if let Some(party) = snapshot.login() {
        secrets::defend(|field| party.sessions().sets_ours(field), response)?;
    }
    if let Some(hosted) = snapshot.hosted() {
        secrets::defend(|field| hosted.sets_ours(field), response)?;
    }
    let Some(trail) = exchange.trail() else { return Ok(()) };
    let facts = trail.facts();
    let mut headers = HeaderMap::new();
    if let (Some(route), Some(caller)) = (trail.route(), trail.caller()) {
        if route.rules.reads_response_headers() {
            headers = response.headers.clone();
        }
        edits::apply(&route.route.response_headers, response)?;
        if route.rules.has(Hook::Response) {
            let seen = ResponseFacts { status, headers: headers.clone(), ..ResponseFacts::default() };
            let decision = snapshot.rules.respond(&route.rules, &facts, route.name(), caller, &seen.into());
            let plan = decision.plan(true);
            exchange.reviewed = Some(decision);
            match plan {
                Ok(plan) => apply_plan(&plan, response)?,
                Err(ending) => {
                    let status = ending.status();
                    return end(exchange, ending, status);
                }
            }
        }
    }
    finish(exchange, &facts, response)?;
    // A literal name is not copied, a `HeaderName` is.
    response.insert_header("x-request-id", facts.id.as_str())?;
    let cookies = exchange.trail().map(Trail::cookies).unwrap_or_default();
    if !cookies.is_empty() {
        // Whatever the upstream says: a cache in between would hand the cookie to the next one who asks.
        response.insert_header(CACHE_CONTROL, "no-store")?;
    }
    for cookie in cookies {
        response.append_header(SET_COOKIE, cookie)?;
    }
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

/// What no rule can get around: security headers, CORS and the coding of the body.
fn finish(exchange: &mut Exchange, facts: &Facts, response: &mut ResponseHeader) -> Result<()> {
    let Some(entry) = exchange.trail().and_then(|trail| trail.route()) else { return Ok(()) };
    let route = &entry.route;
    if let Some(security) = &route.security_headers {
        secure(security, response)?;
    }
    if let Some(cors) = &route.cors {
        cors::answer(cors, facts, response)?;
    }
    if let Some(compression) = &route.compression {
        exchange.encoder = compress::begin(compression, facts, response)?;
    }
    Ok(())
}

/// The draft lets servers send the fields only when it matters; below a fifth it does.
fn is_nearly_used_up(standing: &Standing) -> bool {
    standing.remaining < standing.limit.div_ceil(5)
}

/// Security headers, where there are none or where they shall be replaced.
pub(in crate::proxy) fn secure(security: &SecurityHeaders, response: &mut ResponseHeader) -> Result<()> {
    for (name, value) in &security.fields {
        if security.replaces || !response.headers.contains_key(name) {
            response.insert_header(name.clone(), value)?;
        }
    }
    Ok(())
}
