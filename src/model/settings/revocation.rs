use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::Secret;
use crate::model::Name;

/// `identity.revocation`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Who tells us.
    pub webhooks: Option<Webhooks>,
    /// The SQLite file that restarts read.
    pub file: PathBuf,
    /// Beyond it nothing more is taken in.
    pub max_entries: usize,
    /// Where events are read that did not arrive.
    pub event_log: Option<EventLog>,
    /// How long other gateways may be silent.
    pub stale_after: Duration,
    /// What happens then.
    pub on_stale: OnStale,
}

/// `identity.revocation.on_stale`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStale {
    /// Tokens pass that nothing is known against.
    Allow,
    /// No token passes.
    Deny,
}

/// `identity.revocation.event_log`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLog {
    /// FusionAuth; no trailing slash.
    pub url: String,
    /// An API key that may search the log.
    pub api_key: Secret,
    /// How often it is read.
    pub every: Duration,
    /// As for webhooks.
    pub tenants: Option<Vec<String>>,
}

/// `identity.revocation.webhooks`: everything that is set must be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhooks {
    /// Where FusionAuth sends events; canonical.
    pub path: String,
    /// Whose FusionAuth it is: keys and tenants are those of the issuers with the same URL.
    pub issuer: Name,
    /// The tenants whose events count; `None`: every tenant.
    pub tenants: Option<Vec<String>>,
    /// `X-FusionAuth-Signature-JWT`
    pub signature: Option<WebhookSignature>,
    /// HTTP Basic: user name and password.
    pub basic: Option<(String, Secret)>,
    /// Another header and its value.
    pub header: Option<(HeaderName, Secret)>,
    /// Larger bodies are not read.
    pub max_body: usize,
}

/// Who may sign events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookSignature {
    /// The keys that the issuer publishes.
    Published,
    /// Secrets that FusionAuth's Key Master has, too.
    Secrets(Vec<Secret>),
}

impl Revocation {
    /// How long after an event a token that it hits may still live.
    pub fn retention(max_lifetime: Duration, clock_skew: Duration) -> Duration {
        // Issued in the future by a clock that is ahead, living for as long as may be, and accepted a little longer.
        max_lifetime + 2 * clock_skew
    }
}
