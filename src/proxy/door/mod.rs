//! The front door: what happens to a connection between pingora's accept and its first request.
//!
//! The sockets stay pingora's (binding, hand-over to a successor, accept, shutdown); a [`Door`] gets each connection raw, because only
//! then certificates can change while it runs and something can stand before the TLS handshake.

mod connection;

use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;

pub(super) use connection::Connection;
use connection::{Transport, Wire};

use super::Front;
use super::guard::Guard;
use crate::gateway::Gateway;

/// Takes connections in and hands them to the proxy.
pub struct Door {
    proxy: Arc<HttpProxy<Front>>,
    guard: Arc<Guard>,
}

impl Door {
    pub(super) fn new(conf: &Arc<ServerConf>, gateway: &Arc<Gateway>, guard: Arc<Guard>) -> Self {
        Self { proxy: Arc::new(http_proxy(conf, Front::new(Arc::clone(gateway)))), guard }
    }

    /// From a raw socket to something that HTTP is spoken on; `None` closes it.
    async fn admit(&self, socket: Socket) -> Option<Stream> {
        use pingora::protocols::GetSocketDigest;
        let peer = *socket.get_socket_digest()?.peer_addr()?.as_inet()?;
        let line = self.guard.enter()?.claim(Some(peer.ip()))?;
        let connection = Arc::new(Connection { peer, client: peer, line });
        Some(Box::new(Wire::new(Transport::Plain(socket), None, connection).ok()?))
    }
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // Pingora's TCP endpoints make nothing else.
        let socket = stream.into_any().downcast::<Socket>().ok()?;
        let wire = self.admit(*socket).await?;
        // Runs all requests of the connection, so there is nothing to hand back.
        self.proxy.process_new(wire, shutdown).await
    }

    async fn cleanup(&self) {
        self.proxy.cleanup().await;
    }
}
