use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::sync::oneshot;

/// Turns a whole request into a whole answer; `None` leaves the client waiting, as a hung server does.
pub(super) type Answer = dyn Fn(Request<Bytes>) -> Option<Response<Full<Bytes>>> + Send + Sync;

const MAX_BODY: usize = 1024 * 1024;

/// One small HTTP/1.1 server with a thread and a runtime of its own, so that it starts and stops from sync and async code alike.
pub(super) struct Web {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Binds before it returns: a busy port is the caller's error. Port 0 takes a free one.
    pub(super) fn start(address: SocketAddr, answer: Arc<Answer>) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the demo listens on loopback only, not on {address}"),
            ));
        }
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("demo-{}", address.port())).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    failed = serve(listener, answer) => if let Err(error) = failed {
                        tracing::error!(%address, %error, "the demo server stopped");
                    }
                }
            });
            // Open connections end here, too: a stopped server refuses and resets, it does not drain.
            runtime.shutdown_background();
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Web({})", self.address)
    }
}

async fn serve(listener: TcpListener, answer: Arc<Answer>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: give connections time to close instead of spinning.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let respond = service_fn(|request| respond(request, &*answer));
            let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), respond).await;
        });
    }
}

async fn respond(request: Request<Incoming>, answer: &Answer) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(reply(StatusCode::PAYLOAD_TOO_LARGE, &Value::Null));
    };
    match answer(Request::from_parts(head, body.to_bytes())) {
        Some(response) => Ok(response),
        None => std::future::pending().await,
    }
}

/// A JSON answer that nobody may keep, as FusionAuth's own answers are.
pub(super) fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
