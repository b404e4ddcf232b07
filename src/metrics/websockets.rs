use prometheus::{IntCounter, IntGauge};

use super::Metrics;
use crate::model::Name;

/// What is counted of the WebSockets of one route.
#[derive(Clone, Debug)]
pub struct WebsocketHandles {
    open: IntGauge,
    closed: [IntCounter; 6],
}

/// Why a WebSocket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebsocketEnd {
    /// The client or the server ended it.
    Closed,
    /// Its token expired.
    Expired,
    /// It was older than `server.websocket_max_age`.
    MaxAge,
    /// Nobody said anything for `server.websocket_idle`.
    Idle,
    /// The gateway stops.
    Stopping,
    /// Its token was taken back.
    Revoked,
}

impl WebsocketEnd {
    /// Every end, in the order of their numbers.
    const ALL: [(Self, &'static str); 6] = [
        (Self::Closed, "closed"),
        (Self::Expired, "expired"),
        (Self::MaxAge, "max_age"),
        (Self::Idle, "idle"),
        (Self::Stopping, "stopping"),
        (Self::Revoked, "revoked"),
    ];
}

impl Metrics {
    /// The handles of one route.
    pub(super) fn websockets_of(&self, route: &Name) -> WebsocketHandles {
        WebsocketHandles {
            open: self.websockets.with_label_values(&[&**route]),
            closed: WebsocketEnd::ALL.map(|(_, label)| self.websockets_closed.with_label_values(&[&**route, label])),
        }
    }
}

impl WebsocketHandles {
    /// A server agreed to one.
    pub fn opened(&self) {
        self.open.inc();
    }

    /// One is over.
    pub fn closed(&self, end: WebsocketEnd) {
        self.open.dec();
        if let Some(counter) = self.closed.get(end as usize) {
            counter.inc();
        }
    }
}
