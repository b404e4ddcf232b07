use std::net::SocketAddr;
use std::path::PathBuf;
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
    /// At least one, but see `acme`; the first is shown to who asks for no name or for an unknown one.
    pub certificates: Vec<Certificate>,
    /// Whether TLS 1.2 is spoken, too.
    pub minimum: TlsVersion,
    /// Of TLS 1.2, in the order of preference; empty means Mozilla's intermediate list.
    pub ciphers: Vec<String>,
    /// Of TLS 1.3, likewise.
    pub suites: Vec<String>,
    /// Whether clients show certificates, too.
    pub client: Option<ClientCertificates>,
    /// Who issues the certificate, if nobody puts it there. `certificates` is empty until it did.
    pub acme: Option<Arc<Acme>>,
}

/// `acme:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The server's directory, an https URL.
    pub directory: String,
    /// URIs such as `mailto:ops@example.com`.
    pub contacts: Vec<String>,
    /// DNS names, lower case, at least one; the first one names the file.
    pub names: Vec<String>,
    /// The folder of certificates and accounts.
    pub cache: PathBuf,
    /// How the server is convinced.
    pub challenge: AcmeChallenge,
    /// PEM: who signed the server's own certificate, if it is no public one.
    pub ca: Option<Arc<str>>,
}

/// `challenge:`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// RFC 8555 §8.3, on port 80.
    #[default]
    Http01,
    /// RFC 8737, on port 443.
    TlsAlpn01,
}

impl Acme {
    /// What logs and metrics call it: its first name.
    pub fn label(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Where its certificate and key are kept.
    pub fn file(&self) -> PathBuf {
        self.cache.join(format!("{}.pem", self.label()))
    }

    /// Where the account is kept: one for each server.
    pub fn account_file(&self) -> PathBuf {
        let server: String = self.directory.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.cache.join(format!("account-{server}.json"))
    }
}

impl AcmeChallenge {
    /// As RFCs spell it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
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
