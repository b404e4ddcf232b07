//! WebSockets (RFC 6455): an HTTP/1.1 request whose answer is 101, and from then on bytes in both directions that pingora passes on.
//!
//! The time limits of requests do not hold for them. They have their own: the life of the token, an age, and silence.

mod frames;
mod handshake;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use pingora::ErrorType;
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, HttpPeer, Result, Session};

use self::frames::Frames;
use super::Exchange;
use super::tether::{Activity, Tether};
use crate::gateway::{Gateway, clock};
use crate::metrics::{WebsocketEnd, WebsocketHandles};
use crate::model::{Identity, OutcomeKind, Rejection, UpstreamFault};

/// Why a tether was pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The server did not answer the handshake, or stopped in the middle of another answer than 101.
    NoAnswer,
    /// The WebSocket is over.
    Over(WebsocketEnd),
}

/// An open WebSocket; counted as one from its making to its drop.
pub(super) struct Tunnel {
    handles: WebsocketHandles,
    to_client: Frames,
    to_server: Frames,
    end: WebsocketEnd,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.handles.closed(self.end);
    }
}

/// Whether the request asks for a WebSocket. Pingora passes no other upgrade on.
fn is_handshake(session: &Session) -> bool {
    session.is_upgrade_req()
        && session
            .req_header()
            .headers
            .get(http::header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Prepares an attempt to reach a server. Pingora fixes the read timeout of a server's connection before the answer is known, so
/// that of a handshake is lifted here, and the tether of the client's connection watches over the answer instead.
pub(super) fn lift(session: &Session, exchange: &mut Exchange, mut peer: Box<HttpPeer>) -> Box<HttpPeer> {
    if is_handshake(session)
        && let (Some(tether), Some(patience)) = (Tether::of(session), peer.options.read_timeout.take())
    {
        // RFC 8441, WebSockets over HTTP/2, is unknown to pingora.
        peer.options.set_http_version(1, 1);
        tether.until(|activity| async move {
            activity.quiet_for(patience).await;
            Ended::NoAnswer
        });
        exchange.tethered = true;
    }
    peer
}

/// Opens the tunnel if this answer agrees to it.
///
/// # Errors
/// 502 for a 101 that does not answer the client's key: who can make a server say 101 to something else than a handshake (a proxied
/// health check, for example) would have a connection on which requests pass unseen.
pub(super) fn begin(session: &mut Session, response: &ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    let (true, Some(trail)) = (handshake::is_answered(&session.req_header().headers, &response.headers), exchange.trail()) else {
        exchange.end(Rejection::Upstream(UpstreamFault::Reset).into());
        return Err(Error::new(ErrorType::HTTPStatus(502)));
    };
    let identity = trail.caller().and_then(|caller| caller.identity()).cloned();
    let handles = match trail.route() {
        Some(route) => route.handles.websockets.clone(),
        None => exchange.snapshot().unrouted.websockets.clone(),
    };
    if let Some(tether) = Tether::of(session) {
        let lifecycle = &exchange.snapshot().config.lifecycle;
        let (oldest, idle) = (lifecycle.websocket_max_age, lifecycle.websocket_idle);
        let gateway = Arc::clone(exchange.gateway());
        tether.until(|activity| end(gateway, identity, oldest, idle, activity));
        exchange.tethered = true;
    }
    session.set_read_timeout(None);
    handles.opened();
    let tunnel = Tunnel { handles, to_client: Frames::default(), to_server: Frames::default(), end: WebsocketEnd::Closed };
    exchange.tunnel = Some(Box::new(tunnel));
    Ok(())
}

/// Resolves when a WebSocket must end, whatever is said on it.
async fn end(
    gateway: Arc<Gateway>,
    identity: Option<Arc<Identity>>,
    oldest: Duration,
    idle: Duration,
    activity: Arc<Activity>,
) -> Ended {
    let now = clock::now().unix();
    let life = identity.as_ref().map_or(Duration::MAX, |identity| Duration::from_secs(identity.expires_at).saturating_sub(now));
    let (left, why) = if life <= oldest { (life, WebsocketEnd::Expired) } else { (oldest, WebsocketEnd::MaxAge) };
    let mut closing = gateway.closing();
    let revoked = async {
        match &identity {
            Some(identity) => gateway.lasting.revocations.revoked(identity).await,
            None => std::future::pending().await,
        }
    };
    Ended::Over(tokio::select! {
        () = tokio::time::sleep(left) => why,
        () = activity.quiet_for(idle) => WebsocketEnd::Idle,
        () = revoked => WebsocketEnd::Revoked,
        _ = closing.wait_for(|closing| *closing) => WebsocketEnd::Stopping,
    })
}

/// Bytes of the client, or its end. When the end is the gateway's, both sides get a close frame, if they are between two frames;
/// otherwise the connection just ends.
pub(super) async fn received(session: &mut Session, body: &mut Option<Bytes>, exchange: &mut Exchange) {
    let Some(tunnel) = &mut exchange.tunnel else { return };
    if let Some(bytes) = body {
        tunnel.to_server.pass(bytes);
        return;
    }
    let Some(Ended::Over(end)) = Tether::of(session).and_then(Tether::ended) else { return };
    tunnel.end = end;
    let (code, reason) = farewell(end);
    if tunnel.to_server.may_close() {
        *body = Some(frames::masked_close(code, reason));
    }
    if tunnel.to_client.may_close() {
        // Who is gone already needs no goodbye.
        let _ = session.as_mut().write_response_body(frames::close(code, reason), true).await;
    }
}

/// Bytes of the server.
pub(super) fn sent(body: Option<&Bytes>, exchange: &mut Exchange) {
    if let (Some(tunnel), Some(bytes)) = (&mut exchange.tunnel, body) {
        tunnel.to_client.pass(bytes);
    }
}

/// RFC 6455 §7.4.1.
fn farewell(end: WebsocketEnd) -> (u16, &'static str) {
    match end {
        WebsocketEnd::Expired => (1008, "token expired"),
        WebsocketEnd::Revoked => (1008, "token revoked"),
        WebsocketEnd::MaxAge => (1001, "open for too long"),
        WebsocketEnd::Idle => (1001, "idle for too long"),
        WebsocketEnd::Stopping | WebsocketEnd::Closed => (1001, "going away"),
    }
}

/// Says why a request failed whose tether was pulled: to pingora it looks as if the client had left.
pub(super) fn explain(session: &Session, exchange: &mut Exchange) {
    if exchange.tethered
        && exchange.ending().is_none()
        && let Some(Ended::NoAnswer) = Tether::of(session).and_then(Tether::ended)
    {
        if let Some(permit) = exchange.permitted() {
            permit.upstream().handles.failed(UpstreamFault::Timeout);
        }
        exchange.end(Rejection::Upstream(UpstreamFault::Timeout).into());
        exchange.failed(OutcomeKind::UpstreamError);
    }
}

/// The connection may serve another request.
pub(super) fn release(session: &Session, exchange: &mut Exchange) {
    if std::mem::take(&mut exchange.tethered)
        && let Some(tether) = Tether::of(session)
    {
        tether.release();
    }
    exchange.tunnel = None;
}
