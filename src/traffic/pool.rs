use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::model::Name;
use crate::model::settings::{Server, Timeouts, Upstream};

/// The servers of one upstream, taken in turn.
///
/// Outlives a reload as long as its settings stay the same, so that the turn and the resolved addresses are kept.
#[derive(Debug)]
pub struct Pool {
    settings: Upstream,
    addresses: Vec<ArcSwap<Vec<SocketAddr>>>,
    turn: AtomicUsize,
}

/// The server whose turn it is.
#[derive(Clone, Debug)]
pub struct Pick {
    /// Where to connect.
    pub address: SocketAddr,
    /// `host:port` as configured, for logs.
    pub authority: Name,
    /// Position in the configuration.
    pub index: usize,
}

/// The servers of a pool that one request has already tried, as a bit set: more than 64 are counted as tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried(u64);

impl Tried {
    fn has(self, index: usize) -> bool {
        index >= 64 || self.0 & (1 << index) != 0
    }

    /// The failure was not the server's.
    pub fn forgive(&mut self, index: usize) {
        if index < 64 {
            self.0 &= !(1 << index);
        }
    }

    fn add(&mut self, index: usize) {
        if index < 64 {
            self.0 |= 1 << index;
        }
    }
}

impl Pool {
    /// A pool whose servers are known by address where the configuration gives one; names wait for [`Pool::learn`].
    pub fn new(settings: Upstream) -> Self {
        let literal = |server: &Server| {
            let known = server.host.parse().map(|ip| vec![SocketAddr::new(ip, server.port)]).unwrap_or_default();
            ArcSwap::from_pointee(known)
        };
        let addresses = settings.servers.iter().map(literal).collect();
        Self { settings, addresses, turn: AtomicUsize::new(0) }
    }

    /// What the operator configured.
    pub fn settings(&self) -> &Upstream {
        &self.settings
    }

    /// The upstream's name.
    pub fn name(&self) -> &Name {
        &self.settings.name
    }

    /// Time limits for its servers.
    pub fn timeouts(&self) -> &Timeouts {
        &self.settings.timeouts
    }

    /// The next server that was not `tried`, round robin; it counts as tried from now on.
    pub fn pick(&self, tried: &mut Tried) -> Option<Pick> {
        let servers = &self.settings.servers;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for step in 0..servers.len() {
            let index = turn.wrapping_add(step) % servers.len();
            if tried.has(index) {
                continue;
            }
            tried.add(index);
            let (Some(server), Some(addresses)) = (servers.get(index), self.addresses.get(index)) else { continue };
            let addresses = addresses.load();
            // A name with several addresses is one server; its addresses take turns too.
            if let Some(address) = addresses.get((turn / servers.len()) % addresses.len().max(1)) {
                return Some(Pick { address: *address, authority: server.authority.clone(), index });
            }
        }
        None
    }

    /// Whether another server is left for this request.
    pub fn has_untried(&self, tried: Tried) -> bool {
        (0..self.settings.servers.len()).any(|index| !tried.has(index))
    }

    /// Takes over what a name resolved to; an empty answer keeps the last good one.
    pub fn learn(&self, index: usize, addresses: Vec<SocketAddr>) {
        if let Some(slot) = self.addresses.get(index)
            && !addresses.is_empty()
            && **slot.load() != addresses
        {
            slot.store(Arc::new(addresses));
        }
    }

    /// Servers that need resolving: index, host, port.
    pub fn named_servers(&self) -> impl Iterator<Item = (usize, &str, u16)> {
        let servers = self.settings.servers.iter().enumerate();
        servers.filter(|(_, s)| s.host.parse::<std::net::IpAddr>().is_err()).map(|(i, s)| (i, s.host.as_str(), s.port))
    }

    /// Servers and whether an address is known for them.
    pub fn servers(&self) -> impl Iterator<Item = (&Server, bool)> {
        self.settings.servers.iter().zip(&self.addresses).map(|(server, known)| (server, !known.load().is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pool(servers: usize) -> Pool {
        let second = Duration::from_secs(1);
        let server = |i| Server { authority: format!("10.0.0.{i}:80").into(), host: format!("10.0.0.{i}"), port: 80 };
        Pool::new(Upstream {
            name: "test".into(),
            servers: (0..servers).map(server).collect(),
            timeouts: Timeouts { connect: second, read: second, write: second, idle: second },
            retries: 1,
        })
    }

    #[test]
    fn servers_take_turns() {
        let pool = pool(3);
        let picks: Vec<_> = (0..6).map(|_| pool.pick(&mut Tried::default()).unwrap().index).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_tried_server_is_not_picked_again() {
        let pool = pool(3);
        let mut tried = Tried::default();
        let mut picks: Vec<_> = (0..3).map(|_| pool.pick(&mut tried).unwrap().index).collect();
        picks.sort_unstable();
        assert_eq!(picks, [0, 1, 2]);
        assert!(pool.pick(&mut tried).is_none());
        assert!(!pool.has_untried(tried));
    }

    #[test]
    fn a_name_waits_for_its_address_and_keeps_the_last_good_one() {
        let mut settings = pool(1).settings().clone();
        settings.servers = vec![Server { authority: "api:80".into(), host: "api".into(), port: 80 }];
        let pool = Pool::new(settings);
        assert!(pool.pick(&mut Tried::default()).is_none());
        pool.learn(0, vec!["10.1.1.1:80".parse().unwrap()]);
        pool.learn(0, Vec::new());
        assert_eq!(pool.pick(&mut Tried::default()).unwrap().address, "10.1.1.1:80".parse().unwrap());
    }
}
