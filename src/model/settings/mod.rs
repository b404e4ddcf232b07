//! What the operator asked for, valid by construction: defaults filled in, names resolved, units typed.
//!
//! `config` lowers the YAML text into these values; every other folder reads only its own section.

mod accounting;
mod credentials;
mod hosted;
mod identity;
mod lifecycle;
mod limits;
mod listeners;
mod login;
mod logout;
mod observing;
mod redis;
mod revocation;
mod routes;
mod rules;
mod upstreams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use self::redis::Redis;
pub use accounting::{Billing, Meter, OnFull, Throttling};
pub use credentials::{ApiKey, ApiKeys, Credentials, Dpop, Inquiry, Introspection, ResourceMetadata, UpstreamToken};
pub use hosted::HostedBackend;
pub use identity::{ClaimKind, ClaimType, Identity, Issuer, TokenFrom};
pub use lifecycle::Lifecycle;
pub use limits::{Limits, RequestsPerIp};
pub use listeners::{Acme, AcmeChallenge, Certificate, ClientCertificates, Listener, Protocols, ProxyProtocol, Tls, TlsVersion};
pub use login::{Callback, Login, SameSite, SessionStore, Sessions};
pub use logout::Logout;
pub use observing::{AccessLog, LogOutput, Tracing};
pub use revocation::{EventLog, OnStale, Revocation, WebhookSignature, Webhooks};
pub use routes::{
    Auth, Coding, Compression, Cors, CorsOrigin, CorsOrigins, ErrorPages, FixedAnswer, Gate, HeaderEdits, Maintenance, Mirror,
    Redirect, Rewrite, Route, RouteDefault, SecurityHeaders, Target,
};
pub use rules::{Mode, OnError, Rule, RuleLimits, Rules};
pub use upstreams::{
    Balance, Dns, Family, HashKey, HealthCheck, Outliers, Probe, Retries, Server, Timeouts, Upstream, UpstreamProtocol,
    UpstreamTls,
};

/// The whole configuration.
#[derive(Debug)]
pub struct Config {
    /// Where the proxy listens.
    pub listeners: Vec<Listener>,
    /// Whose word about clients is believed: PROXY protocol headers and `X-Forwarded-*`.
    pub trusted_proxies: Vec<IpNet>,
    /// Where operators ask.
    pub admin: SocketAddr,
    /// Worker threads of the proxy.
    pub threads: usize,
    /// How long running requests may finish after SIGTERM.
    pub grace: Duration,
    /// How connections and the process end.
    pub lifecycle: Lifecycle,
    /// What hostile clients cannot exceed.
    pub limits: Limits,
    /// Who is calling?
    pub identity: Identity,
    /// By name, in the order of the file.
    pub upstreams: Vec<Upstream>,
    /// First match wins.
    pub routes: Vec<Route>,
    /// What browsers get instead of problem documents.
    pub error_pages: ErrorPages,
    /// What shall happen?
    pub rules: Rules,
    /// May it happen now?
    pub throttling: Throttling,
    /// What is owed?
    pub billing: Billing,
    /// Beyond it label values are folded into `_other`.
    pub max_series_per_metric: usize,
    /// One line per request.
    pub access_log: AccessLog,
    /// What several gateways share.
    pub redis: Option<Redis>,
    /// Which traces requests belong to; `None`: the gateway keeps out of it.
    pub tracing: Option<Tracing>,
    /// SHA-256 of the configuration text, hexadecimal.
    pub config_sha256: String,
    /// SHA-256 of all rule texts, hexadecimal.
    pub rules_sha256: String,
}

/// A text that must not be shown: a client secret, an HMAC key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes the text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// For the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
