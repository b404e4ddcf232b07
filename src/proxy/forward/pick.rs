use pingora::prelude::{HttpPeer, Result};

use super::end;
use crate::gateway::clock;
use crate::model::{Rejection, UpstreamFault};
use crate::proxy::Exchange;
use crate::traffic::Pick;

/// The next server. Fails with an ending that says so when none is left.
pub(in crate::proxy) fn pick(exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
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
