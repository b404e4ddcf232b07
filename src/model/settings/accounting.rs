use std::path::PathBuf;
use std::time::Duration;

use crate::model::Name;

/// `throttling:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttling {
    /// Buckets in memory; beyond it new keys share one bucket per rule.
    pub max_keys: usize,
}

/// `billing:`
#[derive(Clone, Debug, PartialEq)]
pub struct Billing {
    /// The SQLite file; `None` when there is no `billing:` section.
    pub ledger: Option<PathBuf>,
    /// How long a settled line may wait for its commit.
    pub commit_every: Duration,
    /// What happens when usage cannot be written down.
    pub on_full: OnFull,
    /// In the order of the file.
    pub meters: Vec<Meter>,
}

/// `billing.on_full`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Requests get 503.
    Reject,
    /// Requests pass, unbilled and counted.
    Unbilled,
}

/// One entry of `billing.meters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// What `meter()` calls it; `[a-z][a-z0-9_]*`.
    pub name: Name,
    /// For reports and metrics.
    pub help: String,
    /// For reports.
    pub unit: Option<String>,
    /// Sorted.
    pub dimensions: Vec<Name>,
}
