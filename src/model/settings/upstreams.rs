use std::time::Duration;

use crate::model::Name;

/// One entry of `upstreams:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// What `route_to` and `routes[].upstream` call it.
    pub name: Name,
    /// Tried in turn.
    pub servers: Vec<Server>,
    /// All set, always.
    pub timeouts: Timeouts,
    /// How many other servers are tried when a connection fails.
    pub retries: usize,
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
}

/// Time limits towards an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TCP connection.
    pub connect: Duration,
    /// Between two reads, the first byte included.
    pub read: Duration,
    /// For one write.
    pub write: Duration,
    /// After which an unused connection is closed.
    pub idle: Duration,
}
