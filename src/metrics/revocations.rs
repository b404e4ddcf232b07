use prometheus::{IntCounterVec, IntGauge};

use super::registry::{Declare, catch_up, signed};

/// What is known of revocations, for one scrape.
#[derive(Clone, Debug, Default)]
pub struct RevocationsObserved {
    /// Entries.
    pub entries: u64,
    /// Source, kind, and how many were news.
    pub revocations: Vec<(&'static str, &'static str, u64)>,
    /// What came by webhook, by what became of it.
    pub events: Vec<(&'static str, u64)>,
}

#[derive(Debug)]
pub(super) struct RevocationSeries {
    entries: IntGauge,
    revocations: IntCounterVec,
    events: IntCounterVec,
}

impl RevocationSeries {
    pub(super) fn declare(declare: &Declare<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            entries: declare.gauge("revoked_entries", "Revocations that can still hit a token.")?,
            revocations: declare.counters("revocations_total", "Revocations that were news.", &["source", "kind"])?,
            events: declare.counters("webhook_events_total", "Requests to the webhook receiver.", &["result"])?,
        })
    }

    pub(super) fn set(&self, now: &RevocationsObserved) {
        self.entries.set(signed(now.entries));
        for (source, kind, count) in &now.revocations {
            catch_up(&self.revocations.with_label_values(&[source, kind]), *count);
        }
        for (result, count) in &now.events {
            catch_up(&self.events.with_label_values(&[result]), *count);
        }
    }
}
