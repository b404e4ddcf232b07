//! gRPC is HTTP/2 with its own idea of a status, and passes through like everything else. What it needs of a gateway: refusals that its
//! clients understand, and for browsers, which see no trailers, the translation called gRPC-Web.

use std::fmt::Write;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Result, Session};
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::bridge::grpc_web::GrpcWebCtx;

use super::Exchange;
use crate::model::settings::UpstreamProtocol;
use crate::model::{Ending, Rejection};

/// How a call is spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `application/grpc`, with its `+proto` and so on: status in trailers.
    Native,
    /// `application/grpc-web`: over any HTTP, status in the body or, if there is none, in the head.
    Web,
}

fn dialect(headers: &HeaderMap) -> Option<Dialect> {
    let value = headers.get(header::CONTENT_TYPE)?.as_bytes();
    let rest =
        value.get(16..).filter(|_| value.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc")))?;
    match rest {
        [] | [b'+' | b';' | b' ', ..] => Some(Dialect::Native),
        [b'-', web @ ..] => web.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"web")).then_some(Dialect::Web),
        _ => None,
    }
}

/// Makes of a refusal one of gRPC: `Trailers-Only`, which is a head with HTTP's 200 and gRPC's own status, and no body. Clients of gRPC
/// make `UNKNOWN` or something they guess of a plain 403.
pub(super) fn translate(session: &Session, ending: &Ending, head: &mut ResponseHeader, body: &mut Bytes) -> Result<()> {
    let request = session.req_header();
    let (Some(dialect), Ending::Rejected(rejection)) = (dialect(&request.headers), ending) else { return Ok(()) };
    // Over HTTP/1 there is no gRPC, whatever the request says of itself.
    if dialect == Dialect::Native && request.version != Version::HTTP_2 {
        return Ok(());
    }
    head.set_status(200)?;
    head.remove_header(&header::CONTENT_LENGTH);
    head.remove_header(&header::WWW_AUTHENTICATE);
    head.insert_header(header::CONTENT_TYPE, if dialect == Dialect::Web { "application/grpc-web" } else { "application/grpc" })?;
    head.insert_header("grpc-status", code(rejection.status()))?;
    head.insert_header("grpc-message", message(rejection))?;
    if dialect == Dialect::Web {
        head.insert_header(header::CONTENT_LENGTH, 0)?;
    }
    *body = Bytes::new();
    Ok(())
}

/// Writes a head that may be everything. Pingora ends a stream of HTTP/2 with an empty piece of body otherwise, and `Trailers-Only` is
/// only that if the head itself ends the stream.
pub(super) async fn write_head(session: &mut Session, head: ResponseHeader, is_all: bool) -> Result<()> {
    if is_all && session.as_ref().as_http2().is_some() {
        return session.as_mut().response_duplex_vec(vec![HttpTask::Header(Box::new(head), true)]).await.map(drop);
    }
    session.write_response_header(Box::new(head), is_all).await
}

/// The status that says the same. gRPC's own table for plain HTTP answers makes `UNAVAILABLE` of a 429, which clients retry at once;
/// this is more exact.
const fn code(status: u16) -> u16 {
    match status {
        400 | 411 | 414 | 417 | 431 => 3,
        401 => 16,
        402 | 403 => 7,
        404 | 405 | 415 | 501 => 12,
        408 | 504 => 4,
        409 => 10,
        412 => 9,
        413 | 429 => 8,
        499 => 1,
        500 => 13,
        502 | 503 => 14,
        _ => 2,
    }
}

/// The stable reason, percent-encoded as gRPC wants it: a rule's author may have chosen any text.
fn message(rejection: &Rejection) -> HeaderValue {
    let mut message = String::new();
    for byte in rejection.reason().bytes() {
        match byte {
            b'%' | ..0x20 | 0x7f.. => {
                let _ = write!(message, "%{byte:02X}");
            }
            _ => message.push(char::from(byte)),
        }
    }
    HeaderValue::from_str(&message).unwrap_or(HeaderValue::from_static("refused"))
}

/// Turns a call in gRPC-Web into plain gRPC, if the upstream speaks HTTP/2 by configuration: pingora knows the one thing that is to do,
/// and its filter is used directly because as a module it would run for every piece of every body.
pub(super) fn bridge_request(request: &mut RequestHeader, exchange: &mut Exchange) {
    let speaks_http2 =
        exchange.permitted().is_some_and(|permit| permit.upstream().pool.settings().protocol == UpstreamProtocol::Http2);
    if speaks_http2 && dialect(&request.headers) == Some(Dialect::Web) && !is_text(&request.headers) {
        let mut bridge = Box::new(GrpcWebCtx::default());
        bridge.init();
        bridge.request_header_filter(request);
        exchange.bridge = Some(bridge);
    }
}

/// `application/grpc-web-text` is base64, which the bridge does not speak; it goes to the upstream as it is.
fn is_text(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().get(20..25).is_some_and(|rest| rest.eq_ignore_ascii_case(b"-text")))
}

/// The head on its way back.
pub(super) fn bridge_response(response: &mut ResponseHeader, exchange: &mut Exchange) {
    if let Some(bridge) = &mut exchange.bridge {
        bridge.response_header_filter(response);
    }
}

/// The trailers, as the last piece of the body.
pub(super) fn bridge_trailers(trailers: &mut HeaderMap, exchange: &mut Exchange) -> Result<Option<Bytes>> {
    match &mut exchange.bridge {
        Some(bridge) => bridge.response_trailer_filter(trailers),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TokenFault;

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for (text, expected) in [
            ("application/grpc", Some("native")),
            ("Application/gRPC+proto", Some("native")),
            ("application/grpc;x=y", Some("native")),
            ("application/grpc-web", Some("web")),
            ("application/grpc-web+proto", Some("web")),
            ("application/grpcx", None),
            ("application/grpc-", None),
            ("application/json", None),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]);
            let found = dialect(&headers).map(|dialect| if dialect == Dialect::Web { "web" } else { "native" });
            assert_eq!(found, expected, "{text}");
        }
        assert!(dialect(&HeaderMap::new()).is_none());
    }

    #[test]
    fn statuses_and_reasons_are_translated() {
        let statuses = [400, 401, 403, 404, 429, 500, 502, 503, 504, 418];
        assert_eq!(statuses.map(code), [3, 16, 7, 12, 8, 13, 14, 14, 4, 2]);
        assert_eq!(message(&Rejection::Unauthenticated(TokenFault::Missing)), "token_required");
        let denied = Rejection::Denied { status: 403, reason: "100 % \u{e9}\n".into() };
        assert_eq!(message(&denied), "100 %25 %C3%A9%0A");
    }
}
