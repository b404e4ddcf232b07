//! Turns the names of servers into addresses, away from the request path.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Pool;
use crate::model::Name;
use crate::model::settings::Upstream;

const EVERY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);

/// The pools by upstream name; outlives reloads.
#[derive(Debug, Default)]
pub struct Pools(ArcSwap<HashMap<Name, Arc<Pool>>>);

impl Pools {
    /// Follows the configuration: a pool whose settings did not change is kept as it is.
    pub fn follow(&self, upstreams: &[Upstream]) {
        let current = self.0.load();
        let keep = |upstream: &Upstream| match current.get(&upstream.name) {
            Some(pool) if pool.settings() == upstream => Arc::clone(pool),
            _ => Arc::new(Pool::new(upstream.clone())),
        };
        let next = upstreams.iter().map(|upstream| (upstream.name.clone(), keep(upstream))).collect();
        self.0.store(Arc::new(next));
    }

    /// All pools by name.
    pub fn all(&self) -> Arc<HashMap<Name, Arc<Pool>>> {
        self.0.load_full()
    }
}

/// Resolves every name now and then every ten seconds, until cancelled. A failure keeps the last good addresses.
pub async fn keep_resolved(pools: &Pools) {
    loop {
        resolve(&pools.all()).await;
        tokio::time::sleep(EVERY).await;
    }
}

async fn resolve(pools: &HashMap<Name, Arc<Pool>>) {
    for pool in pools.values() {
        for (index, host, port) in pool.named_servers() {
            match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await {
                Ok(Ok(addresses)) => {
                    let mut addresses: Vec<_> = addresses.collect();
                    addresses.sort_unstable();
                    addresses.dedup();
                    pool.learn(index, addresses);
                }
                Ok(Err(error)) => tracing::warn!(upstream = %pool.name(), host, %error, "a server's name does not resolve"),
                Err(_) => tracing::warn!(upstream = %pool.name(), host, "a server's name did not resolve in 5 s"),
            }
        }
    }
}
