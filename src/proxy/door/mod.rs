//! The front door: what happens to a connection between pingora's accept and its first request.
//!
//! The sockets stay pingora's (binding, hand-over to a successor, accept, shutdown); a [`Door`] gets each connection raw, because only
//! then certificates can change while it runs and something can stand before the TLS handshake.

mod connection;
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
use super::guard::{Entry, Guard};
use super::tether::Tether;
use crate::gateway::{Doorway, Gateway, clock};
use crate::model::settings::ProxyProtocol;
use crate::tls::{Agreed, HandshakeFault};

/// From accept to the first byte of HTTP: a PROXY protocol header, a TLS handshake.
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
    async fn admit(&self, socket: Box<Socket>) -> Option<Stream> {
        let entry = self.guard.enter()?;
        let digest = socket.get_socket_digest()?;
        let (peer, local) = (*digest.peer_addr()?.as_inet()?, *digest.local_addr()?.as_inet()?);
        let snapshot = self.gateway.snapshot();
        let doorway = Arc::clone(snapshot.doors.find(local)?);
        doorway.handles.connected();
        let is_trusted = snapshot.config.trusted_proxies.iter().any(|network| network.contains(&peer.ip().to_canonical()));
        // Not held while a slow client shakes hands: it is everything that was configured.
        drop(snapshot);
        let began = clock::steady();
        match timeout(HANDSHAKE, welcome(entry, socket, peer, is_trusted, Arc::clone(&doorway))).await {
            Ok(wire) => Some(Box::new(wire?)),
            Err(_) => {
                doorway.handles.shook_hands(Err(HandshakeFault::Timeout), clock::steady().saturating_sub(began));
                None
            }
        }
    }
}

/// Bounded from the start: pingora's own defaults hold only if nobody sets any other.
fn http2() -> H2Options {
    let mut options = default_h2_options();
    options.max_concurrent_streams(100).max_header_list_size(64 << 10);
    options
}

async fn welcome(
    entry: Entry,
    mut socket: Box<Socket>,
    peer: SocketAddr,
    is_trusted: bool,
    doorway: Arc<Doorway>,
) -> Option<Wire> {
    let client = introduced(&mut socket, peer, is_trusted, &doorway).await?;
    let line = entry.claim((!is_trusted || client != peer).then_some(client.ip()))?;
    let protocols = doorway.listener.protocols;
    let (transport, agreed, is_http2) = if doorway.acceptor.is_some() {
        let (stream, agreed) = shake_hands(*socket, &doorway).await?;
        let is_http2 = agreed.is_http2 || !protocols.http1;
        (Transport::Tls(stream), Some(agreed), is_http2)
    } else {
        let is_http2 = match (protocols.http1, protocols.http2) {
            (true, true) => preface::is_http2(&mut socket).await.ok()?,
            (_, http2) => http2,
        };
        (Transport::Plain(socket), None, is_http2)
    };
    let protocol = is_http2.then_some(ALPN::H2);
    Wire::new(transport, protocol, Arc::new(Connection { peer, client, line, doorway, agreed })).ok()
}

/// Who the client is, by the PROXY protocol if the listener speaks it. `None` closes the connection.
async fn introduced(socket: &mut Socket, peer: SocketAddr, is_trusted: bool, doorway: &Doorway) -> Option<SocketAddr> {
    let mode = doorway.listener.proxy_protocol;
    let client = match (mode, is_trusted) {
        (ProxyProtocol::Off, _) | (ProxyProtocol::Optional, false) => return Some(peer),
        (ProxyProtocol::Required, false) => Err(io::ErrorKind::PermissionDenied.into()),
        (_, true) => match proxy_protocol::read(socket).await {
            Ok(Introduction::None) if mode == ProxyProtocol::Required => Err(io::ErrorKind::InvalidData.into()),
            Ok(Introduction::None | Introduction::Client(None)) => Ok(peer),
            Ok(Introduction::Client(Some(client))) => Ok(client),
            Err(error) => Err(error),
        },
    };
    client
        .inspect_err(|error: &io::Error| {
            doorway.handles.introduced_badly();
            tracing::debug!(%peer, %error, "a connection was not introduced by a trusted proxy");
        })
        .ok()
}

async fn shake_hands(socket: Socket, doorway: &Doorway) -> Option<(SslStream<Socket>, Agreed)> {
    let acceptor = doorway.acceptor.as_ref()?;
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
