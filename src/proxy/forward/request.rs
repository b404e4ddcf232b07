use std::net::IpAddr;

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Uri};
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, Result, Session};

use super::edits::{self, apply_plan};
use super::{REQUEST_ID, end, secrets};
use crate::identity;
use crate::model::{Body, CanonicalPath, Facts};
use crate::proxy::Exchange;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The fields that every request gets.
const OURS: usize = 6;

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
    let mut parts = take_apart(request);
    spell_target(session, &mut parts.uri, &facts, rewritten.as_ref().unwrap_or(&facts.path))?;
    let fields = &mut parts.headers;
    let identity = trail.caller().and_then(|caller| caller.identity());
    fields.reserve(OURS + identity.map_or(0, |identity| identity.forwarded.len()) + permit.plan().header_edits.len());
    for name in facts.headers.keys() {
        let text = name.as_str();
        if text.starts_with("x-forwarded-") || SPOOFABLE.contains(&text) {
            fields.remove(name);
        }
    }
    let policy = &exchange.snapshot().config.identity;
    for name in policy.withheld() {
        fields.remove(name);
    }
    if let Some(proof) = trail.route().and_then(|route| identity::withheld_proof(policy, route.route.auth)) {
        fields.remove(&proof);
    }
    if facts.body != Body::NotRead {
        // The client was told to go on already.
        fields.remove(header::EXPECT);
    }
    join_cookies(fields, &facts.headers)?;
    if let Some(party) = exchange.snapshot().login() {
        secrets::keep_back(party.sessions(), fields);
    }
    if let Some(route) = trail.route() {
        edits::apply(&route.route.request_headers, fields)?;
    }
    fields.insert(FORWARDED_FOR, spelled(facts.client_ip)?);
    fields.insert(FORWARDED_PROTO, HeaderValue::from_static(if facts.is_secure { "https" } else { "http" }));
    // HTTP/2 names it in `:authority`.
    match (facts.headers.get(header::HOST), session.req_header().uri.authority()) {
        (Some(host), _) => drop(fields.insert(FORWARDED_HOST, host.clone())),
        (None, Some(authority)) => drop(fields.insert(FORWARDED_HOST, value(authority.as_str())?)),
        (None, None) => {}
    }
    fields.insert(REQUEST_ID, value(facts.id.as_str())?);
    if let Some(identity) = identity {
        for (name, value) in &identity.forwarded {
            fields.insert(name, value.clone());
        }
        if let Some((name, value)) = exchange.snapshot().upstream_token(trail.route(), identity, facts.received_at) {
            fields.insert(name, value);
        }
    }
    apply_plan(permit.plan(), fields)?;
    *request = RequestHeader::from(parts);
    Ok(())
}

/// Field names leave in lower case, as they do over HTTP/2 and through other proxies. Keeping the client's capitals costs pingora a
/// second map, which every field that is set here has to enter as well: 3 % of a request.
fn take_apart(request: &mut RequestHeader) -> Parts {
    let (empty, ()) = http::Request::new(()).into_parts();
    std::mem::replace(request, empty.into()).into()
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::new(ErrorType::HTTPStatus(400)))
}

/// An address as text; the one of IPv4 without the formatting machinery, which takes longer than all the rest here.
fn spelled(address: IpAddr) -> Result<HeaderValue> {
    let IpAddr::V4(address) = address else { return value(&address.to_string()) };
    let mut text = String::with_capacity(15);
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for (digit, is_written) in [(octet / 100, octet > 99), (octet / 10 % 10, octet > 9), (octet % 10, true)] {
            if is_written {
                text.push(char::from(b'0' + digit));
            }
        }
    }
    value(&text)
}

/// Sends the spelling that was judged or what it was rewritten to, not the one that arrived.
fn spell_target(session: &Session, uri: &mut Uri, facts: &Facts, path: &CanonicalPath) -> Result<()> {
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
        *uri = target.parse().map_err(|_| Error::new(ErrorType::HTTPStatus(400)))?;
    }
    Ok(())
}

/// RFC 9113 §8.2.3: cookies that came in several fields are one to an HTTP/1.1 server.
fn join_cookies(fields: &mut HeaderMap, arrived: &HeaderMap) -> Result<()> {
    let mut cookies = arrived.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let all: Vec<&[u8]> = [first, second].into_iter().chain(cookies).map(HeaderValue::as_bytes).collect();
        let joined = HeaderValue::from_bytes(&all.join(&b"; "[..])).map_err(|_| Error::new(ErrorType::HTTPStatus(400)))?;
        fields.insert(header::COOKIE, joined);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_spelled_as_everywhere(four: [u8; 4], six: [u8; 16]) {
            for address in [IpAddr::from(four), IpAddr::from(six)] {
                prop_assert_eq!(spelled(address).unwrap(), address.to_string());
            }
        }
    }
}
