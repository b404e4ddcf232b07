use std::net::SocketAddr;
use std::sync::Arc;

use crate::metrics::{ListenerHandles, Metrics};
use crate::model::Problem;
use crate::model::settings::Listener;
use crate::tls::Acceptor;

/// The listeners of one configuration, ready for connections.
#[derive(Debug, Default)]
pub struct Doors(Vec<Arc<Doorway>>);

/// One listener: what was asked for, what does the handshakes, what is counted.
#[derive(Debug)]
pub struct Doorway {
    /// As configured.
    pub listener: Listener,
    /// Only with TLS.
    pub acceptor: Option<Acceptor>,
    /// What is counted here.
    pub handles: ListenerHandles,
}

impl Doors {
    /// Compiles the listeners. What did not change is taken over, with the keys of its session tickets; and what is not configured any
    /// more stays as it was, because its socket stays open until a restart.
    pub(super) fn compile(listeners: &[Listener], before: Option<&Self>, metrics: &Metrics) -> Result<Self, Problem> {
        let old = before.map(|doors| doors.0.as_slice()).unwrap_or_default();
        let mut doors = Vec::with_capacity(listeners.len());
        for listener in listeners {
            if let Some(same) = old.iter().find(|doorway| doorway.listener == *listener) {
                doors.push(Arc::clone(same));
                continue;
            }
            let acceptor = listener.tls.as_ref().map(|tls| Acceptor::new(tls, listener.protocols)).transpose();
            let acceptor = acceptor.map_err(|fault| {
                Problem::error("config::tls", format!("the TLS settings of {} cannot be used: {fault}", listener.address))
            })?;
            doors.push(Arc::new(Doorway { listener: listener.clone(), acceptor, handles: metrics.listener(listener) }));
        }
        let is_gone = |doorway: &&Arc<Doorway>| !listeners.iter().any(|listener| listener.address == doorway.listener.address);
        doors.extend(old.iter().filter(is_gone).cloned());
        metrics.certificates(doors.iter().map(|doorway| &doorway.listener));
        Ok(Self(doors))
    }

    /// The listener that a connection came in by, by the connection's own address: the same one, else the wildcard of its port.
    pub fn find(&self, local: SocketAddr) -> Option<&Arc<Doorway>> {
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let is_same = |doorway: &&Arc<Doorway>| doorway.listener.address == local;
        let is_wildcard = |doorway: &&Arc<Doorway>| {
            let bound = doorway.listener.address;
            bound.ip().is_unspecified() && bound.port() == local.port() && (bound.is_ipv6() || local.is_ipv4())
        };
        // Port 0 let the system choose, so nothing better is known of it.
        let is_any_port = |doorway: &&Arc<Doorway>| doorway.listener.address.port() == 0;
        self.0.iter().find(is_same).or_else(|| self.0.iter().find(is_wildcard)).or_else(|| self.0.iter().find(is_any_port))
    }
}
