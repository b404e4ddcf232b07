use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, Result, Session};

use super::edits::{self, apply_plan};
use super::{REQUEST_ID, end};
use crate::identity;
use crate::model::{Body, CanonicalPath, Facts};
use crate::proxy::Exchange;

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

/// The request as the upstream gets it. Runs again for every attempt, each time on a fresh copy of what arrived.
pub(in crate::proxy) fn shape_request(session: &Session, request: &mut RequestHeader, exchange: &mut Exchange) -> Result<()> {
    let (Some(permit), Some(trail)) = (exchange.permitted(), exchange.trail()) else {
        return Err(Error::new(ErrorType::HTTPStatus(500)));
    };
    let facts = trail.facts();
    let rewritten = match trail.route().map_or(Ok(None), |route| route.rewritten(permit.plan(), &facts)) {
        Ok(rewritten) => rewritten,
        Err(rejection) => {
            let status = rejection.status();
            return end(exchange, rejection.into(), status);
        }
    };
    spell_target(session, request, &facts, rewritten.as_ref().unwrap_or(&facts.path))?;
    for name in facts.headers.keys() {
        let text = name.as_str();
        if text.starts_with("x-forwarded-") || SPOOFABLE.contains(&text) {
            request.remove_header(name);
        }
    }
    let policy = &exchange.snapshot().config.identity;
    for name in policy.withheld() {
        if facts.headers.contains_key(name) {
            request.remove_header(name);
        }
    }
    if let Some(proof) = trail.route().and_then(|route| identity::withheld_proof(policy, route.route.auth)) {
        request.remove_header(&proof);
    }
    if facts.body != Body::NotRead {
        // The client was told to go on already.
        request.remove_header(&header::EXPECT);
    }
    join_cookies(request, &facts.headers)?;
    if let Some(route) = trail.route() {
        edits::apply(&route.route.request_headers, request)?;
    }
    request.insert_header(FORWARDED_FOR, facts.client_ip.to_string())?;
    request.insert_header(FORWARDED_PROTO, if facts.is_secure { "https" } else { "http" })?;
    // HTTP/2 names it in `:authority`.
    match (facts.headers.get(header::HOST), session.req_header().uri.authority()) {
        (Some(host), _) => request.insert_header(FORWARDED_HOST, host)?,
        (None, Some(authority)) => request.insert_header(FORWARDED_HOST, authority.as_str())?,
        (None, None) => {}
    }
    request.insert_header(REQUEST_ID, facts.id.as_str())?;
    if let Some(identity) = trail.caller().and_then(|caller| caller.identity()) {
        for (name, value) in &identity.forwarded {
            request.insert_header(name.clone(), value)?;
        }
        if let Some((name, value)) = exchange.snapshot().upstream_token(trail.route(), identity, facts.received_at) {
            request.insert_header(name, value)?;
        }
    }
    apply_plan(permit.plan(), request)
}

/// Sends the spelling that was judged or what it was rewritten to, not the one that arrived.
fn spell_target(session: &Session, request: &mut RequestHeader, facts: &Facts, path: &CanonicalPath) -> Result<()> {
    let arrived = session.req_header().raw_path();
    let path = path.as_str();
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
