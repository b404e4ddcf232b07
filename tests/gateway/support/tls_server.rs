use std::net::SocketAddr;
use std::sync::Arc;

use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{NameType, SslAcceptor, SslAcceptorBuilder, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use super::{Authority, Leaf, raw_server};

/// What a server with this certificate needs.
pub fn acceptor(leaf: &Leaf) -> SslAcceptorBuilder {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(&X509::from_pem(leaf.certificate.as_bytes()).unwrap()).unwrap();
    acceptor.set_private_key(&PKey::private_key_from_pem(leaf.key.as_bytes()).unwrap()).unwrap();
    acceptor
}

/// Nobody gets in without a certificate of this authority.
pub fn demand(acceptor: &mut SslAcceptorBuilder, authority: &Authority) {
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(X509::from_pem(authority.pem().as_bytes()).unwrap()).unwrap();
    acceptor.set_verify_cert_store(store.build()).unwrap();
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
}

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
        let server_name = stream.ssl().servername(NameType::HOST_NAME).unwrap_or_default().to_owned();
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
