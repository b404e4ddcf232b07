use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGaugeVec};

use super::Metrics;
use super::registry::{Declare, catch_up, signed};
use crate::model::{Name, UpstreamFault};

/// What is counted for one upstream.
#[derive(Debug)]
pub struct UpstreamHandles {
    name: Name,
    /// By code, from 100 to 599.
    answers: Box<[OnceLock<IntCounter>]>,
    seconds: Histogram,
    errors: [IntCounter; 6],
    retries: IntCounter,
}

impl Metrics {
    /// The handles of one upstream.
    pub fn upstream(&self, name: &Name) -> UpstreamHandles {
        UpstreamHandles {
            name: name.clone(),
            answers: (0..500).map(|_| OnceLock::new()).collect(),
            seconds: self.upstream_seconds.with_label_values(&[&**name]),
            errors: UpstreamFault::ALL.map(|fault| self.upstream_errors.with_label_values(&[&**name, fault.label()])),
            retries: self.upstream_retries.with_label_values(&[&**name]),
        }
    }

    /// An upstream sent the head of an answer.
    pub fn answered(&self, handles: &UpstreamHandles, code: u16, took: Duration) {
        if let Some(slot) = usize::from(code).checked_sub(100).and_then(|slot| handles.answers.get(slot)) {
            slot.get_or_init(|| self.upstream_requests.with_label_values(&[&*handles.name, &code.to_string()])).inc();
        }
        handles.seconds.observe(took.as_secs_f64());
    }
}

impl UpstreamHandles {
    /// An attempt failed.
    pub fn failed(&self, fault: UpstreamFault) {
        if let Some(counter) = self.errors.get(fault as usize) {
            counter.inc();
        }
    }

    /// Another attempt is made.
    pub fn retried(&self) {
        self.retries.inc();
    }
}

/// One upstream as it is when somebody asks.
#[derive(Clone, Debug)]
pub struct UpstreamObserved {
    /// Its name.
    pub upstream: Name,
    /// Probes that failed.
    pub checks_failed: u64,
    /// Probes that were fine.
    pub checks_fine: u64,
    /// Retries for which the budget had no room.
    pub retries_refused: u64,
    /// Its servers by address.
    pub servers: Vec<ServerObserved>,
}

/// One server as it is when somebody asks.
#[derive(Clone, Debug)]
pub struct ServerObserved {
    /// Its address.
    pub server: Name,
    /// Whether it gets requests.
    pub is_up: bool,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests sent.
    pub requests: u64,
    /// How often it was ejected.
    pub ejections: u64,
}

/// The series of servers: kept by the servers themselves, which come and go with the names' addresses.
#[derive(Debug)]
pub(super) struct UpstreamGauges {
    healthy: IntGaugeVec,
    in_flight: IntGaugeVec,
    requests: IntCounterVec,
    ejections: IntCounterVec,
    checks: IntCounterVec,
    retries_refused: IntCounterVec,
}

impl UpstreamGauges {
    pub(super) fn declare(declare: &Declare<'_>) -> Result<Self, prometheus::Error> {
        const SERVER: &[&str] = &["upstream", "server"];
        Ok(Self {
            healthy: declare.gauges("upstream_healthy", "Whether a server gets requests.", SERVER)?,
            in_flight: declare.gauges("upstream_requests_in_flight", "Requests under way on a server.", SERVER)?,
            requests: declare.counters("upstream_server_requests_total", "Attempts sent to a server.", SERVER)?,
            ejections: declare.counters("upstream_ejections_total", "How often failures took a server out.", SERVER)?,
            checks: declare.counters("upstream_health_checks_total", "Probes of servers.", &["upstream", "result"])?,
            retries_refused: declare.counters(
                "upstream_retry_budget_exhausted_total",
                "Retries for which the budget had no room.",
                &["upstream"],
            )?,
        })
    }

    pub(super) fn set(&self, upstreams: &[UpstreamObserved]) {
        // A server that is gone takes its series along; the others' counters come back as they were, from the servers.
        self.healthy.reset();
        self.in_flight.reset();
        self.requests.reset();
        self.ejections.reset();
        for upstream in upstreams {
            let name = &upstream.upstream;
            catch_up(&self.checks.with_label_values(&[name, "success"]), upstream.checks_fine);
            catch_up(&self.checks.with_label_values(&[name, "failure"]), upstream.checks_failed);
            catch_up(&self.retries_refused.with_label_values(&[name]), upstream.retries_refused);
            for server in &upstream.servers {
                let labels: &[&str] = &[name, &server.server];
                self.healthy.with_label_values(labels).set(i64::from(server.is_up));
                self.in_flight.with_label_values(labels).set(signed(server.in_flight));
                catch_up(&self.requests.with_label_values(labels), server.requests);
                catch_up(&self.ejections.with_label_values(labels), server.ejections);
            }
        }
    }
}
