use pingora::prelude::{Error, Session};
use pingora::{ErrorSource, ErrorType};

use crate::gateway::clock;
use crate::model::UpstreamFault;
use crate::proxy::{Exchange, fault};

/// A kept connection that turns out to be closed costs no attempt, but not for ever: a server that went away leaves many of them.
const MOST_STALE: usize = 3;

/// Nothing was sent yet: another server may be tried, whatever the method.
pub(in crate::proxy) fn retry_connecting(exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    let fault = fault::upstream(&error);
    count(exchange, fault);
    accuse(exchange, fault.label());
    let now = clock::steady();
    let again = exchange.permitted().is_some_and(|permit| {
        let (pool, attempts) = (&permit.upstream().pool, &exchange.attempts);
        let retries = &pool.settings().retries;
        retries.on_connect_error
            && attempts.made <= retries.attempts
            && pool.has_untried(&attempts.tried, now)
            && pool.may_retry(now)
    });
    error.set_retry(again);
    error
}

/// Something may have been sent: only an idempotent request whose body is still at hand goes out again, and only for a reason that
/// `retries.when` names. Pingora marks some HTTP/2 errors as retryable whatever the method, so its word is not enough.
pub(in crate::proxy) fn retry_sending(
    exchange: &mut Exchange,
    session: &Session,
    mut error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    error.retry.decide_reuse(reused);
    if std::mem::take(&mut exchange.attempts.again) {
        error.set_retry(true);
        return error;
    }
    let is_stale = reused && error.retry() && is_unanswered(exchange);
    let again = exchange.ending().is_none()
        && !matches!(error.esource(), ErrorSource::Downstream)
        && is_repeatable(exchange, session)
        && (may_reconnect(exchange, is_stale) || may_wait_again(exchange, &error));
    error.set_retry(again);
    if !matches!(error.esource(), ErrorSource::Downstream) && exchange.ending().is_none() {
        count(exchange, fault::upstream(&error));
        if is_stale {
            // The server is fine, only the connection was stale.
            exchange.attempts.tried.forgive();
        } else if matches!(error.esource(), ErrorSource::Upstream) {
            accuse(exchange, fault::upstream(&error).label());
        }
    }
    error
}

/// The answer said by its status that another server might do better. Whether that server is asked.
pub(super) fn retry_status(exchange: &mut Exchange, session: &Session, status: u16) -> bool {
    let is_wanted = exchange.permitted().is_some_and(|permit| {
        let retries = &permit.upstream().pool.settings().retries;
        retries.statuses.contains(&status) && exchange.attempts.made <= retries.attempts
    });
    is_wanted && session.response_written().is_none() && is_repeatable(exchange, session) && is_granted(exchange)
}

/// RFC 9110 §9.2.2, and the body must still be there to be sent again.
fn is_repeatable(exchange: &Exchange, session: &Session) -> bool {
    let is_safe = |permit: &crate::gateway::Permit| {
        permit.upstream().pool.settings().retries.methods.contains(&session.req_header().method)
    };
    exchange.permitted().is_some_and(is_safe) && !session.as_ref().retry_buffer_truncated()
}

fn is_unanswered(exchange: &Exchange) -> bool {
    !exchange.attempts.answered && exchange.attempts.interim == 0
}

fn may_reconnect(exchange: &Exchange, is_stale: bool) -> bool {
    let wanted = exchange.permitted().is_some_and(|permit| permit.upstream().pool.settings().retries.on_stale_connection);
    is_stale && wanted && exchange.attempts.made <= MOST_STALE
}

fn may_wait_again(exchange: &mut Exchange, error: &Error) -> bool {
    let is_wanted = exchange.permitted().is_some_and(|permit| {
        let retries = &permit.upstream().pool.settings().retries;
        retries.on_first_byte_timeout && exchange.attempts.made <= retries.attempts
    });
    let is_late = matches!(error.etype(), ErrorType::ReadTimedout) && is_unanswered(exchange);
    is_wanted && is_late && is_granted(exchange)
}

/// The budget's word. Another server is preferred; the same one is asked again if there is no other.
fn is_granted(exchange: &mut Exchange) -> bool {
    let now = clock::steady();
    let Some(permit) = exchange.permitted() else { return false };
    let pool = &permit.upstream().pool;
    if !pool.may_retry(now) {
        return false;
    }
    if !pool.has_untried(&exchange.attempts.tried, now) {
        exchange.attempts.tried.clear();
    }
    true
}

fn count(exchange: &Exchange, fault: UpstreamFault) {
    if let Some(permit) = exchange.permitted() {
        permit.upstream().handles.failed(fault);
    }
}

/// Counts something against the server, and takes it out for a while if that was one too many.
pub(super) fn accuse(exchange: &Exchange, why: &str) {
    let (Some(permit), Some(ticket)) = (exchange.permitted(), &exchange.attempts.ticket) else { return };
    let (pool, member) = (&permit.upstream().pool, ticket.member());
    if let Some(length) = pool.failed(member, why, clock::steady()) {
        let (seconds, server) = (length.as_secs_f64(), member.label());
        tracing::warn!(upstream = %pool.name(), %server, reason = why, seconds, "a server gets no requests for a while");
    }
}
