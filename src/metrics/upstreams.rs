use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::Metrics;
use crate::model::{Name, UpstreamFault};

/// What is counted for one upstream.
#[derive(Debug)]
pub struct UpstreamHandles {
    name: Name,
    /// By code, from 100 to 599.
    answers: Box<[OnceLock<IntCounter>]>,
    seconds: Histogram,
    errors: [IntCounter; 5],
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
