use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::{IntCounter, IntCounterVec, Opts};
use quick_cache::sync::Cache;

use super::Metrics;
use crate::model::settings::Meter;
use crate::model::{Dimensions, Name};

/// One meter as a counter: a view of billing for graphs and alerts, never its source.
///
/// The values of dimensions come from rules and so from requests; beyond `max_series` they are folded into `_other`.
pub struct MeterHandles {
    name: Name,
    dimensions: Vec<Name>,
    counters: IntCounterVec,
    known: Cache<Dimensions, IntCounter>,
    series: AtomicUsize,
    max_series: usize,
    overflow: IntCounter,
}

impl Metrics {
    /// Declares `tollgate_meter_<name>_total`, or takes up the one that an earlier configuration declared alike.
    ///
    /// # Errors
    /// When the name is in use with other dimensions; the registry cannot change a metric's labels.
    pub fn meter(
        &self,
        meter: &Meter,
        max_series: usize,
        earlier: Option<&MeterHandles>,
    ) -> Result<MeterHandles, prometheus::Error> {
        let metric = format!("tollgate_meter_{}_total", meter.name);
        let labels: Vec<&str> = meter.dimensions.iter().map(|name| &**name).collect();
        let help = if meter.help.is_empty() { "A billing meter." } else { meter.help.as_str() };
        let counters = match earlier {
            Some(earlier) if earlier.dimensions == meter.dimensions => earlier.counters.clone(),
            earlier => {
                if let Some(earlier) = earlier {
                    self.registry().unregister(Box::new(earlier.counters.clone()))?;
                }
                let counters = IntCounterVec::new(Opts::new(&metric, help), &labels)?;
                self.registry().register(Box::new(counters.clone()))?;
                counters
            }
        };
        Ok(MeterHandles {
            name: meter.name.clone(),
            dimensions: meter.dimensions.clone(),
            counters,
            known: Cache::new(max_series.saturating_mul(2).max(16)),
            series: AtomicUsize::new(0),
            max_series,
            overflow: self.overflow.with_label_values(&[&metric]),
        })
    }

    /// Drops the metrics of meters that no longer exist.
    pub fn forget_meter(&self, gone: &MeterHandles) {
        let _ = self.registry().unregister(Box::new(gone.counters.clone()));
    }
}

impl MeterHandles {
    /// The meter.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Adds units.
    pub fn add(&self, dimensions: &Dimensions, quantity: u64) {
        if let Some(counter) = self.known.get(dimensions) {
            counter.inc_by(quantity);
            return;
        }
        if self.series.fetch_add(1, Ordering::Relaxed) >= self.max_series {
            self.series.fetch_sub(1, Ordering::Relaxed);
            self.overflow.inc();
            let folded: Vec<&str> = self.dimensions.iter().map(|_| "_other").collect();
            self.counters.with_label_values(&folded).inc_by(quantity);
            return;
        }
        let values: Vec<&str> = self.dimensions.iter().map(|name| dimensions.get(name).unwrap_or_default()).collect();
        let counter = self.counters.with_label_values(&values);
        counter.inc_by(quantity);
        self.known.insert(dimensions.clone(), counter);
    }
}

impl std::fmt::Debug for MeterHandles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeterHandles").field("name", &self.name).finish_non_exhaustive()
    }
}
