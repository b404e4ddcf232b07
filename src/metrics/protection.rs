use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::registry::Declare;

/// What is counted about connections and about what was refused before it was looked at.
#[derive(Debug)]
pub struct Protection {
    open: IntGauge,
    refused: [IntCounter; 3],
    cut: IntCounterVec,
    shed: [IntCounter; 2],
}

/// Why a connection was not let in: the `reason` label of `tollgate_connections_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `limits.connections`.
    Total,
    /// `limits.connections_per_ip`.
    PerIp,
    /// `limits.deny_ips`, `limits.allow_ips`.
    Denied,
}

/// Why a request was not looked at: the `reason` label of `tollgate_requests_shed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// `limits.requests`.
    Requests,
    /// `limits.queue_delay`.
    QueueDelay,
}

impl Refused {
    const LABELS: [&'static str; 3] = ["total", "per_ip", "denied"];
}

impl Shed {
    const LABELS: [&'static str; 2] = ["requests", "queue_delay"];
}

impl Protection {
    pub(super) fn declare(declare: &Declare<'_>) -> Result<Self, prometheus::Error> {
        let refused = declare.counters("connections_refused_total", "Connections that were not let in.", &["reason"])?;
        let shed = declare.counters("requests_shed_total", "Requests answered 503 before they were looked at.", &["reason"])?;
        Ok(Self {
            open: declare.gauge("connections", "Open connections of clients.")?,
            refused: Refused::LABELS.map(|label| refused.with_label_values(&[label])),
            cut: declare.counters(
                "connections_cut_total",
                "Connections that were ended for what came over them.",
                &["reason"],
            )?,
            shed: Shed::LABELS.map(|label| shed.with_label_values(&[label])),
        })
    }

    /// Makes the series of reasons to cut, so that they exist before the first one happens.
    pub fn expect_cuts<'a>(&self, reasons: impl IntoIterator<Item = &'a str>) {
        for reason in reasons {
            self.cut.with_label_values(&[reason]);
        }
    }

    /// A connection was let in.
    pub fn opened(&self) {
        self.open.inc();
    }

    /// It has ended.
    pub fn closed(&self) {
        self.open.dec();
    }

    /// Connections that are open.
    pub fn connections(&self) -> u64 {
        u64::try_from(self.open.get()).unwrap_or(0)
    }

    /// A connection was not let in.
    pub fn refused(&self, reason: Refused) {
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.inc();
        }
    }

    /// A connection was ended.
    pub fn cut(&self, reason: &str) {
        self.cut.with_label_values(&[reason]).inc();
    }

    /// A request was shed.
    pub fn shed(&self, reason: Shed) {
        if let Some(counter) = self.shed.get(reason as usize) {
            counter.inc();
        }
    }

    /// Totals for `/status`: connections refused, connections cut, requests shed.
    pub fn totals(&self) -> [u64; 3] {
        let sum = |counters: &[IntCounter]| counters.iter().map(IntCounter::get).sum();
        let cut = prometheus::core::Collector::collect(&self.cut);
        let cut = cut.iter().flat_map(|family| family.get_metric()).map(|metric| metric.get_counter().get_value());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of integers")]
        let cut = cut.sum::<f64>() as u64;
        [sum(&self.refused), cut, sum(&self.shed)]
    }
}
