use std::sync::Arc;

use openssl::ssl::{Error, ErrorCode, NameType, SslRef, SslVersion};

use super::client;
use crate::model::ClientCertificate;

/// What a finished handshake agreed on.
#[derive(Debug)]
pub struct Agreed {
    /// The host that the client asked for (RFC 6066 §3), lower case.
    pub server_name: Option<Box<str>>,
    /// Whether HTTP/2 was chosen.
    pub is_http2: bool,
    /// The client's certificate, which was verified.
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// The version, for logs.
    pub version: &'static str,
}

impl Agreed {
    /// Reads it from a session.
    pub fn of(ssl: &SslRef) -> Self {
        Self {
            server_name: ssl.servername(NameType::HOST_NAME).map(|name| name.to_ascii_lowercase().into()),
            is_http2: ssl.selected_alpn_protocol() == Some(b"h2"),
            client_certificate: ssl.peer_certificate().map(|certificate| Arc::new(client::read(&certificate))),
            version: if ssl.version2() == Some(SslVersion::TLS1_3) { "TLSv1.3" } else { "TLSv1.2" },
        }
    }
}

/// Why a handshake failed, as coarse as an operator can use: the `result` label of `tollgate_tls_handshakes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFault {
    /// It did not end in time.
    Timeout,
    /// The client closed the connection.
    Closed,
    /// A client certificate is required and none came.
    NoCertificate,
    /// A client certificate came that does not verify.
    BadCertificate,
    /// No common version, cipher or protocol.
    Unsupported,
    /// What came is not TLS.
    NotTls,
    /// The client did not like the gateway's certificate, or something else of ours.
    Refused,
    /// Anything else.
    Other,
}

/// Numbers of OpenSSL's `sslerr.h`, of which the `openssl` crate names none.
const NO_CERTIFICATE: i32 = 199;
const VERIFY_FAILED: i32 = 134;
const UNSUPPORTED: [i32; 8] = [193, 258, 235, 396, 101, 118, 102, 373];
const NOT_TLS: [i32; 5] = [156, 155, 267, 207, 443];
const ALERTS: std::ops::Range<i32> = 1000..1256;

impl HandshakeFault {
    /// Every fault.
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Closed,
        Self::NoCertificate,
        Self::BadCertificate,
        Self::Unsupported,
        Self::NotTls,
        Self::Refused,
        Self::Other,
    ];

    /// From what OpenSSL says.
    pub fn of(error: &Error) -> Self {
        let codes: Vec<i32> =
            error.ssl_error().map(|stack| stack.errors().iter().map(|e| e.reason_code()).collect()).unwrap_or_default();
        let has = |list: &[i32]| codes.iter().any(|code| list.contains(code));
        if has(&[NO_CERTIFICATE]) {
            Self::NoCertificate
        } else if has(&[VERIFY_FAILED]) {
            Self::BadCertificate
        } else if has(&UNSUPPORTED) {
            Self::Unsupported
        } else if has(&NOT_TLS) {
            Self::NotTls
        } else if codes.iter().any(|code| ALERTS.contains(code)) {
            Self::Refused
        } else if codes.is_empty() && (error.code() == ErrorCode::SYSCALL || error.code() == ErrorCode::ZERO_RETURN) {
            Self::Closed
        } else {
            Self::Other
        }
    }

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate => "bad_certificate",
            Self::Unsupported => "unsupported",
            Self::NotTls => "not_tls",
            Self::Refused => "refused_by_client",
            Self::Other => "other",
        }
    }
}
