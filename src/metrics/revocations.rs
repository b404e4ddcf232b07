use prometheus::{Gauge, IntCounterVec, IntGauge};

use super::registry::{Declare, catch_up, signed};

/// What is known of revocations, for one scrape.
#[derive(Clone, Debug, Default)]
pub struct RevocationsObserved {
    /// Entries.
    pub entries: u64,
    /// Source, kind, and how many were news.
    pub revocations: Vec<(&'static str, &'static str, u64)>,
    /// What is heard from other gateways, if there is something to hear: 1 while all is known, seconds since something was heard,
    /// revocations received and sent.
    pub feed: Option<(u64, f64, u64, u64)>,
    /// What came by webhook, by what became of it.
    pub events: Vec<(&'static str, u64)>,
}

#[derive(Debug)]
pub(super) struct RevocationSeries {
    entries: IntGauge,
    revocations: IntCounterVec,
    events: IntCounterVec,
    feed_up: IntGauge,
    feed_age: Gauge,
    feed_entries: IntCounterVec,
}

impl RevocationSeries {
    pub(super) fn declare(declare: &Declare<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            entries: declare.gauge("revoked_entries", "Revocations that can still hit a token.")?,
            revocations: declare.counters("revocations_total", "Revocations that were news.", &["source", "kind"])?,
            feed_up: declare.gauge("revocation_feed_up", "Whether the revocations of other gateways are known.")?,
            feed_age: declare.float("revocation_feed_age_seconds", "Since other gateways were heard the last time.")?,
            feed_entries: declare.counters(
                "revocation_feed_entries_total",
                "Revocations that came from other gateways, and that they got from here.",
                &["direction"],
            )?,
            events: declare.counters("webhook_events_total", "Requests to the webhook receiver.", &["result"])?,
        })
    }

    pub(super) fn set(&self, now: &RevocationsObserved) {
        self.entries.set(signed(now.entries));
        for (source, kind, count) in &now.revocations {
            catch_up(&self.revocations.with_label_values(&[source, kind]), *count);
        }
        let (up, age, received, sent) = now.feed.unwrap_or_default();
        self.feed_up.set(signed(up));
        self.feed_age.set(age);
        for (direction, count) in [("received", received), ("sent", sent)] {
            catch_up(&self.feed_entries.with_label_values(&[direction]), count);
        }
        for (result, count) in &now.events {
            catch_up(&self.events.with_label_values(&[result]), *count);
        }
    }
}
