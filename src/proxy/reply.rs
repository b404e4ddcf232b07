//! The gateway's own answers: RFC 9457 problem documents with a stable `reason` and the request id, the same as a page for people,
//! and what routes and rules answer themselves.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, Result, Session};

use super::pages::{self, Words};
use super::{Exchange, cors, door, fault, forward, grpc, guard};
use crate::gateway::Trail;
use crate::identity::challenge;
use crate::model::settings::{self, ErrorPages, Route};
use crate::model::{Ending, Facts, OutcomeKind, Rejection, RequestId};
use crate::throttling::headers as limits;

/// Answers a request that does not go to an upstream.
pub(super) async fn send(session: &mut Session, exchange: &mut Exchange, ending: Ending) -> Result<()> {
    let facts = exchange.trail().map(Trail::facts);
    let asked = Asked {
        facts: facts.as_deref(),
        route: exchange.trail().and_then(|trail| trail.route()).map(|entry| &entry.route),
        pages: &exchange.snapshot().config.error_pages,
        identity: &exchange.snapshot().config.identity,
    };
    let (mut head, mut body) = compose(&ending, &asked)?;
    for cookie in exchange.trail().map(Trail::cookies).unwrap_or_default() {
        head.append_header(header::SET_COOKIE, cookie)?;
    }
    door::adorn(session, &mut head)?;
    grpc::translate(session, &ending, &mut head, &mut body)?;
    exchange.answered(head.status.as_u16(), HeaderMap::new());
    exchange.end(ending);
    let has_body = session.req_header().method != Method::HEAD && !body.is_empty();
    grpc::write_head(session, head, !has_body).await?;
    if has_body {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Answers a request that failed on its way to an upstream or back, if that is still possible. Returns the status, or 0.
pub(super) async fn fail(session: &mut Session, exchange: &mut Exchange, error: &Error) -> u16 {
    let ending = match exchange.ending().cloned().or_else(|| guard::hooks::verdict(session)) {
        Some(ending) => ending,
        None if fault::is_client_gone(error) => {
            exchange.failed(OutcomeKind::ClientClosed);
            return 0;
        }
        None => rejection(error, exchange.permitted().is_some()).into(),
    };
    if let Ending::Rejected(Rejection::Upstream(upstream)) = &ending {
        let id = exchange.trail().map(|trail| trail.facts().id.to_string()).unwrap_or_default();
        let server = exchange.attempts.server.as_deref().unwrap_or_default();
        tracing::warn!(request_id = id, server, reason = upstream.label(), error = %error.etype().as_str(), "upstream failed");
    }
    if session.response_written().is_some() {
        // The head is out: all that is left is to cut the body short, which tells the client that it is not whole.
        exchange.failed(if guard::hooks::was_cut(session) { OutcomeKind::ClientClosed } else { OutcomeKind::UpstreamError });
        return 0;
    }
    let status = ending.status();
    session.set_keepalive(None);
    match send(session, exchange, ending).await {
        Ok(()) => status,
        Err(_) => {
            exchange.failed(OutcomeKind::ClientClosed);
            0
        }
    }
}

fn rejection(error: &Error, permitted: bool) -> Rejection {
    match error.esource() {
        pingora::ErrorSource::Downstream => Rejection::BadRequest(crate::model::Malformed::Framing),
        _ if permitted => Rejection::Upstream(fault::upstream(error)),
        _ => Rejection::Internal,
    }
}

/// What an answer depends on beside its ending.
struct Asked<'a> {
    facts: Option<&'a Facts>,
    route: Option<&'a Route>,
    pages: &'a ErrorPages,
    identity: &'a settings::Identity,
}

fn compose(ending: &Ending, asked: &Asked<'_>) -> Result<(ResponseHeader, Bytes)> {
    let status = ending.status();
    let mut head = ResponseHeader::build(status, Some(16))?;
    let (content_type, body) = match ending {
        Ending::Rejected(rejection) => refusal(rejection, asked, &mut head)?,
        Ending::Fixed(answer) => (answer.content_type.clone(), answer.body.clone()),
        Ending::Redirect { .. } | Ending::Preflight | Ending::Login { .. } => (TEXT, Bytes::new()),
        Ending::Respond { body, .. } => (TEXT, Bytes::copy_from_slice(body.as_bytes())),
    };
    // RFC 9110 §8.6, §15.3.5: these statuses have no body, and 204 and 304 no length either.
    let body = if matches!(status, 204 | 205 | 304) { Bytes::new() } else { body };
    if !matches!(status, 204 | 304) {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    if !body.is_empty() {
        head.insert_header(header::CONTENT_TYPE, content_type)?;
    }
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some(facts) = asked.facts {
        head.insert_header("x-request-id", facts.id.as_str())?;
    }
    match ending {
        Ending::Redirect { location, .. } => head.insert_header(header::LOCATION, location)?,
        Ending::Rejected(rejection) => decorate(&mut head, rejection, asked)?,
        Ending::Fixed(answer) => {
            for (name, value) in &answer.headers {
                head.insert_header(name.clone(), value)?;
            }
        }
        Ending::Respond { .. } | Ending::Preflight | Ending::Login { .. } => {}
    }
    let Some(route) = asked.route else { return Ok((head, body)) };
    if let Some(security) = &route.security_headers {
        forward::secure(security, &mut head)?;
    }
    match (&route.cors, asked.facts, ending) {
        (Some(cors), Some(facts), Ending::Preflight) => cors::preflight(cors, facts, &mut head)?,
        // Without it a page could not read why it was refused.
        (Some(cors), Some(facts), _) => cors::answer(cors, facts, &mut head)?,
        _ => {}
    }
    Ok((head, body))
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A page for people, or a problem document for everybody else.
fn refusal(rejection: &Rejection, asked: &Asked<'_>, head: &mut ResponseHeader) -> Result<(HeaderValue, Bytes)> {
    let id = asked.facts.map(|facts| facts.id);
    // Nobody but a browser logs in, and people cannot do anything with JSON.
    let pages = match (asked.pages, rejection) {
        (ErrorPages::Off, Rejection::Login(_)) => &ErrorPages::Standard,
        (pages, _) => pages,
    };
    if *pages == ErrorPages::Off {
        return Ok((PROBLEM, problem(rejection, id)));
    }
    cors::vary(head, "Accept")?;
    let request_id = id.map(|id| id.to_string()).unwrap_or_default();
    let words =
        Words { status: rejection.status(), title: title(rejection), reason: rejection.reason(), request_id: &request_id };
    let Some(page) = asked.facts.and_then(|facts| pages::page(pages, &facts.headers, &words)) else {
        return Ok((PROBLEM, problem(rejection, id)));
    };
    if *pages == ErrorPages::Standard {
        head.insert_header(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        )?;
        head.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    }
    Ok((HTML, page))
}

fn title(rejection: &Rejection) -> &'static str {
    StatusCode::from_u16(rejection.status()).ok().and_then(|status| status.canonical_reason()).unwrap_or("Refused")
}

fn decorate(head: &mut ResponseHeader, rejection: &Rejection, asked: &Asked<'_>) -> Result<()> {
    match rejection {
        Rejection::Unauthenticated(fault) => {
            head.insert_header(header::WWW_AUTHENTICATE, challenge(asked.identity, asked.facts, Some(*fault)))?;
        }
        Rejection::Denied { status: 401, .. } => {
            head.insert_header(header::WWW_AUTHENTICATE, challenge(asked.identity, asked.facts, None))?;
        }
        // The address of a callback has a code in it.
        Rejection::Login(_) => head.insert_header(header::REFERRER_POLICY, "no-referrer")?,
        Rejection::Throttled(throttled) => {
            let fields = limits::Fields::refused(throttled);
            head.insert_header(limits::RATE_LIMIT_POLICY, fields.policy)?;
            head.insert_header(limits::RATE_LIMIT, fields.limit)?;
        }
        Rejection::BadRequest(crate::model::Malformed::Method) => {
            head.insert_header(header::ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")?;
        }
        _ => {}
    }
    match rejection.retry_after() {
        Some(seconds) => head.insert_header(header::RETRY_AFTER, seconds),
        None => Ok(()),
    }
}

fn problem(rejection: &Rejection, id: Option<RequestId>) -> Bytes {
    let document = serde_json::json!({
        "title": title(rejection),
        "status": rejection.status(),
        "reason": rejection.reason(),
        "request_id": id.map(|id| id.to_string()),
    });
    document.to_string().into()
}
