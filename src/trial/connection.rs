use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use crate::model::{ClientCertificate, Facts, Protocol};

/// How a described request comes in, where it matters: `connection:` of a rule test, `--connection` of `explain`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// `http/1.0`, `http/1.1` or `h2`.
    protocol: Option<Version>,
    /// Over TLS.
    #[serde(default)]
    is_secure: bool,
    /// Asking for a WebSocket.
    #[serde(default)]
    is_websocket: bool,
    /// What the client proved.
    client_certificate: Option<Certificate>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Version {
    #[serde(rename = "http/1.0")]
    Http10,
    #[serde(rename = "http/1.1")]
    Http11,
    #[serde(rename = "h2")]
    Http2,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Certificate {
    subject: String,
    issuer: String,
    serial: String,
    fingerprint: String,
    dns_names: Vec<String>,
    uris: Vec<String>,
    emails: Vec<String>,
    ips: Vec<IpAddr>,
}

impl Connection {
    /// A certificate comes over TLS only.
    pub(super) fn describe(&self, facts: &mut Facts) {
        facts.protocol = match self.protocol {
            None | Some(Version::Http11) => Protocol::Http11,
            Some(Version::Http10) => Protocol::Http10,
            Some(Version::Http2) => Protocol::Http2,
        };
        facts.is_secure = self.is_secure || self.client_certificate.is_some();
        facts.is_websocket = self.is_websocket;
        facts.client_certificate = self.client_certificate.clone().map(|shown| {
            Arc::new(ClientCertificate {
                subject: shown.subject,
                issuer: shown.issuer,
                serial: shown.serial,
                fingerprint: shown.fingerprint,
                dns_names: shown.dns_names,
                uris: shown.uris,
                emails: shown.emails,
                ips: shown.ips,
            })
        });
    }
}
