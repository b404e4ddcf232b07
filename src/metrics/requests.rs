use std::sync::OnceLock;
use std::time::Duration;

use http::Method;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::{Metrics, WebsocketHandles};
use crate::model::{Name, OutcomeKind};

/// What is counted per request, for one route.
#[derive(Debug)]
pub struct RouteHandles {
    route: Name,
    /// One slot per outcome, method and code that is common. A look-up by label hashes three texts under a lock that all requests share;
    /// a slot is one load.
    requests: Box<[OnceLock<IntCounter>]>,
    seconds: Vec<Histogram>,
    in_flight: IntGauge,
    request_bytes: IntCounter,
    response_bytes: IntCounter,
    phases: [Histogram; 4],
    /// Of them, the tunnels.
    pub websockets: WebsocketHandles,
}

/// The methods that the intake lets through.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];

/// Codes with a slot of their own; others are looked up.
const CODES: [u16; 24] =
    [200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 422, 429, 499, 500, 502, 503, 504];

/// The `phase` label of `tollgate_processing_duration_seconds`.
const PHASES: [&str; 4] = ["auth", "request_rules", "limits", "response_rules"];

impl Metrics {
    /// The handles of one route; `route` is `""` for requests that match none.
    pub fn route(&self, route: &Name) -> RouteHandles {
        let slots = OutcomeKind::ALL.len() * METHODS.len() * CODES.len();
        let of_outcome = |kind: OutcomeKind| self.request_seconds.with_label_values(&[&**route, kind.label()]);
        RouteHandles {
            route: route.clone(),
            requests: (0..slots).map(|_| OnceLock::new()).collect(),
            seconds: OutcomeKind::ALL.map(of_outcome).into(),
            in_flight: self.in_flight.with_label_values(&[&**route]),
            request_bytes: self.request_bytes.with_label_values(&[&**route]),
            response_bytes: self.response_bytes.with_label_values(&[&**route]),
            websockets: self.websockets_of(route),
            phases: PHASES.map(|phase| self.processing_seconds.with_label_values(&[phase])),
        }
    }

    /// Counts the end of a request.
    pub fn ended(&self, handles: &RouteHandles, method: &Method, code: u16, kind: OutcomeKind, took: Duration) {
        match RouteHandles::slot(method, code, kind).and_then(|slot| handles.requests.get(slot)) {
            Some(slot) => slot.get_or_init(|| self.request_counter(handles, method, code, kind)).inc(),
            None => self.request_counter(handles, method, code, kind).inc(),
        }
        if let Some(histogram) = handles.seconds.get(kind as usize) {
            histogram.observe(took.as_secs_f64());
        }
    }

    fn request_counter(&self, handles: &RouteHandles, method: &Method, code: u16, kind: OutcomeKind) -> IntCounter {
        let method = if METHODS.contains(&method.as_str()) { method.as_str() } else { "_OTHER" };
        let code = if (100..600).contains(&code) { code.to_string() } else { "0".to_owned() };
        self.requests.with_label_values(&[&*handles.route, method, &code, kind.label()])
    }
}

impl RouteHandles {
    fn slot(method: &Method, code: u16, kind: OutcomeKind) -> Option<usize> {
        let method = METHODS.iter().position(|known| *known == method.as_str())?;
        let code = CODES.iter().position(|known| *known == code)?;
        Some((kind as usize * METHODS.len() + method) * CODES.len() + code)
    }

    /// A request matched this route.
    pub fn began(&self) {
        self.in_flight.inc();
    }

    /// It is over; bodies were this long.
    pub fn left(&self, bytes_in: u64, bytes_out: u64) {
        self.in_flight.dec();
        self.request_bytes.inc_by(bytes_in);
        self.response_bytes.inc_by(bytes_out);
    }

    /// Verifying the token took this long.
    pub fn identified(&self, took: Duration) {
        self.phases[0].observe(took.as_secs_f64());
    }

    /// The `on_request` rules took this long.
    pub fn decided(&self, took: Duration) {
        self.phases[1].observe(took.as_secs_f64());
    }

    /// The limits took this long.
    pub fn admitted(&self, took: Duration) {
        self.phases[2].observe(took.as_secs_f64());
    }

    /// The `on_response` and `on_complete` rules took this long.
    pub fn reviewed(&self, took: Duration) {
        self.phases[3].observe(took.as_secs_f64());
    }
}
