//! Turns the names of servers into addresses, away from the request path.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Pool;
use crate::model::Name;
use crate::model::settings::Upstream;

/// The pools by upstream name; outlives reloads.
#[derive(Debug)]
pub struct Pools {
    current: ArcSwap<HashMap<Name, Arc<Pool>>>,
    changes: watch::Sender<u64>,
    looked_up: AtomicBool,
}

impl Default for Pools {
    fn default() -> Self {
        Self { current: ArcSwap::default(), changes: watch::Sender::new(0), looked_up: AtomicBool::new(false) }
    }
}

impl Pools {
    /// Follows the configuration: a pool whose settings did not change is kept as it is, another one takes over what is known.
    pub fn follow(&self, upstreams: &[Upstream], now: Duration) {
        let current = self.current.load();
        let keep = |upstream: &Upstream| match current.get(&upstream.name) {
            Some(pool) if pool.settings() == upstream => Arc::clone(pool),
            before => Arc::new(Pool::new(upstream.clone(), before.map(|pool| &**pool), now)),
        };
        let next = upstreams.iter().map(|upstream| (upstream.name.clone(), keep(upstream))).collect();
        self.current.store(Arc::new(next));
        self.changes.send_modify(|generation| *generation += 1);
    }

    /// All pools by name.
    pub fn all(&self) -> Arc<HashMap<Name, Arc<Pool>>> {
        self.current.load_full()
    }

    /// Whether every name of the first configuration was looked up, with whatever answer: before that, nobody knows what is missing.
    pub fn are_looked_up(&self) -> bool {
        self.looked_up.load(Ordering::Acquire)
    }

    /// Hears when the configuration or the addresses of a server changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Resolves every name now and then as often as its upstream says, until cancelled. A failure keeps the last good addresses.
pub async fn keep_resolved(pools: &Pools, now: fn() -> Duration) {
    let lookup = |host: String, port| async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) };
    keep_resolved_by(pools, now, lookup).await;
}

/// The same with another source of addresses.
async fn keep_resolved_by<L, F>(pools: &Pools, now: fn() -> Duration, lookup: L)
where
    L: Fn(String, u16) -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    let mut changes = pools.changes();
    let mut due: HashMap<(Name, usize), Instant> = HashMap::new();
    loop {
        changes.mark_unchanged();
        let all = pools.all();
        due.retain(|(name, _), _| all.contains_key(name));
        let mut lookups = JoinSet::new();
        for pool in all.values() {
            for (index, host, port) in pool.named_servers() {
                let key = (pool.name().clone(), index);
                // What is not known yet is not waited for.
                let is_unknown = pool.servers().get(index).is_none_or(|(_, known)| !known);
                let is_new = !due.contains_key(&key);
                if is_new || due.get(&key).is_some_and(|at| *at <= Instant::now()) {
                    let dns = pool.settings().dns;
                    let wait = if is_unknown { dns.refresh.min(UNKNOWN) } else { dns.refresh };
                    due.insert(key, Instant::now() + wait);
                    lookups.spawn(learn(Arc::clone(pool), index, host.to_owned(), lookup(host.to_owned(), port), now));
                }
            }
        }
        let mut has_changed = false;
        while let Some(learnt) = lookups.join_next().await {
            has_changed |= learnt.unwrap_or_default();
        }
        pools.looked_up.store(true, Ordering::Release);
        if has_changed {
            pools.changes.send_modify(|generation| *generation += 1);
            changes.mark_unchanged();
        }
        let next = due.values().min().copied().unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            _ = changes.changed() => due.retain(|key, _| is_known(pools, key)),
        }
    }
}

/// A name that never resolved is asked for more often: nobody can be served before.
const UNKNOWN: Duration = Duration::from_secs(2);

/// Whether a name need not be looked up at once after a change.
fn is_known(pools: &Pools, (name, index): &(Name, usize)) -> bool {
    pools.all().get(name).is_some_and(|pool| pool.servers().get(*index).is_some_and(|(_, known)| *known))
}

async fn learn<F>(pool: Arc<Pool>, index: usize, host: String, lookup: F, now: fn() -> Duration) -> bool
where
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    let upstream = pool.name();
    match timeout(pool.settings().dns.timeout, lookup).await {
        Ok(Ok(addresses)) if addresses.is_empty() => {
            tracing::warn!(%upstream, host, "a server's name has no address");
            false
        }
        Ok(Ok(addresses)) => pool.learn(index, addresses, now()),
        Ok(Err(error)) => {
            tracing::warn!(%upstream, host, %error, "a server's name does not resolve");
            false
        }
        Err(_) => {
            tracing::warn!(%upstream, host, "a server's name did not resolve in time");
            false
        }
    }
}

#[cfg(test)]
mod tests;
