use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::settings::FixedAnswer;
use super::{Name, Rejection};

/// Why a request was answered by the gateway and not by an upstream.
#[derive(Clone, Debug)]
pub enum Ending {
    /// Refused.
    Rejected(Rejection),
    /// The `redirect` of a rule or a route.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where to.
        location: HeaderValue,
    },
    /// A rule's `redirect_to_login`, until the gateway makes a redirect of it, or a refusal if no browser asks.
    Login {
        /// The page to come back to; `None` is the one that was asked for.
        return_to: Option<Name>,
    },
    /// A route's fixed answer.
    Fixed(Arc<FixedAnswer>),
    /// The answer to a CORS preflight.
    Preflight,
    /// A rule's fixed answer.
    Respond {
        /// 200 to 599.
        status: u16,
        /// Sent as `text/plain`.
        body: Name,
    },
}

impl From<Rejection> for Ending {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Ending {
    /// The status that the client sees.
    pub fn status(&self) -> u16 {
        match self {
            Self::Rejected(rejection) => rejection.status(),
            Self::Redirect { status, .. } | Self::Respond { status, .. } => *status,
            Self::Login { .. } => 401,
            Self::Fixed(answer) => answer.status,
            Self::Preflight => 204,
        }
    }

    /// How it is counted.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Rejected(rejection) => rejection.kind(),
            Self::Login { .. } => OutcomeKind::Unauthenticated,
            Self::Redirect { .. } => OutcomeKind::Redirected,
            Self::Respond { .. } | Self::Fixed(_) | Self::Preflight => OutcomeKind::Responded,
        }
    }
}

/// The `outcome` word of the access log and label of `tollgate_http_requests_total`: a graph leads to a log query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    /// The upstream answered.
    Proxied,
    /// A rule, or `default: deny`.
    Denied,
    /// No token, or a bad one.
    Unauthenticated,
    /// Over a limit.
    Throttled,
    /// A rule's redirect.
    Redirected,
    /// A fixed answer.
    Responded,
    /// No route matches.
    NoRoute,
    /// Malformed, ambiguous or too large.
    BadRequest,
    /// A rule failed.
    RuleError,
    /// The upstream did not answer.
    UpstreamError,
    /// Keys or ledger are missing.
    Unavailable,
    /// The client went away first.
    ClientClosed,
}

impl OutcomeKind {
    /// Every outcome, for series that exist from the first scrape.
    pub const ALL: [Self; 12] = [
        Self::Proxied,
        Self::Denied,
        Self::Unauthenticated,
        Self::Throttled,
        Self::Redirected,
        Self::Responded,
        Self::NoRoute,
        Self::BadRequest,
        Self::RuleError,
        Self::UpstreamError,
        Self::Unavailable,
        Self::ClientClosed,
    ];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Proxied => "proxied",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Throttled => "throttled",
            Self::Redirected => "redirected",
            Self::Responded => "responded",
            Self::NoRoute => "no_route",
            Self::BadRequest => "bad_request",
            Self::RuleError => "rule_error",
            Self::UpstreamError => "upstream_error",
            Self::Unavailable => "unavailable",
            Self::ClientClosed => "client_closed",
        }
    }
}

/// How a request ended, for the rules' `on_complete`, the access log and the metrics.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it is counted.
    pub kind: OutcomeKind,
    /// What the client was sent; 0 if it left before a status was written.
    pub response: ResponseFacts,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Until the upstream's first byte, if it was asked.
    pub upstream_took: Option<Duration>,
    /// The server that was asked last, if one was.
    pub server: Option<Name>,
    /// How often a server was asked.
    pub attempts: usize,
}

/// What rules see as `response`.
#[derive(Clone, Debug, Default)]
pub struct ResponseFacts {
    /// The status sent to the client.
    pub status: u16,
    /// Empty unless a rule reads them (copying a header map for nobody costs more than the rules do).
    pub headers: HeaderMap,
    /// Body bytes sent to the client; 0 before `on_complete`.
    pub body_bytes: u64,
    /// Since the first byte of the request; zero before `on_complete`.
    pub duration: Duration,
    /// Which upstream answered; absent for the gateway's own answers.
    pub upstream: Option<Name>,
    /// Whether the client got everything; false before `on_complete`.
    pub completed: bool,
}
