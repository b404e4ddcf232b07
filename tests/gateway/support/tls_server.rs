use std::net::SocketAddr;
use std::sync::Arc;

use openssl::nid::Nid;
use openssl::ssl::SslAcceptorBuilder;

use super::raw_server;

/// A server over TLS that answers each request with what `answer` makes of its head, the name of the client and the SNI.
pub fn tls_server(
    acceptor: SslAcceptorBuilder,
    answer: impl Fn(&str, &str, &str) -> Vec<u8> + Send + Sync + 'static,
) -> SocketAddr {
    use std::io::{Read, Write};
    let acceptor = Arc::new(acceptor.build());
    raw_server(move |stream| {
        let Ok(mut stream) = acceptor.accept(stream) else { return };
        let subject = stream.ssl().peer_certificate().map(|certificate| {
            let name = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next().unwrap();
            String::from_utf8_lossy(name.data().as_slice()).into_owned()
        });
        let server_name = stream.ssl().servername(openssl::ssl::NameType::HOST_NAME).unwrap_or_default().to_owned();
        let mut received = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            while let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&received[..end]).into_owned();
                received.drain(..end + 4);
                if stream.write_all(&answer(&head, subject.as_deref().unwrap_or_default(), &server_name)).is_err() {
                    return;
                }
            }
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(count) => received.extend_from_slice(&chunk[..count]),
            }
        }
    })
}
