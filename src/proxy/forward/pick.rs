use std::borrow::Cow;
use std::sync::Arc;

use pingora::ErrorType;
use pingora::prelude::{Error, HttpPeer, Result};
use pingora::protocols::Digest;

use super::deadline::shorten;
use super::{Outlet, affinity, end};
use crate::gateway::{UpstreamEntry, clock};
use crate::model::settings::TlsVersion;
use crate::model::{Rejection, UpstreamFault};
use crate::proxy::Exchange;
use crate::traffic::{NoServer, Pick};

/// The next server. Fails with an ending that says so when none is left.
pub(in crate::proxy) fn pick(exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    let (Some(permit), Some(trail)) = (exchange.permitted(), exchange.trail()) else {
        // Unreachable while `request_filter` answers every ending itself; refused all the same.
        return end(exchange, Rejection::Internal.into(), 500);
    };
    let upstream = Arc::clone(permit.upstream());
    let pool = &upstream.pool;
    let (now, facts) = (clock::steady(), trail.facts());
    let key = affinity::key(&pool.settings().balance, &facts, trail).map(Cow::into_owned);

    let attempts = &mut exchange.attempts;
    if attempts.made == 0 {
        pool.entered();
        attempts.deadline = pool.timeouts().total.map(|total| facts.received_at.steady().saturating_add(total));
    } else {
        upstream.handles.retried();
    }
    let left = attempts.deadline.map(|deadline| deadline.saturating_sub(now));
    if left.is_some_and(|left| left.is_zero()) {
        return refuse(exchange, &upstream, UpstreamFault::Timeout);
    }
    // The place of the attempt before is given back first, so that a server with one place can be tried again.
    attempts.ticket = None;
    let Pick { ticket, server } = match pool.pick(&mut attempts.tried, key.as_deref(), now) {
        Ok(pick) => pick,
        Err(NoServer::Down) => return refuse(exchange, &upstream, UpstreamFault::NoServer),
        Err(NoServer::Busy) => return refuse(exchange, &upstream, UpstreamFault::Busy),
    };
    let Some(outlet) = Outlet::of(pool) else { return refuse(exchange, &upstream, UpstreamFault::Tls) };
    let mut peer = Box::new(outlet.peer(ticket.member().address(), server));
    if let Some(left) = left {
        shorten(&mut peer, left);
    }
    attempts.made += 1;
    attempts.server = Some(ticket.member().label().clone());
    attempts.ticket = Some(ticket);
    attempts.began = now;
    attempts.interim = 0;
    attempts.answered = false;
    Ok(peer)
}

fn refuse<T>(exchange: &mut Exchange, upstream: &UpstreamEntry, fault: UpstreamFault) -> Result<T> {
    upstream.handles.failed(fault);
    let rejection = Rejection::Upstream(fault);
    let status = rejection.status();
    end(exchange, rejection.into(), status)
}

/// Nothing is sent over a version of TLS that the operator does not want: pingora lets OpenSSL agree on any, so it is looked at here,
/// before the first byte of the request.
pub(in crate::proxy) fn inspect_connection(digest: Option<&Digest>, exchange: &mut Exchange) -> Result<()> {
    let Some(tls) = exchange.permitted().and_then(|permit| permit.upstream().pool.settings().tls.as_ref()) else {
        return Ok(());
    };
    let version = digest.and_then(|digest| digest.ssl_digest.as_ref()).map_or("", |digest| &*digest.version);
    let is_good = match tls.minimum_version {
        TlsVersion::Tls12 => matches!(version, "TLSv1.2" | "TLSv1.3"),
        TlsVersion::Tls13 => version == "TLSv1.3",
    };
    if is_good { Ok(()) } else { Err(Error::new_up(ErrorType::TLSHandshakeFailure)) }
}
