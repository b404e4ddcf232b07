use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// `limits:`, what one client and all clients together may take of the gateway before anybody asks who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open at once.
    pub connections: usize,
    /// Open at once from one IPv4 address or one IPv6 /64.
    pub connections_per_ip: usize,
    /// Refused at accept.
    pub deny_ips: Arc<[IpNet]>,
    /// If there are any, everybody else is refused at accept.
    pub allow_ips: Arc<[IpNet]>,
    /// Being worked on at once; 503 beyond.
    pub requests: usize,
    /// 429 beyond; `None` sets no limit.
    pub requests_per_ip: Option<RequestsPerIp>,
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// Bytes of an HTTP/1 head, everything before the body.
    pub header_size: usize,
    /// A connection without a request.
    pub idle_timeout: Duration,
    /// Bytes of a request's body, unless a route says otherwise.
    pub body_size: u64,
    /// Bytes in a second, on the average while the gateway waits for a body; 0 sets no limit.
    pub body_min_rate: u64,
    /// How long a body may be slower at first.
    pub body_grace: Duration,
    /// For one write of an answer; a client that reads nothing is given up after it.
    pub write_timeout: Duration,
    /// Requests are shed while work waits longer than this for a worker thread; zero never sheds.
    pub queue_delay: Duration,
}

/// `limits.requests_per_ip`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestsPerIp {
    /// At most this many …
    pub requests: u64,
    /// … in any span of this length, on the average …
    pub per: Duration,
    /// … and this many at once.
    pub burst: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_ip: 2_000,
            deny_ips: Arc::default(),
            allow_ips: Arc::default(),
            requests: 20_000,
            requests_per_ip: None,
            header_timeout: Duration::from_secs(10),
            // The intake's 8 KiB for the target, 32 KiB for the fields, and what HTTP/1 writes between a hundred of them.
            header_size: 42 << 10,
            idle_timeout: Duration::from_secs(60),
            body_size: 10 << 20,
            body_min_rate: 100,
            body_grace: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            queue_delay: Duration::from_millis(100),
        }
    }
}
