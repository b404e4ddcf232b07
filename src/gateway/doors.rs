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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::{Protocols, ProxyProtocol};

    #[test]
    fn a_connection_finds_the_listener_it_came_in_by() {
        let metrics = Metrics::new().unwrap();
        let listener = |address: &str| Listener {
            address: address.parse().unwrap(),
            protocols: Protocols { http1: true, http2: false },
            tls: None,
            hsts: None,
            redirect_to_https: None,
            proxy_protocol: ProxyProtocol::Off,
        };
        let all = ["127.0.0.1:80", "0.0.0.0:80", "0.0.0.0:81", "[::]:82", "[::1]:81"].map(listener);
        let doors = Doors::compile(&all, None, &metrics).unwrap();
        let found = |doors: &Doors, local: &str| doors.find(local.parse().unwrap()).map(|d| d.listener.address.to_string());
        for (local, expected) in [
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("192.0.2.1:80", Some("0.0.0.0:80")),
            ("127.0.0.1:81", Some("0.0.0.0:81")),
            ("[::1]:81", Some("[::1]:81")),
            ("[2001:db8::1]:82", Some("[::]:82")),
            ("192.0.2.1:82", Some("[::]:82")),
            ("[::ffff:192.0.2.1]:82", Some("[::]:82")),
            ("[::ffff:127.0.0.1]:80", Some("127.0.0.1:80")),
            ("[2001:db8::1]:80", None),
            ("127.0.0.1:83", None),
        ] {
            assert_eq!(found(&doors, local).as_deref(), expected, "{local}");
        }
        let later = Doors::compile(&[listener("127.0.0.1:90"), listener("127.0.0.1:80")], Some(&doors), &metrics).unwrap();
        assert!(Arc::ptr_eq(&later.0[1], &doors.0[0]), "what did not change stays");
        assert_eq!(found(&later, "[::1]:81").as_deref(), Some("[::1]:81"), "its socket is open until a restart");
    }
}
