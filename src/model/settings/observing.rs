use std::path::PathBuf;

use super::Secret;

/// `access_log:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where the lines go.
    pub output: LogOutput,
    /// Members that are left out.
    pub omit: Vec<String>,
}

/// `access_log.output`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// The standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
    /// Nowhere.
    None,
}

/// `tracing:`
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// The collector's URL for traces; `None`: traces are passed on and logged, but not exported.
    pub otlp: Option<String>,
    /// The value of `Authorization` towards the collector.
    pub authorization: Option<Secret>,
    /// The share of traces begun here that is exported, 0 to 1.
    pub sample: f64,
    /// Whether a client's trace is continued, and its word on sampling followed.
    pub trust_incoming: bool,
    /// What the collector calls this gateway.
    pub service_name: String,
}
