use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use super::Secret;
use super::TlsVersion;
use crate::model::Name;

/// One entry of `upstreams:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// What `route_to` and `routes[].upstream` call it.
    pub name: Name,
    /// At least one.
    pub servers: Vec<Server>,
    /// How a server is chosen.
    pub balance: Balance,
    /// What is spoken.
    pub protocol: UpstreamProtocol,
    /// Present exactly if the servers are `https://`.
    pub tls: Option<UpstreamTls>,
    /// All set, always.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retries: Retries,
    /// Probes; without them a server is up until requests show otherwise.
    pub health_check: Option<HealthCheck>,
    /// What requests show; `None` if it was switched off.
    pub outliers: Option<Outliers>,
    /// `circuit_breaker.requests`: at most this many at once on one server.
    pub most_requests: Option<usize>,
    /// How long a server that came back takes to get its full share; zero if that is at once.
    pub slow_start: Duration,
    /// How names become addresses.
    pub dns: Dns,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As written, for logs: `host:port`.
    pub authority: Name,
    /// The host name or address to resolve.
    pub host: String,
    /// The port.
    pub port: u16,
    /// From 0 (none of the requests) to 100.
    pub weight: u32,
}

/// `upstreams.NAME.balance`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn.
    RoundRobin,
    /// The server with the fewest requests under way.
    LeastRequests,
    /// The less busy of two that were drawn.
    PowerOfTwo,
    /// The same server for the same key.
    Hash(HashKey),
}

/// `hash:…`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// A claim of the caller; a dotted path reaches into objects.
    Claim(String),
    /// A request header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// Who is calling, by address.
    ClientIp,
}

/// `upstreams.NAME.protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge (RFC 9113 §3.3) without.
    Http2,
    /// HTTP/2 if the server's ALPN offers it, otherwise HTTP/1.1.
    Auto,
}

/// `upstreams.NAME.tls`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Sent as SNI and looked for in the certificate; `None` takes the host of the server.
    pub server_name: Option<String>,
    /// Whether the certificate is checked at all.
    pub verify: bool,
    /// Certificates in PEM that are trusted instead of the system's.
    pub ca: Option<Arc<str>>,
    /// What the gateway shows: its certificate chain in PEM, and the key of the first one.
    pub identity: Option<(Arc<str>, Secret)>,
    /// Nothing is sent over an older version.
    pub minimum_version: TlsVersion,
}

/// Time limits towards an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TCP connection, and again for the TLS handshake.
    pub connect: Duration,
    /// Between two reads, the first byte included.
    pub read: Duration,
    /// For one write.
    pub write: Duration,
    /// After which an unused connection is closed.
    pub idle: Duration,
    /// From the request's arrival to the end of its answer, all attempts together.
    pub total: Option<Duration>,
}

/// `upstreams.NAME.retries`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// After the first attempt.
    pub attempts: usize,
    /// No connection could be made: nothing was sent, so every method is tried again.
    pub on_connect_error: bool,
    /// A kept connection turned out to be closed.
    pub on_stale_connection: bool,
    /// No byte of an answer came within `timeouts.read`.
    pub on_first_byte_timeout: bool,
    /// Some of 502, 503 and 504.
    pub statuses: Vec<u16>,
    /// Only idempotent ones (RFC 9110 §9.2.2).
    pub methods: Vec<Method>,
    /// How many retries there may be for a hundred requests.
    pub budget_percent: u32,
}

/// `upstreams.NAME.health_check`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Between two rounds.
    pub interval: Duration,
    /// For one probe, from connecting to the last byte.
    pub timeout: Duration,
    /// How many in a row bring a server back.
    pub healthy_after: u32,
    /// How many in a row take it out.
    pub unhealthy_after: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether a connection (and a TLS session, for https) comes about.
    Tcp,
    /// `GET path`.
    Http {
        /// Begins with `/`.
        path: String,
        /// The `Host` header; the server's own by default.
        host: Option<String>,
        /// Statuses of a healthy server.
        expect: Vec<RangeInclusive<u16>>,
    },
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service that is asked for; empty for the server as a whole.
        service: String,
        /// The `:authority`.
        host: Option<String>,
    },
}

/// `upstreams.NAME.outlier_detection`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outliers {
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// For the first time; the second is twice as long, and so on.
    pub ejection: Duration,
    /// No ejection is longer.
    pub longest_ejection: Duration,
    /// How many of a hundred servers may be out at once.
    pub most_ejected_percent: u32,
}

/// `upstreams.NAME.dns`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns {
    /// How often a name is looked up again.
    pub refresh: Duration,
    /// For one lookup.
    pub timeout: Duration,
    /// Which addresses are used.
    pub family: Family,
}

/// Families of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A and AAAA.
    Any,
    /// A only.
    Ipv4,
    /// AAAA only.
    Ipv6,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            read: Duration::from_secs(60),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            total: None,
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 1,
            on_connect_error: true,
            on_stale_connection: true,
            on_first_byte_timeout: false,
            statuses: Vec::new(),
            methods: vec![Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE],
            budget_percent: 20,
        }
    }
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            ejection: Duration::from_secs(30),
            longest_ejection: Duration::from_secs(300),
            most_ejected_percent: 50,
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { refresh: Duration::from_secs(10), timeout: Duration::from_secs(5), family: Family::Any }
    }
}

impl Upstream {
    /// An upstream that says nothing but where its servers are.
    pub fn plain(name: Name, servers: Vec<Server>) -> Self {
        Self {
            name,
            servers,
            balance: Balance::RoundRobin,
            protocol: UpstreamProtocol::Http1,
            tls: None,
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            health_check: None,
            outliers: Some(Outliers::default()),
            most_requests: None,
            slow_start: Duration::ZERO,
            dns: Dns::default(),
        }
    }
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { server_name: None, verify: true, ca: None, identity: None, minimum_version: TlsVersion::Tls12 }
    }
}
