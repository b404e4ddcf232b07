use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::Secret;

/// One entry of `listeners:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it is bound.
    pub address: SocketAddr,
    /// Which versions of HTTP it speaks.
    pub protocols: Protocols,
    /// Without it everything is in the clear.
    pub tls: Option<Tls>,
    /// The value of `strict-transport-security` (RFC 6797); only with TLS.
    pub hsts: Option<HeaderValue>,
    /// The port of `https` that everything is redirected to; only without TLS.
    pub redirect_to_https: Option<u16>,
    /// Whether connections begin with a header that names the client.
    pub proxy_protocol: ProxyProtocol,
}

/// `protocols:`, at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.0 and HTTP/1.1.
    pub http1: bool,
    /// HTTP/2: by ALPN with TLS, by prior knowledge (RFC 9113 §3.3) without.
    pub http2: bool,
}

/// `proxy_protocol:`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Such a header is garbage.
    #[default]
    Off,
    /// Trusted proxies may send one.
    Optional,
    /// Only trusted proxies may connect, and each of their connections begins with one.
    Required,
}

/// `listeners[].tls:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one; the first is shown to who asks for no name or for an unknown one.
    pub certificates: Vec<Certificate>,
    /// Whether TLS 1.2 is spoken, too.
    pub minimum: TlsVersion,
    /// Of TLS 1.2, in the order of preference; empty means Mozilla's intermediate list.
    pub ciphers: Vec<String>,
    /// Of TLS 1.3, likewise.
    pub suites: Vec<String>,
    /// Whether clients show certificates, too.
    pub client: Option<ClientCertificates>,
}

/// `minimum_version:`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A certificate with its private key; they belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// PEM: the certificate, then the ones between it and its root.
    pub chain: Arc<str>,
    /// PEM.
    pub key: Secret,
    /// The DNS names of its subject alternative names, lower case; `*.example.com` is a wildcard.
    pub names: Vec<String>,
    /// Its end, since the Unix epoch.
    pub not_after: Duration,
}

impl Certificate {
    /// What metrics and the status page call it: its first name.
    pub fn label(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

/// `client_certificates:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Whether a client without one is turned away. One that does not verify always is.
    pub required: bool,
    /// PEM: who may have signed them.
    pub ca: Arc<str>,
}
