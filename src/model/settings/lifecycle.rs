use std::path::PathBuf;
use std::time::Duration;

/// `server:`, as far as it says how connections and the process end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// After SIGTERM the listeners stay open this long, so that load balancers see the failing `/readyz` first. Part of the grace.
    pub drain_wait: Duration,
    /// Where a successor asks for the listening sockets; `None`: no binary upgrade.
    pub upgrade_socket: Option<PathBuf>,
    /// No WebSocket lives longer.
    pub websocket_max_age: Duration,
    /// A WebSocket on which neither side says anything is closed after this long.
    pub websocket_idle: Duration,
}

impl Lifecycle {
    /// What holds when nothing is said.
    pub fn within(grace: Duration) -> Self {
        Self {
            drain_wait: Duration::from_secs(5).min(grace / 2),
            upgrade_socket: None,
            websocket_max_age: Duration::from_secs(86_400),
            websocket_idle: Duration::from_secs(3_600),
        }
    }
}
