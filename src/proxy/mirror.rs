//! Copies of requests for another upstream. The original never waits for one: a copy is put together beside it, goes out on a task
//! of its own, and is dropped when too many are under way.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Uri, Version, header};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType, OrErr, Result, Session};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::Exchange;
use super::forward::Outlet;
use crate::gateway::{MirrorEntry, clock};
use crate::metrics::Mirrored;
use crate::traffic::{Pick, Tried};

/// Copies under way at once, over all routes.
const UNDER_WAY: usize = 128;
/// How long one may take.
const LONGEST: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read so that the connection can be used again.
const ANSWER: usize = 1 << 20;

/// Sends copies.
pub(super) struct Mirrors {
    /// Made when the first copy is sent: most gateways have no mirror.
    connector: OnceCell<Connector<()>>,
    room: Arc<Semaphore>,
}

/// A copy that is being put together.
pub(super) struct Draft {
    entry: Arc<MirrorEntry>,
    head: RequestHeader,
    body: BytesMut,
    room: OwnedSemaphorePermit,
}

impl Mirrors {
    pub(super) fn new() -> Self {
        Self { connector: OnceCell::new(), room: Arc::new(Semaphore::new(UNDER_WAY)) }
    }

    /// Begins a copy of a request as the upstream gets it, if its route has a mirror and its turn has come. A later attempt to send
    /// the original is no second request: it begins nothing, and what was collected of the body is collected again.
    pub(super) fn begin(self: &Arc<Self>, session: &mut Session, request: &RequestHeader, exchange: &mut Exchange) {
        let Some(entry) = exchange.trail().and_then(|trail| trail.route()?.mirror()).cloned() else { return };
        if std::mem::replace(&mut exchange.is_mirrored, true) {
            if let Some(draft) = &mut exchange.copy {
                draft.body.clear();
            }
            return;
        }
        // A tunnel cannot be copied.
        if session.is_upgrade_req() || fastrand::u32(..10_000) >= entry.mirror.share {
            return;
        }
        let is_empty = session.as_mut().is_body_empty();
        let length = request.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if !is_empty && (entry.mirror.body == 0 || length.is_some_and(|length: usize| length > entry.mirror.body)) {
            entry.handles.ended(Mirrored::TooLarge);
            return;
        }
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            entry.handles.ended(Mirrored::Dropped);
            return;
        };
        let draft = Draft { entry, head: request.clone(), body: BytesMut::new(), room };
        if is_empty {
            self.send(draft);
        } else {
            exchange.copy = Some(Box::new(draft));
        }
    }

    /// Collects the body, and sends the copy when it is whole.
    pub(super) fn collect(self: &Arc<Self>, body: Option<&Bytes>, is_last: bool, exchange: &mut Exchange) {
        let Some(mut draft) = exchange.copy.take() else { return };
        let piece = body.map_or(&[][..], |body| body);
        if draft.body.len() + piece.len() > draft.entry.mirror.body {
            draft.entry.handles.ended(Mirrored::TooLarge);
            return;
        }
        draft.body.extend_from_slice(piece);
        if is_last {
            self.send(*draft);
        } else {
            exchange.copy = Some(draft);
        }
    }

    fn send(self: &Arc<Self>, draft: Draft) {
        let mirrors = Arc::clone(self);
        tokio::spawn(async move {
            let Draft { entry, head, body, room } = draft;
            let sent = tokio::time::timeout(LONGEST, mirrors.deliver(&entry, head, body.freeze())).await;
            entry.handles.ended(if matches!(sent, Ok(Ok(()))) { Mirrored::Answered } else { Mirrored::Failed });
            drop(room);
        });
    }

    async fn deliver(&self, entry: &MirrorEntry, mut head: RequestHeader, body: Bytes) -> Result<()> {
        let pool = &entry.upstream.pool;
        let none = || Error::new(ErrorType::ConnectError);
        // The ticket keeps the server's place until the answer was read.
        let Pick { ticket, server } = pool.pick(&mut Tried::default(), None, clock::steady()).map_err(|_| none())?;
        let peer = Outlet::of(pool).ok_or_else(none)?.peer(ticket.member().address(), server);
        // It reads the certificates of the system, which takes a while: not on a thread that serves requests.
        let make = || tokio::task::spawn_blocking(|| Connector::new(None));
        let connector = self.connector.get_or_try_init(make).await.or_err(ErrorType::InternalError, "making a connector")?;
        let (mut session, _) = connector.get_http_session(&peer).await?;
        frame(&mut head, &body, session.as_http2().is_some(), peer.is_tls())?;
        let timeouts = pool.timeouts();
        session.set_read_timeout(Some(timeouts.read));
        session.set_write_timeout(Some(timeouts.write));
        session.write_request_header(Box::new(head)).await?;
        if !body.is_empty() {
            session.write_request_body(body, true).await?;
        }
        session.finish_request_body().await?;
        session.read_response_header().await?;
        while session.response_header().is_some_and(|response| response.status.is_informational()) {
            session.read_response_header().await?;
        }
        let mut read = 0;
        while let Some(piece) = session.read_response_body().await? {
            read += piece.len();
            if read > ANSWER {
                session.shutdown().await;
                return Ok(());
            }
        }
        connector.release_http_session(session, &peer, Some(timeouts.idle)).await;
        Ok(())
    }
}

/// The copy is whole, so it is framed by its length, however the original was.
fn frame(head: &mut RequestHeader, body: &Bytes, is_http2: bool, is_tls: bool) -> Result<()> {
    head.remove_header(&header::TRANSFER_ENCODING);
    head.remove_header(&header::EXPECT);
    if body.is_empty() {
        head.remove_header(&header::CONTENT_LENGTH);
    } else {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    if !is_http2 {
        head.set_version(Version::HTTP_11);
        return Ok(());
    }
    // RFC 9113 §8.2.2 and §8.3.1.
    head.remove_header(&header::CONNECTION);
    let host = head.remove_header(&header::HOST);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = if is_tls { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    head.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "the target of a copy")?);
    head.set_version(Version::HTTP_2);
    Ok(())
}
