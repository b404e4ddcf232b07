use std::net::SocketAddr;
use std::sync::Arc;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslMethod, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use super::raw_server;

/// Who signs certificates.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn begin(name: &str, key: &PKey<Private>) -> X509Builder {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, MsbOption::ONE, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject.build()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder
}

fn text(pem: Vec<u8>) -> String {
    String::from_utf8(pem).unwrap()
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = key();
        let mut builder = begin(name, &key);
        let subject = {
            let mut subject = X509NameBuilder::new().unwrap();
            subject.append_entry_by_text("CN", name).unwrap();
            subject.build()
        };
        builder.set_issuer_name(&subject).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    /// Its own certificate in PEM.
    pub fn pem(&self) -> String {
        text(self.certificate.to_pem().unwrap())
    }

    /// A certificate for a host, and its key.
    fn issue(&self, host: &str) -> (X509, PKey<Private>) {
        let key = key();
        let mut builder = begin(host, &key);
        builder.set_issuer_name(self.certificate.subject_name()).unwrap();
        let name = SubjectAlternativeName::new().dns(host).build(&builder.x509v3_context(Some(&self.certificate), None)).unwrap();
        builder.append_extension(name).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        (builder.build(), key)
    }

    /// The same as two PEM texts.
    pub fn issue_pem(&self, host: &str) -> (String, String) {
        let (certificate, key) = self.issue(host);
        (text(certificate.to_pem().unwrap()), text(key.private_key_to_pem_pkcs8().unwrap()))
    }

    /// What a server for a host needs.
    pub fn acceptor(&self, host: &str) -> SslAcceptorBuilder {
        let (certificate, key) = self.issue(host);
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_certificate(&certificate).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor
    }

    /// Nobody gets in without a certificate of this authority.
    pub fn demand(&self, acceptor: &mut SslAcceptorBuilder) {
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(self.certificate.clone()).unwrap();
        acceptor.set_verify_cert_store(store.build()).unwrap();
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
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
