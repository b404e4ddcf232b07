//! Towards the upstream and back: which server, which headers, and whether to try again.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use pingora::ErrorType;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, HttpPeer, Result, Session};

use super::{Exchange, fault};
use crate::gateway::clock;
use crate::model::{Ending, Facts, Hook, Plan, Rejection, ResponseFacts, UpstreamFault};
use crate::throttling::{Standing, headers as limits};
use crate::traffic::Pick;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers by which a client could tell an upstream another story than the one that was judged.
const SPOOFABLE: [&str; 8] = [
    "forwarded",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-client-ip",
];

/// The next server. Fails with an ending that says so when none is left.
pub(super) fn pick(exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    let Some(permit) = exchange.permitted() else {
        // Unreachable while `request_filter` answers every ending itself; refused all the same.
        return end(exchange, Rejection::Internal.into(), 500);
    };
    let upstream = permit.upstream().clone();
    let Some(Pick { address, authority, index }) = upstream.pool.pick(&mut exchange.attempts.tried) else {
        upstream.handles.failed(UpstreamFault::NoServer);
        return end(exchange, Rejection::Upstream(UpstreamFault::NoServer).into(), 503);
    };
    if exchange.attempts.made > 0 {
        upstream.handles.retried();
    }
    exchange.attempts.made += 1;
    exchange.attempts.server = Some(authority);
    exchange.attempts.index = index;
    exchange.attempts.began = clock::steady();

    let timeouts = upstream.pool.timeouts();
    let mut peer = Box::new(HttpPeer::new(address, false, String::new()));
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(timeouts.read);
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(timeouts.idle);
    Ok(peer)
}

fn end<T>(exchange: &mut Exchange, ending: Ending, status: u16) -> Result<T> {
    exchange.end(ending);
    Err(Error::new(ErrorType::HTTPStatus(status)))
}

/// Nothing was sent yet: another server may be tried, whatever the method.
pub(super) fn retry_connecting(exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    if let Some(permit) = exchange.permitted() {
        let upstream = permit.upstream();
        upstream.handles.failed(fault::upstream(&error));
        let retries = upstream.pool.settings().retries;
        let again = exchange.attempts.made <= retries && upstream.pool.has_untried(exchange.attempts.tried);
        error.set_retry(again);
    }
    error
}

/// Something may have been sent: only an idempotent request whose body is still at hand goes out again, and only when the
/// connection was an old one that the server had closed meanwhile. Pingora marks some HTTP/2 errors as retryable whatever the
/// method, so its word is not enough.
pub(super) fn retry_sending(exchange: &mut Exchange, session: &Session, mut error: Box<Error>, reused: bool) -> Box<Error> {
    let is_repeatable = session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated();
    error.retry.decide_reuse(reused);
    let again = is_repeatable && reused && error.retry() && exchange.attempts.made <= 2;
    error.set_retry(again);
    if let Some(permit) = exchange.permitted()
        && !matches!(error.esource(), pingora::ErrorSource::Downstream)
    {
        permit.upstream().handles.failed(fault::upstream(&error));
    }
    if again {
        // The server is fine, only the connection was stale.
        let index = exchange.attempts.index;
        exchange.attempts.tried.forgive(index);
    }
    error
}

/// The request as the upstream gets it. Runs again for every attempt, so it sets and removes but never appends.
pub(super) fn shape_request(session: &Session, request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    let (Some(permit), Some(trail)) = (exchange.permitted(), exchange.trail()) else {
        return Err(Error::new(ErrorType::HTTPStatus(500)));
    };
    let facts = trail.facts();
    spell_target(session, request, &facts)?;
    for name in facts.headers.keys() {
        let text = name.as_str();
        if text.starts_with("x-forwarded-") || SPOOFABLE.contains(&text) {
            request.remove_header(name);
        }
    }
    for (name, _) in &exchange.snapshot().config.identity.forward_claims {
        if facts.headers.contains_key(name) {
            request.remove_header(name);
        }
    }
    join_cookies(request, &facts.headers)?;
    request.insert_header(FORWARDED_FOR, facts.client_ip.to_string())?;
    request.insert_header(FORWARDED_PROTO, "http")?;
    if let Some(host) = facts.headers.get(header::HOST) {
        request.insert_header(FORWARDED_HOST, host)?;
    }
    request.insert_header(REQUEST_ID, facts.id.as_str())?;
    if let Some(identity) = trail.caller().and_then(|caller| caller.identity()) {
        for (name, value) in &identity.forwarded {
            request.insert_header(name.clone(), value)?;
        }
    }
    apply_to_request(permit.plan(), request)
}

/// Sends the spelling that was judged, not the one that arrived.
fn spell_target(session: &Session, request: &mut RequestHeader, facts: &Facts) -> Result<()> {
    let arrived = session.req_header().raw_path();
    let path = facts.path.as_str();
    let same = match &facts.query {
        None => arrived == path.as_bytes(),
        Some(query) => {
            arrived.len() == path.len() + 1 + query.len()
                && arrived.starts_with(path.as_bytes())
                && arrived.ends_with(query.as_bytes())
        }
    };
    if !same {
        let target = match &facts.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let uri = target.parse::<Uri>().map_err(|_| Error::new(ErrorType::HTTPStatus(400)))?;
        request.set_uri(uri);
    }
    Ok(())
}

/// RFC 9113 §8.2.3: cookies that came in several fields are one to an HTTP/1.1 server.
fn join_cookies(request: &mut RequestHeader, arrived: &HeaderMap) -> Result<()> {
    let mut cookies = arrived.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let all: Vec<&[u8]> = [first, second].into_iter().chain(cookies).map(HeaderValue::as_bytes).collect();
        let joined = HeaderValue::from_bytes(&all.join(&b"; "[..])).map_err(|_| Error::new(ErrorType::HTTPStatus(400)))?;
        request.insert_header(header::COOKIE, joined)?;
    }
    Ok(())
}

fn apply_to_request(plan: &Plan, request: &mut RequestHeader) -> Result<()> {
    for (name, value) in &plan.header_edits {
        match value {
            Some(value) => request.insert_header(name.clone(), value)?,
            None => {
                request.remove_header(name);
            }
        }
    }
    Ok(())
}

/// The answer as the client gets it: the `on_response` rules, the request id, what is left of a limit that is nearly used up.
pub(super) fn shape_response(response: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
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
