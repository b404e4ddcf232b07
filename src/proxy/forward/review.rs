use http::{Version, header};
use pingora::ErrorType;
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, Result, Session};

use super::retry::{accuse, retry_status};
use crate::gateway::clock;
use crate::proxy::Exchange;

/// Interim answers (RFC 9110 §15.2) before the final one: nobody needs more, and each is passed on.
const MOST_INTERIM: usize = 16;
/// Of all names and values of an answer's head.
const MOST_HEADER_BYTES: usize = 128 * 1024;

/// What is in order about an answer before anything of it is passed on, and whether another server shall be asked instead.
pub(in crate::proxy) fn review(session: &Session, response: &ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    let status = response.status.as_u16();
    if response.status.is_informational() && status != 101 {
        exchange.attempts.interim += 1;
        return if exchange.attempts.interim > MOST_INTERIM { refuse("too many interim answers") } else { Ok(()) };
    }
    if status == 101 {
        if !session.is_upgrade_req() {
            return refuse("an upgrade that nobody asked for");
        }
        exchange.attempts.upgraded = true;
    }
    if !(100..=599).contains(&status) {
        return refuse("a status that is none");
    }
    if !is_framed_plainly(response) {
        return refuse("a transfer coding other than chunked");
    }
    let size: usize = response.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > MOST_HEADER_BYTES {
        return refuse("a head that is too large");
    }
    exchange.attempts.answered = true;
    if !matches!(status, 502..=504) {
        if let Some(ticket) = &exchange.attempts.ticket {
            ticket.member().succeeded();
        }
        return Ok(());
    }
    accuse(exchange, reason(status));
    if retry_status(exchange, session, status) {
        exchange.attempts.again = true;
        let took = clock::steady().saturating_sub(exchange.attempts.began);
        if let Some(permit) = exchange.permitted() {
            exchange.gateway().lasting.metrics.answered(&permit.upstream().handles, status, took);
        }
        return Err(Error::new_up(ErrorType::HTTPStatus(status)));
    }
    Ok(())
}

/// RFC 9112 §6.1: one coding, the one that everybody knows, and not from a server that is too old to know it. Pingora looks for the word
/// `chunked` at the end and passes the whole list on, so that a client may read another end of the body than the gateway did.
fn is_framed_plainly(response: &ResponseHeader) -> bool {
    let mut codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked") && response.version == Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        502 => "status 502",
        503 => "status 503",
        _ => "status 504",
    }
}

fn refuse(why: &'static str) -> Result<()> {
    Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up())
}
