use std::time::Duration;

use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::Metrics;
use crate::model::settings::Listener;
use crate::tls::HandshakeFault;

/// What is counted of connections, by the address of their listener.
#[derive(Debug)]
pub(super) struct ListenerSeries {
    pub(super) connections: IntCounterVec,
    pub(super) handshakes: IntCounterVec,
    pub(super) handshake_seconds: HistogramVec,
    pub(super) certificate_expiry: GaugeVec,
    pub(super) proxy_headers: IntCounterVec,
}

/// What is counted at one listener.
#[derive(Debug)]
pub struct ListenerHandles {
    connections: IntCounter,
    tls: Option<TlsHandles>,
    /// Refused for their PROXY protocol header.
    proxy_headers: Option<IntCounter>,
}

#[derive(Debug)]
struct TlsHandles {
    worked: IntCounter,
    failed: [IntCounter; HandshakeFault::ALL.len()],
    seconds: Histogram,
}

impl Metrics {
    /// The handles of one listener.
    pub fn listener(&self, listener: &Listener) -> ListenerHandles {
        let address = listener.address.to_string();
        let series = &self.listeners;
        let handshakes = |result: &str| series.handshakes.with_label_values(&[&*address, result]);
        ListenerHandles {
            connections: series.connections.with_label_values(&[&*address]),
            tls: listener.tls.as_ref().map(|_| TlsHandles {
                worked: handshakes("ok"),
                failed: HandshakeFault::ALL.map(|fault| handshakes(fault.label())),
                seconds: series.handshake_seconds.with_label_values(&[&*address]),
            }),
            proxy_headers: (listener.proxy_protocol != crate::model::settings::ProxyProtocol::Off)
                .then(|| series.proxy_headers.with_label_values(&[&*address])),
        }
    }

    /// The certificates in use, and only those.
    pub fn certificates<'l>(&self, listeners: impl Iterator<Item = &'l Listener>) {
        self.listeners.certificate_expiry.reset();
        for listener in listeners {
            for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
                let labels = [&*listener.address.to_string(), certificate.label()];
                self.listeners.certificate_expiry.with_label_values(&labels).set(certificate.not_after.as_secs_f64());
            }
        }
    }
}

impl ListenerHandles {
    /// A connection came.
    pub fn connected(&self) {
        self.connections.inc();
    }

    /// A handshake took this long and ended like this.
    pub fn shook_hands(&self, result: Result<(), HandshakeFault>, took: Duration) {
        let Some(tls) = &self.tls else { return };
        match result {
            Ok(()) => {
                tls.worked.inc();
                tls.seconds.observe(took.as_secs_f64());
            }
            Err(fault) => {
                if let Some(counter) = tls.failed.get(fault as usize) {
                    counter.inc();
                }
            }
        }
    }

    /// A connection did not begin with the header that it must begin with.
    pub fn introduced_badly(&self) {
        if let Some(counter) = &self.proxy_headers {
            counter.inc();
        }
    }
}
