//! A client connection that can be ended while nobody says anything on it.
//!
//! Pingora wakes its proxy loop for bytes and for read timeouts only, and a read timeout is an error. A tunnel that must end at a
//! given moment (its token expires, the process stops) needs a third thing, so it gets one from below: when the tether is pulled,
//! the connection reads as closed by the client, which pingora takes for the regular end of a tunnel.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::prelude::Session;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::websocket::Ended;
use crate::gateway::clock;

/// Resolves when the connection shall end, to why.
type End = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// A connection that was ended from here waits this long for the client to close its side: closing a socket with unread bytes
/// makes the kernel throw away what was just written, the close frame.
const LINGER: Duration = Duration::from_secs(1);

/// See the module. Costs a request nothing but one more virtual call for each read and write.
pub(super) struct Tether {
    stream: Stream,
    end: Mutex<Option<End>>,
    ended: Option<Ended>,
    activity: Arc<Activity>,
}

/// When bytes last went either way, in milliseconds of the steady clock; kept only while an end is awaited.
#[derive(Debug, Default)]
pub(super) struct Activity(AtomicU64);

impl Activity {
    fn note(&self) {
        self.0.store(millis(clock::steady()), Ordering::Relaxed);
    }

    /// Resolves when nothing was said for this long.
    pub(super) async fn quiet_for(&self, longest: Duration) {
        loop {
            let last = Duration::from_millis(self.0.load(Ordering::Relaxed));
            let quiet = clock::steady().saturating_sub(last);
            if quiet >= longest {
                return;
            }
            tokio::time::sleep(longest - quiet).await;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Tether {
    /// Puts a tether on a connection.
    pub(super) fn around(stream: Stream) -> Stream {
        Box::new(Self { stream, end: Mutex::new(None), ended: None, activity: Arc::default() })
    }

    /// The tether of the connection that a request came over; HTTP/2 streams have none.
    pub(super) fn of(session: &Session) -> Option<&Self> {
        session.as_ref().stream()?.as_any().downcast_ref()
    }

    /// Ends the connection when the future that `end` makes resolves; replaces what was awaited before.
    pub(super) fn until<F>(&self, end: impl FnOnce(Arc<Activity>) -> F)
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        self.activity.note();
        *self.end.lock() = Some(Box::pin(end(Arc::clone(&self.activity))));
    }

    /// Lets the connection be.
    pub(super) fn release(&self) {
        *self.end.lock() = None;
    }

    /// Why it was ended, if it was.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }
}

impl AsyncRead for Tether {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(end) = this.end.get_mut() {
            if let Poll::Ready(why) = end.as_mut().poll(cx) {
                *this.end.get_mut() = None;
                this.ended = Some(why);
            } else {
                let read = Pin::new(&mut *this.stream).poll_read(cx, buf);
                if read.is_ready() {
                    this.activity.note();
                }
                return read;
            }
        }
        if this.ended.is_some() { Poll::Ready(Ok(())) } else { Pin::new(&mut *this.stream).poll_read(cx, buf) }
    }
}

impl AsyncWrite for Tether {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.end.get_mut().is_some() {
            this.activity.note();
        }
        Pin::new(&mut *this.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Tether {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
        if self.ended.is_some() {
            let _ = tokio::time::timeout(LINGER, async {
                let mut unwanted = [0; 1024];
                while matches!(self.stream.read(&mut unwanted).await, Ok(1..)) {}
            })
            .await;
        }
    }
}

impl fmt::Debug for Tether {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tether").field("stream", &self.stream).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl UniqueID for Tether {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Tether {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Tether {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Tether {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Tether {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Tether {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(buf).await
    }
}
