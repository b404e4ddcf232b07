use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, Response};
use openssl::ssl::{AlpnError, Ssl, SslAcceptorBuilder, select_next_proto};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// A request as an HTTP/2 server sees it.
#[derive(Clone, Debug)]
pub struct H2Request {
    pub method: String,
    pub path: String,
    pub authority: String,
    pub scheme: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl H2Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What an HTTP/2 server answers.
pub struct H2Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    trailers: Vec<(&'static str, &'static str)>,
}

impl H2Answer {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), trailers: Vec::new() }
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.push((name, value));
        self
    }
}

/// A server that speaks HTTP/2 and nothing else.
pub struct H2Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<H2Request>>>,
    connections: Arc<AtomicUsize>,
}

type Serve = Arc<dyn Fn(&H2Request) -> H2Answer + Send + Sync>;

impl H2Server {
    /// Without TLS, with prior knowledge.
    pub fn plain(answer: impl Fn(&H2Request) -> H2Answer + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(answer))
    }

    /// Over TLS, agreed on by ALPN.
    pub fn secure(acceptor: SslAcceptorBuilder, answer: impl Fn(&H2Request) -> H2Answer + Send + Sync + 'static) -> Self {
        Self::start(Some(acceptor), Arc::new(answer))
    }

    fn start(acceptor: Option<SslAcceptorBuilder>, answer: Serve) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let acceptor = acceptor.map(|mut acceptor| {
            acceptor.set_alpn_select_callback(|_, offered| select_next_proto(b"\x02h2", offered).ok_or(AlpnError::ALERT_FATAL));
            acceptor.build()
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (theirs, count) = (Arc::clone(&seen), Arc::clone(&connections));
        std::thread::spawn(move || {
            runtime.block_on(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    let (seen, answer, acceptor) = (Arc::clone(&theirs), Arc::clone(&answer), acceptor.clone());
                    tokio::spawn(async move {
                        let Some(acceptor) = acceptor else { return serve(stream, seen, answer).await };
                        let mut stream = tokio_openssl::SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
                        if Pin::new(&mut stream).accept().await.is_ok() {
                            serve(stream, seen, answer).await;
                        }
                    });
                }
            });
        });
        Self { address, seen, connections }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn seen(&self) -> Vec<H2Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Mutex<Vec<H2Request>>>, answer: Serve) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        tokio::spawn(async move {
            let _ = reply(request, respond, &seen, &*answer).await;
        });
    }
}

async fn reply(
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: &Mutex<Vec<H2Request>>,
    answer: &(dyn Fn(&H2Request) -> H2Answer + Send + Sync),
) -> Result<(), h2::Error> {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        let _ = stream.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
    }
    let request = H2Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        authority: head.uri.authority().map(ToString::to_string).unwrap_or_default(),
        scheme: head.uri.scheme_str().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    // The answer may wait for something, which must not keep other streams waiting.
    let answer = tokio::task::block_in_place(|| answer(&request));
    seen.lock().unwrap().push(request);
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let mut out = respond.send_response(response.body(()).unwrap(), false)?;
    out.send_data(answer.body.into(), answer.trailers.is_empty())?;
    if !answer.trailers.is_empty() {
        let mut trailers = HeaderMap::new();
        for (name, value) in answer.trailers {
            trailers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        out.send_trailers(trailers)?;
    }
    Ok(())
}
