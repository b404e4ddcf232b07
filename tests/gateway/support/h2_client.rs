use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

/// An answer over HTTP/2, with what came after its body.
#[derive(Debug)]
pub struct H2Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// Sends one request over HTTP/2 without TLS, with prior knowledge.
pub fn h2_ask(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<H2Reply, h2::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(to).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        let mut request = Request::post(format!("http://grpc.example{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut client = client.ready().await?;
        let (response, mut out) = client.send_request(request.body(()).unwrap(), false)?;
        out.send_data(Bytes::copy_from_slice(body), true)?;
        let (head, mut stream) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(chunk) = stream.data().await {
            let chunk = chunk?;
            let _ = stream.flow_control().release_capacity(chunk.len());
            body.extend_from_slice(&chunk);
        }
        let trailers = stream.trailers().await?.unwrap_or_default();
        Ok(H2Reply { status: head.status.as_u16(), headers: head.headers, body, trailers })
    })
}
