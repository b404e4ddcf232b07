//! Asks servers how they are, away from the request path.

mod grpc;
mod http;

use std::sync::Arc;
use std::time::Duration;

use pingora::ErrorType;
use pingora::connectors::http::Connector;
use pingora::prelude::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::forward::Outlet;
use crate::gateway::clock;
use crate::model::settings::{HealthCheck, Probe};
use crate::traffic::{Member, Pool, Pools};

/// Probes at the same time, for each upstream.
const AT_ONCE: usize = 32;

/// Probes every server of every upstream that wants it, until cancelled. A changed upstream begins anew; what is known of its
/// servers stays.
pub async fn keep_probed(pools: &Pools) {
    let mut changes = pools.changes();
    let mut running: Vec<(Arc<Pool>, tokio::task::AbortHandle)> = Vec::new();
    // Dropping it ends all of them.
    let mut tasks = JoinSet::new();
    let connector = Arc::new(Connector::new(None));
    loop {
        changes.mark_unchanged();
        let all = pools.all();
        running.retain(|(pool, task)| {
            let stays = all.get(pool.name()).is_some_and(|now| Arc::ptr_eq(now, pool)) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for pool in all.values().filter(|pool| pool.settings().health_check.is_some()) {
            if !running.iter().any(|(known, _)| Arc::ptr_eq(known, pool)) {
                let task = tasks.spawn(probe_pool(Arc::clone(pool), Arc::clone(&connector), pools.changes()));
                running.push((Arc::clone(pool), task));
            }
        }
        while tasks.try_join_next().is_some() {}
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn probe_pool(pool: Arc<Pool>, connector: Arc<Connector>, mut changes: watch::Receiver<u64>) {
    let Some(check) = pool.settings().health_check.clone() else { return };
    let Some(outlet) = Outlet::of(&pool) else {
        tracing::error!(upstream = %pool.name(), "servers cannot be probed: the TLS settings are unusable");
        return;
    };
    let interval = check.interval;
    let prober = Arc::new(Prober { check, outlet, connector });
    loop {
        let mut probes = JoinSet::new();
        for (member, server, _) in pool.members() {
            if probes.len() >= AT_ONCE {
                probes.join_next().await;
            }
            probes.spawn(probe(Arc::clone(&prober), Arc::clone(&pool), member, server));
        }
        probes.join_all().await;
        // A tenth more or less: gateways that were started together do not knock together.
        let wait = interval.mul_f64(0.9 + 0.2 * fastrand::f64());
        let addresses = pool.members().len();
        let has_new = async { while changes.changed().await.is_ok() && pool.members().len() == addresses {} };
        let _ = tokio::time::timeout(wait, has_new).await;
    }
}

async fn probe(prober: Arc<Prober>, pool: Arc<Pool>, member: Arc<Member>, server: usize) {
    let result = prober.ask(&pool, &member, server).await;
    pool.tally().checked(result.is_ok());
    let why = result.as_ref().err().cloned().unwrap_or_default();
    let (upstream, address) = (pool.name(), member.label());
    match member.probed(result, &prober.check, clock::steady()) {
        Some(true) => tracing::info!(%upstream, server = %address, "a server is up again"),
        Some(false) => tracing::warn!(%upstream, server = %address, why, "a server is down"),
        None => {}
    }
}

/// Probes with connections of their own: a probe says something about a new connection and not about one that was kept.
///
/// Not pingora's `HttpHealthCheck`: each of those has a connector, which reads the system's certificates twice, and one `Host` for all
/// servers. The connector here is one for everybody.
struct Prober {
    check: HealthCheck,
    outlet: Arc<Outlet>,
    connector: Arc<Connector>,
}

impl Prober {
    async fn ask(&self, pool: &Pool, member: &Member, server: usize) -> Result<(), String> {
        let mut peer = self.outlet.peer(member.address(), server);
        let limit = self.check.timeout;
        let options = &mut peer.options;
        for limited in [&mut options.connection_timeout, &mut options.total_connection_timeout, &mut options.read_timeout] {
            *limited = Some(limit);
        }
        // A connection with room for more streams would stay in the connector for ever.
        options.max_h2_streams = 1;
        let authority = pool.settings().servers.get(server).map(|server| &*server.authority).unwrap_or_default();
        let asked = async {
            match &self.check.probe {
                Probe::Tcp => self.connector.get_http_session(&peer).await.map(drop).map_err(|error| told(&error)),
                Probe::Http { path, host, expect } => {
                    let host = host.as_deref().unwrap_or(authority);
                    let status = http::ask(&self.connector, &peer, path, host).await.map_err(|error| told(&error))?;
                    let is_expected = expect.iter().any(|range| range.contains(&status));
                    if is_expected { Ok(()) } else { Err(format!("status {status}")) }
                }
                Probe::Grpc { service, host } => {
                    grpc::ask(&self.connector, &peer, service, host.as_deref().unwrap_or(authority)).await
                }
            }
        };
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(late(limit)))
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {} ms", limit.as_millis())
}

/// For operators: what went wrong, without the request.
fn told(error: &Error) -> String {
    match error.etype() {
        ErrorType::HTTPStatus(status) => format!("status {status}"),
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout => "no answer in time".to_owned(),
        other => other.as_str().to_owned(),
    }
}
