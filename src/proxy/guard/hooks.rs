//! What is looked at once for every request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header;
use pingora::http::ResponseHeader;
use pingora::prelude::{Result, Session};

use super::line::Stage;
use super::{Guard, Line, census};
use crate::gateway::Snapshot;
use crate::metrics::Shed;
use crate::model::settings::Limits;
use crate::model::{Draw, Ending, Facts, Malformed, Rejection};
use crate::proxy::{Exchange, door::Connection, forward};

/// How long a request that is shed waits for its answer. A client that tries again at once would otherwise be refused so often that
/// refusing takes the time that the others need; a sleeping request takes none.
const PENANCE: Duration = Duration::from_secs(1);

/// A request's body, as far as it may go.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Allowed {
    /// Bytes of the body; `None` once the answer has begun, or for an upgraded connection.
    left: Option<u64>,
}

impl Default for Allowed {
    /// Nobody has said how much yet.
    fn default() -> Self {
        Self { left: Some(0) }
    }
}

/// A head is complete.
pub(in crate::proxy) fn begin(session: &mut Session, exchange: &Exchange) {
    let limits = &exchange.snapshot().config.limits;
    session.set_write_timeout(Some(limits.write_timeout));
    if session.as_ref().as_http1().is_none() {
        return;
    }
    if session.get_keepalive().is_some() {
        // In whole seconds, and 0 would mean for ever.
        session.set_keepalive(Some(limits.idle_timeout.as_secs().max(1)));
    }
    let has_body = !session.as_mut().is_body_empty();
    if let Some(line) = line(session) {
        line.reach(if has_body { Stage::Body } else { Stage::Free });
    }
}

/// Whether there is too much to do already. Asked first of all, so that it costs as little as possible.
pub(in crate::proxy) async fn shed(session: &Session, exchange: &Exchange) -> Option<Ending> {
    let line = line(session)?;
    let guard = line.guard();
    let limits = &exchange.snapshot().config.limits;
    if guard.gateway.in_flight().saturating_sub(guard.waiting.load(Ordering::Relaxed)) > limits.requests {
        guard.protection().shed(Shed::Requests);
    } else if line.worker.sheds() {
        guard.protection().shed(Shed::QueueDelay);
        if !guard.gateway.is_draining() {
            let _waiting = Waiting::begin(&guard.waiting);
            tokio::time::sleep(PENANCE).await;
        }
    } else {
        return None;
    }
    Some(Rejection::Overloaded.into())
}

/// Counts a request for its client's address, before its token is looked at.
pub(in crate::proxy) fn admit(session: &Session, snapshot: &Snapshot, facts: &Facts) -> Result<(), Ending> {
    let limits = &snapshot.config.limits;
    match (limits.requests_per_ip.is_some(), line(session)) {
        (true, Some(line)) => line.guard().draw(limits, facts),
        _ => Ok(()),
    }
}

impl Guard {
    fn draw(&self, limits: &Limits, facts: &Facts) -> Result<(), Ending> {
        let Some(per_ip) = limits.requests_per_ip else { return Ok(()) };
        let draw = Draw {
            rule: "requests_per_ip".into(),
            key: Some(name(facts.client_ip)),
            limit: per_ip.requests,
            per: per_ip.per,
            burst: Some(per_ip.burst),
        };
        match self.clients.admit(std::slice::from_ref(&draw), facts.received_at) {
            Ok(_) => Ok(()),
            Err(throttled) => Err(Rejection::Throttled(throttled).into()),
        }
    }
}

/// Refuses a request whose body is announced to be too large.
pub(in crate::proxy) fn measure(session: &Session, exchange: &mut Exchange) -> Result<(), Ending> {
    let most = exchange.snapshot().config.limits.body_size;
    exchange.allowed = Allowed { left: Some(most) };
    let announced = session.req_header().headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most) { Err(too_large()) } else { Ok(()) }
}

/// A piece of a body has come, or its end.
pub(in crate::proxy) fn receive(session: &Session, bytes: usize, is_end: bool, exchange: &mut Exchange) -> Result<()> {
    if is_end && let Some(line) = line(session) {
        line.release();
    }
    let Some(left) = &mut exchange.allowed.left else { return Ok(()) };
    match left.checked_sub(bytes as u64) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => forward::end(exchange, too_large(), 413),
    }
}

/// An answer has begun. From now on it is a conversation: gRPC, a WebSocket, an upstream that takes as much as it likes.
pub(in crate::proxy) fn answer(session: &Session, response: &ResponseHeader, exchange: &mut Exchange) {
    if response.status.is_informational() && response.status.as_u16() != 101 {
        return;
    }
    exchange.allowed.left = None;
    if let Some(line) = line(session) {
        line.release();
    }
}

/// The answer to a request that failed because its body came too slowly.
pub(in crate::proxy) fn verdict(session: &Session) -> Option<Ending> {
    line(session)?.is_too_slow().then(|| Rejection::BadRequest(Malformed::BodyTooSlow).into())
}

fn too_large() -> Ending {
    Rejection::BadRequest(Malformed::BodyTooLarge).into()
}

fn line(session: &Session) -> Option<&Arc<Line>> {
    Some(&Connection::of(session)?.line)
}

fn name(ip: IpAddr) -> crate::model::Name {
    census::block(ip).to_string().as_str().into()
}

/// Counts while a request sleeps, also if its client hangs up meanwhile.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
