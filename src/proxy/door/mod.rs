//! The front door: what happens to a connection between pingora's accept and its first request.
//!
//! The sockets stay pingora's (binding, hand-over to a successor, accept, shutdown); a [`Door`] gets each connection raw, because only
//! then certificates can change while it runs and something can stand before the TLS handshake.

mod connection;
mod hello;
mod preface;
mod proxy_protocol;
mod request;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::tls::SslStream;
use pingora::protocols::tls::server::prepare_tls_stream;
use pingora::protocols::{ALPN, GetSocketDigest, Stream};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::time::timeout;

pub(super) use connection::Connection;
use connection::{Transport, Wire};
use proxy_protocol::Introduction;
pub(super) use request::{adorn, describe, direct};

use super::Front;
use super::guard::Guard;
use super::tether::Tether;
use crate::gateway::{Doorway, Gateway, clock};
use crate::model::settings::ProxyProtocol;
use crate::tls::{Acceptor, Agreed, HandshakeFault};

/// For a PROXY protocol header, and again for what comes after it: a TLS handshake, the first bytes of HTTP/2.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Takes connections in and hands them to the proxy.
pub struct Door {
    gateway: Arc<Gateway>,
    proxy: Arc<HttpProxy<Front>>,
    guard: Arc<Guard>,
}

impl Door {
    pub(super) fn new(conf: &Arc<ServerConf>, gateway: &Arc<Gateway>, guard: Arc<Guard>) -> Self {
        let mut proxy = http_proxy(conf, Front::new(Arc::clone(gateway)));
        proxy.h2_options = Some(http2());
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(gateway.snapshot().config.limits.idle_timeout);
        proxy.server_options = Some(options);
        Self { gateway: Arc::clone(gateway), proxy: Arc::new(proxy), guard }
    }

    /// From a raw socket to something that HTTP is spoken on; `None` closes it.
    async fn admit(&self, mut socket: Box<Socket>) -> Option<Stream> {
        let entry = self.guard.enter()?;
        let digest = socket.get_socket_digest()?;
        let (peer, local) = (*digest.peer_addr()?.as_inet()?, *digest.local_addr()?.as_inet()?);
        let snapshot = self.gateway.snapshot();
        let doorway = Arc::clone(snapshot.doors.find(local)?);
        doorway.handles.connected();
        let is_trusted = snapshot.config.trusted_proxies.iter().any(|network| network.contains(&peer.ip().to_canonical()));
        // Not held while a slow client shakes hands: it is everything that was configured.
        drop(snapshot);
        let client = introduced(&mut socket, peer, is_trusted, &doorway).await?;
        let line = entry.claim((!is_trusted || client != peer).then_some(client.ip()))?;
        let began = clock::steady();
        let Ok(spoken) = timeout(HANDSHAKE, self.agree(socket, &doorway)).await else {
            doorway.handles.shook_hands(Err(HandshakeFault::Timeout), clock::steady().saturating_sub(began));
            return None;
        };
        let Spoken { transport, agreed, is_http2 } = spoken?;
        let protocol = is_http2.then_some(ALPN::H2);
        let wire = Wire::new(transport, protocol, Arc::new(Connection { client, line, doorway, agreed })).ok()?;
        Some(Box::new(wire))
    }

    /// Finds out what is spoken, and over what.
    async fn agree(&self, mut socket: Box<Socket>, doorway: &Doorway) -> Option<Spoken> {
        let protocols = doorway.listener.protocols;
        let Some(acceptor) = &doorway.acceptor else {
            let is_http2 = match (protocols.http1, protocols.http2) {
                (true, true) => preface::is_http2(&mut socket).await.ok()?,
                (_, http2) => http2,
            };
            return Some(Spoken { transport: Transport::Plain(socket), agreed: None, is_http2 });
        };
        if let Some(challenged) = self.gateway.lasting.challenges.acceptor()
            && hello::asks_for_proof(&mut socket).await.ok()?
        {
            // RFC 8737 §3: the handshake is the whole conversation.
            let _ = prepare_tls_stream(&challenged, *socket).ok()?.accept().await;
            return None;
        }
        let (stream, agreed) = shake_hands(*socket, acceptor, doorway).await?;
        let is_http2 = agreed.is_http2 || !protocols.http1;
        Some(Spoken { transport: Transport::Tls(stream), agreed: Some(agreed), is_http2 })
    }
}

/// What was found out about a connection before its first request.
struct Spoken {
    transport: Transport,
    agreed: Option<Agreed>,
    is_http2: bool,
}

/// Bounded from the start: pingora's own defaults hold only if nobody sets any other.
fn http2() -> H2Options {
    let mut options = default_h2_options();
    options.max_concurrent_streams(100).max_header_list_size(64 << 10);
    options
}

/// Who the client is, by the PROXY protocol if the listener speaks it. `None` closes the connection.
async fn introduced(socket: &mut Socket, peer: SocketAddr, is_trusted: bool, doorway: &Doorway) -> Option<SocketAddr> {
    let mode = doorway.listener.proxy_protocol;
    let client = match (mode, is_trusted) {
        (ProxyProtocol::Off, _) | (ProxyProtocol::Optional, false) => return Some(peer),
        (ProxyProtocol::Required, false) => Err(io::ErrorKind::PermissionDenied.into()),
        (_, true) => {
            match timeout(HANDSHAKE, proxy_protocol::read(socket)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
                Ok(Introduction::None) if mode == ProxyProtocol::Required => Err(io::ErrorKind::InvalidData.into()),
                Ok(Introduction::None | Introduction::Client(None)) => Ok(peer),
                Ok(Introduction::Client(Some(client))) => Ok(client),
                Err(error) => Err(error),
            }
        }
    };
    client
        .inspect_err(|error: &io::Error| {
            doorway.handles.introduced_badly();
            tracing::debug!(%peer, %error, "a connection was not introduced by a trusted proxy");
        })
        .ok()
}

async fn shake_hands(socket: Socket, acceptor: &Acceptor, doorway: &Doorway) -> Option<(SslStream<Socket>, Agreed)> {
    let began = clock::steady();
    let mut stream = prepare_tls_stream(acceptor.ssl(), socket).ok()?;
    let result = stream.accept().await.map_err(|error| {
        // At debug: anybody who connects can cause it.
        tracing::debug!(listener = %doorway.listener.address, %error, "no TLS handshake");
        HandshakeFault::of(&error)
    });
    doorway.handles.shook_hands(result, clock::steady().saturating_sub(began));
    result.ok()?;
    let agreed = Agreed::of(stream.ssl());
    Some((stream, agreed))
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // Pingora's TCP endpoints make nothing else.
        let socket = stream.into_any().downcast::<Socket>().ok()?;
        let wire = self.admit(socket).await?;
        // Runs all requests of the connection, so there is nothing to hand back.
        self.proxy.process_new(Tether::around(wire), shutdown).await
    }

    /// The listeners are closed. After an upgrade idle connections are kept a moment longer, so that their clients are told with the
    /// next answer instead of finding them closed.
    async fn cleanup(&self) {
        let _ = self.gateway.closing().wait_for(|closing| *closing).await;
        self.proxy.cleanup().await;
    }
}
