//! Asks servers how they are, away from the request path.

mod grpc;

use std::sync::Arc;
use std::time::Duration;

use pingora::ErrorType;
use pingora::connectors::TransportConnector;
use pingora::http::RequestHeader;
use pingora::lb::Backend;
use pingora::lb::health_check::{HealthCheck as _, HttpHealthCheck};
use pingora::prelude::{Error, HttpPeer};
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
                let task = tasks.spawn(probe_pool(Arc::clone(pool), pools.changes()));
                running.push((Arc::clone(pool), task));
            }
        }
        while tasks.try_join_next().is_some() {}
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn probe_pool(pool: Arc<Pool>, mut changes: tokio::sync::watch::Receiver<u64>) {
    let Some(check) = pool.settings().health_check.clone() else { return };
    let Some(prober) = Prober::new(&pool, check.clone()) else {
        tracing::error!(upstream = %pool.name(), "servers cannot be probed: the TLS settings are unusable");
        return;
    };
    let prober = Arc::new(prober);
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
        let wait = check.interval.mul_f64(0.9 + 0.2 * fastrand::f64());
        let addresses = pool.members().len();
        let has_new = async { while changes.changed().await.is_ok() && pool.members().len() == addresses {} };
        let _ = tokio::time::timeout(wait, has_new).await;
    }
}

async fn probe(prober: Arc<Prober>, pool: Arc<Pool>, member: Arc<Member>, server: usize) {
    let result = prober.ask(&member, server).await;
    pool.tally().checked(result.is_ok());
    let why = result.as_ref().err().cloned().unwrap_or_default();
    let (upstream, address) = (pool.name(), member.label());
    match member.probed(result, &prober.check, clock::steady()) {
        Some(true) => tracing::info!(%upstream, server = %address, "a server is up again"),
        Some(false) => tracing::warn!(%upstream, server = %address, why, "a server is down"),
        None => {}
    }
}

/// Connections of its own, so that a probe says something about a new connection and not about one that was kept.
struct Prober {
    check: HealthCheck,
    outlet: Arc<Outlet>,
    transport: TransportConnector,
}

impl Prober {
    fn new(pool: &Pool, check: HealthCheck) -> Option<Self> {
        Some(Self { check, outlet: Outlet::of(pool)?, transport: TransportConnector::new(None) })
    }

    async fn ask(&self, member: &Member, server: usize) -> Result<(), String> {
        let mut peer = self.outlet.peer(member.address(), server);
        let limit = self.check.timeout;
        let options = &mut peer.options;
        for limited in [&mut options.connection_timeout, &mut options.total_connection_timeout, &mut options.read_timeout] {
            *limited = Some(limit);
        }
        let asked = async {
            match &self.check.probe {
                Probe::Tcp => self.transport.get_stream(&peer).await.map(drop).map_err(|error| told(&error)),
                Probe::Http { path, host, expect } => {
                    let host = host.as_deref().unwrap_or(member.label());
                    self.ask_http(peer, path, host, expect.clone()).await.map_err(|error| told(&error))
                }
                Probe::Grpc { service, host } => grpc::ask(&peer, service, host.as_deref().unwrap_or(member.label())).await,
            }
        };
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(late(limit)))
    }

    async fn ask_http(
        &self,
        peer: HttpPeer,
        path: &str,
        host: &str,
        expect: Vec<std::ops::RangeInclusive<u16>>,
    ) -> Result<(), Box<Error>> {
        let mut request = RequestHeader::build("GET", path.as_bytes(), Some(3))?;
        request.insert_header("host", host)?;
        request.insert_header("user-agent", concat!("tollgate/", env!("CARGO_PKG_VERSION"), " (health check)"))?;
        let backend = Backend { addr: peer._address.clone(), weight: 1, ext: http::Extensions::new() };
        let mut check = HttpHealthCheck::new("unused", false);
        check.peer_template = peer;
        check.req = request;
        check.validator = Some(Box::new(move |response| {
            let status = response.status.as_u16();
            if expect.iter().any(|range| range.contains(&status)) {
                return Ok(());
            }
            Err(Error::new(ErrorType::HTTPStatus(status)))
        }));
        check.check(&backend).await
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
