use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::proxy::guard::{Line, Watch};
use async_trait::async_trait;
use http::StatusCode;
use pingora::http::ResponseHeader;
use pingora::prelude::{Result, Session};
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, SslStream, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::gateway::Doorway;
use crate::tls::Agreed;

/// What is known about one client connection before its first request: made once, shared by all its requests.
#[derive(Debug)]
pub(in crate::proxy) struct Connection {
    /// Who the client is: whoever opened it, or who a trusted proxy that did says it is.
    pub(in crate::proxy) client: SocketAddr,
    /// What the guard knows.
    pub(in crate::proxy) line: Arc<Line>,
    /// The listener that it came in by, as it was configured then.
    pub(in crate::proxy) doorway: Arc<Doorway>,
    /// What the TLS handshake agreed on.
    pub(in crate::proxy) agreed: Option<Agreed>,
}

impl Connection {
    /// The connection that a request came over. Found by one look at the type of what pingora carries along for its users.
    pub(in crate::proxy) fn of(session: &Session) -> Option<&Arc<Self>> {
        session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    /// The address without the port, as rules, logs and limits spell it.
    pub(in crate::proxy) fn client_ip(&self) -> IpAddr {
        self.client.ip().to_canonical()
    }

    /// Whether a request for `host` may come over this connection. Clients use an HTTP/2 connection again for every host that they
    /// believe its certificate is good for (RFC 9113 §9.1.1), and attackers ask one host for the page of another. A client that named
    /// nobody in its handshake has not been told anything about hosts.
    pub(super) fn speaks_for(&self, host: &str) -> bool {
        let asked = self.agreed.as_ref().and_then(|agreed| agreed.server_name.as_deref());
        match (asked, &self.doorway.acceptor) {
            (Some(name), Some(acceptor)) => name == host || acceptor.covers(name, host),
            _ => true,
        }
    }
}

/// The bytes of a connection, below TLS or through it.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(Box<Socket>),
    Tls(SslStream<Socket>),
}

/// A connection as pingora's HTTP sees it: every byte of every request passes here, decrypted.
///
/// A type of our own because pingora implements its `IO` for sockets and TLS streams but not for `Box<dyn IO>`, and because this is
/// the only place below the parsers where time and bytes can be limited.
#[derive(Debug)]
pub(super) struct Wire {
    transport: Transport,
    /// What was agreed, or recognised: HTTP/2 without TLS has no ALPN, and is told to pingora the same way.
    protocol: Option<ALPN>,
    /// Carries the [`Connection`] to the hooks: of what pingora copies into every request, this alone holds something of its user's.
    digest: Arc<ProxyDigest>,
    watch: Watch,
}

impl Wire {
    pub(super) fn new(transport: Transport, protocol: Option<ALPN>, connection: Arc<Connection>) -> Result<Self> {
        let watch = Watch::new(Arc::clone(&connection.line), protocol == Some(ALPN::H2));
        // The digest is made for answers to CONNECT and wants one; nobody reads it.
        let nothing = Box::new(ResponseHeader::build(StatusCode::OK, Some(0))?);
        let digest = Arc::new(ProxyDigest::new(nothing, Some(Box::new(connection))));
        Ok(Self { transport, protocol, digest, watch })
    }
}

/// The same call on whichever transport there is.
macro_rules! on {
    ($wire:expr, $stream:ident => $call:expr) => {
        match &mut $wire.transport {
            Transport::Plain($stream) => $call,
            Transport::Tls($stream) => $call,
        }
    };
}

macro_rules! of {
    ($wire:expr, $stream:ident => $call:expr) => {
        match &$wire.transport {
            Transport::Plain($stream) => $call,
            Transport::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        on!(wire, stream => wire.watch.poll_read(stream, cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = on!(self, stream => Pin::new(stream).poll_write(cx, bytes));
        self.watch.poll_written(result, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = on!(self, stream => Pin::new(stream).poll_flush(cx));
        self.watch.poll_sent(result, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = on!(self, stream => Pin::new(stream).poll_shutdown(cx));
        self.watch.poll_sent(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = on!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices));
        self.watch.poll_written(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        of!(self, stream => stream.is_write_vectored())
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        // Who does not wait for our goodbye is no news; pingora would log a warning for each.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        of!(self, stream => stream.id())
    }
}

impl Ssl for Wire {
    fn get_ssl(&self) -> Option<&TlsRef> {
        of!(self, stream => stream.get_ssl())
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        of!(self, stream => stream.get_ssl_digest())
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.protocol.clone()
    }
}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        of!(self, stream => stream.get_timing_digest())
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        // Pingora asks once for each HTTP/1 request, when it is about to read it.
        self.watch.next();
        Some(Arc::clone(&self.digest))
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        of!(self, stream => stream.get_socket_digest())
    }
}

/// Pingora peeks only to recognise HTTP/2 without TLS, which was done before.
impl Peek for Wire {}
