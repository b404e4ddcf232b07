use std::time::Duration;

use pingora::ErrorType;
use pingora::prelude::{Error, HttpPeer, Result};

use crate::gateway::clock;
use crate::model::{Rejection, UpstreamFault};
use crate::proxy::Exchange;

/// Cuts a request off that has gone on for longer than `timeouts.total`. Asked for every piece of a body: pingora has no such limit
/// of its own. Between two pieces the read timeout watches, which [`shorten`] has cut to what was left when the attempt began.
pub(in crate::proxy) fn keep_deadline(exchange: &mut Exchange) -> Result<()> {
    let attempts = &exchange.attempts;
    let is_over = attempts.deadline.is_some_and(|deadline| !attempts.upgraded && clock::steady() >= deadline);
    if is_over && exchange.ending().is_none() {
        if let Some(permit) = exchange.permitted() {
            permit.upstream().handles.failed(UpstreamFault::Timeout);
        }
        exchange.end(Rejection::Upstream(UpstreamFault::Timeout).into());
    }
    if is_over { Err(Error::new_up(ErrorType::ReadTimedout)) } else { Ok(()) }
}

/// No wait on this connection is longer than what is left.
pub(super) fn shorten(peer: &mut HttpPeer, left: Duration) {
    let options = &mut peer.options;
    let limits = [
        &mut options.connection_timeout,
        &mut options.total_connection_timeout,
        &mut options.read_timeout,
        &mut options.write_timeout,
    ];
    for limit in limits {
        *limit = Some(limit.map_or(left, |limit| limit.min(left)));
    }
}
