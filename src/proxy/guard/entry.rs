use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::ConnectionFilter;

use super::census::{Place, Seat};
use super::{Guard, Line, is_in, is_welcome};
use crate::metrics::Refused;

/// A connection that was let in, and is counted until this is dropped: however it ends.
#[derive(Debug)]
pub(in crate::proxy) struct Entry {
    pub(super) guard: Arc<Guard>,
    _seat: Seat,
    _place: Option<Place>,
}

impl Guard {
    /// For pingora's accept: the cheapest place to refuse, a task and a TLS handshake before any other.
    pub(in crate::proxy) fn filter(self: &Arc<Self>) -> Arc<dyn ConnectionFilter> {
        Arc::new(Filter(Arc::clone(self)))
    }

    /// Lets a connection in if there is room. First of all, because a handshake with nobody costs as much as one with somebody.
    pub(in crate::proxy) fn enter(self: &Arc<Self>) -> Option<Entry> {
        let max = self.gateway.snapshot().config.limits.connections;
        match self.census.seat(max) {
            Some(seat) => {
                self.protection().opened();
                Some(Entry { guard: Arc::clone(self), _seat: seat, _place: None })
            }
            None => self.refuse(Refused::Total),
        }
    }

    fn refuse<T>(&self, reason: Refused) -> Option<T> {
        self.protection().refused(reason);
        None
    }
}

impl Entry {
    /// Counts the connection for its client, now that it is known who that is. `None` stands for a trusted proxy that does not say: many
    /// clients share its connections, and none of them may use up what the others need.
    pub(in crate::proxy) fn claim(mut self, client: Option<IpAddr>) -> Option<Arc<Line>> {
        let guard = Arc::clone(&self.guard);
        if let Some(client) = client.map(|ip| ip.to_canonical()) {
            let snapshot = guard.gateway.snapshot();
            let limits = &snapshot.config.limits;
            if !is_welcome(limits, client) {
                return guard.refuse(Refused::Denied);
            }
            match guard.census.place(client, limits.connections_per_ip) {
                Some(place) => self._place = Some(place),
                None => return guard.refuse(Refused::PerIp),
            }
        }
        Some(Arc::new(Line::new(self, guard.worker())))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.guard.protection().closed();
    }
}

#[derive(Debug)]
struct Filter(Arc<Guard>);

#[async_trait]
impl ConnectionFilter for Filter {
    async fn should_accept(&self, peer: Option<&SocketAddr>) -> bool {
        let snapshot = self.0.gateway.snapshot();
        let limits = &snapshot.config.limits;
        // `allow_ips` is about clients, and the peer may be a proxy that speaks for one: it is looked at when that is known.
        if peer.is_some_and(|peer| is_in(&limits.deny_ips, peer.ip().to_canonical())) {
            return self.0.refuse::<()>(Refused::Denied).is_some();
        }
        if self.0.census.total() >= limits.connections {
            return self.0.refuse::<()>(Refused::Total).is_some();
        }
        true
    }
}
