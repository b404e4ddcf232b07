use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, Method};

use super::settings::Secret;
use super::{CanonicalPath, Moment};

/// What arrived, as every later stage sees it: canonical, bounded, and never changed again.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Names this request in logs, problem documents and `x-request-id`.
    pub id: RequestId,
    /// The only clock of the flow up to the reply.
    pub received_at: Moment,
    /// One of the methods the intake lets through.
    pub method: Method,
    /// Lower case, without port and trailing dot.
    pub host: String,
    /// The one spelling that is matched, judged, billed and forwarded.
    pub path: CanonicalPath,
    /// That of the host, where the client named one.
    pub port: Option<u16>,
    /// Raw, without the `?`.
    pub query: Option<String>,
    /// Tokens that were taken out of the query, each with its parameter: rules, logs and upstreams do not see them.
    pub query_tokens: Vec<(String, Secret)>,
    /// As received; at most one `Authorization`, no name with an underscore.
    pub headers: HeaderMap,
    /// The body, as far as the route lets rules read it.
    pub body: Body,
    /// The peer of the connection, or who a trusted proxy says it is.
    pub client_ip: IpAddr,
    /// What the request was spoken in.
    pub protocol: Protocol,
    /// Whether it came over TLS.
    pub is_secure: bool,
    /// Whether it asks for a WebSocket (RFC 6455 §4.1).
    pub is_websocket: bool,
    /// What the client proved by its certificate, if it showed one.
    pub client_certificate: Option<Arc<ClientCertificate>>,
}

/// What rules can see of a request's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// The route lets nobody read it, it is larger than the route's `rule_body`, or its length was not declared.
    #[default]
    NotRead,
    /// It is no UTF-8 text.
    NotText,
    /// The whole of it; empty if there is none.
    Text(Arc<str>),
}

impl Body {
    /// The text, if it was read and is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::NotRead | Self::NotText => None,
        }
    }
}

/// The version of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// The word of the access log and of `request.protocol`; ALPN's (RFC 7301) where it has one.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http10 => "http/1.0",
            Self::Http11 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

/// A client certificate that was verified during the TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject, in the form of RFC 4514.
    pub subject: String,
    /// Who signed it, in the same form.
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// DNS names of its subject alternative names.
    pub dns_names: Vec<String>,
    /// URIs of its subject alternative names, such as SPIFFE ids.
    pub uris: Vec<String>,
    /// E-mail addresses of its subject alternative names.
    pub emails: Vec<String>,
    /// IP addresses of its subject alternative names.
    pub ips: Vec<IpAddr>,
}

impl Facts {
    /// A request of which nothing is known but its name and moment: what every other one is made from.
    pub fn unknown(id: RequestId, received_at: Moment) -> Self {
        Self {
            id,
            received_at,
            method: Method::GET,
            host: String::new(),
            path: CanonicalPath::unknown(),
            port: None,
            query: None,
            query_tokens: Vec::new(),
            headers: HeaderMap::new(),
            body: Body::NotRead,
            client_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            protocol: Protocol::default(),
            is_secure: false,
            is_websocket: false,
            client_certificate: None,
        }
    }

    /// The method that a CORS preflight asks about (Fetch standard, "CORS-preflight request"), if this is one.
    pub fn preflight(&self) -> Option<&str> {
        let is_one = self.method == Method::OPTIONS && self.headers.contains_key(http::header::ORIGIN);
        if is_one { self.header("access-control-request-method") } else { None }
    }

    /// The value of a header that is text, the first one if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A ULID as text: sorts by time, unique without coordination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; Self::LENGTH]);

impl RequestId {
    const LENGTH: usize = ulid::ULID_LEN;

    /// From the Unix milliseconds of `at` and 80 bits of `randomness`.
    pub fn new(at: Moment, randomness: u128) -> Self {
        let milliseconds = u64::try_from(at.unix().as_millis()).unwrap_or(u64::MAX);
        let mut text = [0; Self::LENGTH];
        ulid::Ulid::from_parts(milliseconds, randomness).array_to_str(&mut text);
        Self(text)
    }

    /// The 26 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_sort_by_time_and_keep_their_randomness() {
        let at = |ms| Moment::new(Duration::from_millis(ms), Duration::ZERO);
        let early = RequestId::new(at(1_700_000_000_000), u128::MAX);
        let late = RequestId::new(at(1_700_000_000_001), 0);
        assert!(early.as_str() < late.as_str());
        assert_ne!(RequestId::new(at(5), 1), RequestId::new(at(5), 2));
        assert_eq!(RequestId::new(at(0), 0).as_str(), "00000000000000000000000000");
    }
}
