use pingora::prelude::{Error, Session};

use crate::proxy::{Exchange, fault};

/// Nothing was sent yet: another server may be tried, whatever the method.
pub(in crate::proxy) fn retry_connecting(exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
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
pub(in crate::proxy) fn retry_sending(
    exchange: &mut Exchange,
    session: &Session,
    mut error: Box<Error>,
    reused: bool,
) -> Box<Error> {
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
