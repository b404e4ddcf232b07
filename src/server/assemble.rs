use std::sync::Arc;

use crate::billing::Ledger;
use crate::gateway::{AccessLog, Faults, Gateway, Lasting, Settler, Snapshot, clock};
use crate::identity::revocation::Revocations;
use crate::identity::{KeyRings, Logins};
use crate::metrics::Metrics;
use crate::model::settings::Config;
use crate::model::{Problem, Severity};
use crate::redis::Redis;
use crate::telemetry::Spans;
use crate::throttling::Throttling;
use crate::tls::Challenges;
use crate::traffic::Pools;

/// Makes a gateway from its first configuration. Opens the ledger and the access log, but no socket.
///
/// # Errors
/// Everything that is wrong with the rules, the ledger or the access log. Warnings come along with the gateway.
pub fn assemble(config: Config) -> Result<(Gateway, Vec<Problem>), Vec<Problem>> {
    let throttling = Throttling::new(config.throttling.max_keys);
    assemble_with(config, throttling)
}

/// The same with limits that a predecessor has counted.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_with(config: Config, throttling: Throttling) -> Result<(Gateway, Vec<Problem>), Vec<Problem>> {
    let metrics = Metrics::new().map_err(|error| vec![Problem::error("start::metrics", error.to_string())])?;
    let ledger = match &config.billing.ledger {
        None => None,
        Some(path) => Some(Ledger::open(&config.billing).map_err(|error| {
            vec![
                Problem::error("start::ledger", format!("the ledger {} cannot be opened: {error}", path.display()))
                    .hint("usage that cannot be written down would be lost, so the gateway does not start without it"),
            ]
        })?),
    };
    let redis = Arc::new(Redis::default());
    let revocations = Revocations::open(&config.identity, &redis).map_err(|error| {
        vec![
            Problem::error("start::revocations", format!("the revocations cannot be read: {error}"))
                .hint("who was revoked before a restart would be let in again, so the gateway does not start without them"),
        ]
    })?;
    let access_log = AccessLog::open(&config.access_log.output)
        .map_err(|error| vec![Problem::error("start::access-log", format!("the access log cannot be opened: {error}"))])?;
    let spans = match &config.tracing {
        Some(tracing) => Spans::start(tracing)
            .map_err(|error| vec![Problem::error("start::tracing", format!("spans cannot be exported: {error}"))])?,
        None => None,
    };
    let lasting = Lasting {
        metrics,
        keys: Arc::new(KeyRings::new(clock::now)),
        logins: Logins::new(clock::now),
        revocations,
        throttling,
        ledger,
        pools: Pools::default(),
        challenges: Challenges::default(),
        access_log,
        faults: Faults::default(),
        redis,
        spans,
    };
    let (hashes, (compiled, problems)) =
        ((config.config_sha256.clone(), config.rules_sha256.clone()), Snapshot::compile(config, &lasting, None, None));
    match compiled {
        Ok(snapshot) => {
            lasting.metrics.loaded(&hashes.0, &hashes.1, clock::now().unix().as_secs_f64());
            let warnings = problems.into_iter().filter(|problem| problem.severity == Severity::Warning).collect();
            let settler = Settler::start()
                .map_err(|error| vec![Problem::error("start::settler", format!("a thread cannot be started: {error}"))])?;
            Ok((Gateway::new(snapshot, lasting, settler), warnings))
        }
        Err(()) => Err(problems),
    }
}
