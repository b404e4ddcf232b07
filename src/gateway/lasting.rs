use std::sync::Arc;

use super::{AccessLog, Faults};
use crate::billing::Ledger;
use crate::identity::revocation::Revocations;
use crate::identity::{KeyRings, Logins};
use crate::metrics::Metrics;
use crate::model::Rejection;
use crate::redis::Redis;
use crate::telemetry::Spans;
use crate::throttling::Throttling;
use crate::tls::Challenges;
use crate::traffic::Pools;

/// What outlives a reload, keyed by name: counters, keys, limits, the ledger.
pub struct Lasting {
    /// Every metric.
    pub metrics: Arc<Metrics>,
    /// The issuers' keys.
    pub keys: Arc<KeyRings>,
    /// Renewals of tokens, and logins that were finished.
    pub logins: Logins,
    /// What was taken back before it expired.
    pub revocations: Revocations,
    /// What was drawn from which limit.
    pub throttling: Throttling,
    /// The bill; `None` without a `billing:` section.
    pub ledger: Option<Ledger>,
    /// The upstreams' servers.
    pub pools: Pools,
    /// What an ACME server asks for right now.
    pub challenges: Challenges,
    /// One line per request.
    pub access_log: AccessLog,
    /// When each rule's failure was last logged.
    pub faults: Faults,
    /// What several gateways share; connected only if the configuration names a server.
    pub redis: Arc<Redis>,
    /// Where spans go; `None` without `tracing.otlp`.
    pub spans: Option<Spans>,
}

impl Lasting {
    /// Whether usage can be written down, or need not be.
    pub(super) fn accepts_usage(&self) -> Result<(), Rejection> {
        match &self.ledger {
            Some(ledger) if !ledger.accepts() => Err(Rejection::LedgerUnavailable),
            _ => Ok(()),
        }
    }
}
