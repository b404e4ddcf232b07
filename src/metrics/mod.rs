//! Every metric, declared once, as typed handles: nobody else spells a metric's name or a label.
//!
//! Handles are looked up when a configuration is loaded; a request only increments. Names and labels are listed in
//! `docs/metrics.md`, and a test compares that page with what a running gateway exposes.

mod listeners;
mod login;
mod meters;
mod mirrors;
mod protection;
mod registry;
mod requests;
mod revocations;
mod rules;
mod shared;
mod upstreams;
mod websockets;

pub use listeners::ListenerHandles;
pub use login::{LoginCounters, LoginResult, RefreshResult, SessionResult};
pub use meters::MeterHandles;
pub use mirrors::{MirrorHandles, Mirrored};
pub use protection::{Protection, Refused, Shed};
pub use registry::{Metrics, Observed};
pub use requests::RouteHandles;
pub use revocations::RevocationsObserved;
pub use rules::RuleHandles;
pub use shared::RedisObserved;
pub use upstreams::{ServerObserved, UpstreamHandles, UpstreamObserved};
pub use websockets::{WebsocketEnd, WebsocketHandles};

/// What an edge spans: from a fast local answer to a slow report.
const REQUEST_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What the gateway itself takes: microseconds.
const OWN_SECONDS: &[f64] =
    &[0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01];
