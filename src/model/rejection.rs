use std::time::Duration;

use super::{LoginFault, Name, OutcomeKind, TokenFault};

/// Every way in which the gateway refuses. Closed, so that each has one status, one public reason and one label; it carries no
/// text of a client or an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The request is malformed or ambiguous.
    BadRequest(Malformed),
    /// No route matches.
    NoRoute,
    /// The address may not use the route.
    IpDenied,
    /// The route is closed for a while.
    Maintenance {
        /// How long, as far as the operator knows.
        retry_after: Duration,
    },
    /// No acceptable token.
    Unauthenticated(TokenFault),
    /// The issuer's keys were never fetched, or are older than `max_stale`.
    KeysUnavailable,
    /// A login, or what rests on one, came to nothing.
    Login(LoginFault),
    /// A rule's `deny`.
    Denied {
        /// 400 to 599.
        status: u16,
        /// The rule author's stable word.
        reason: Name,
    },
    /// `default: deny`, and no rule said `allow()`.
    NotAllowed,
    /// A rule failed.
    RuleFailed,
    /// Over a limit.
    Throttled(Throttled),
    /// Usage can no longer be written down, and `billing.on_full` says `reject`.
    LedgerUnavailable,
    /// The upstream did not answer properly.
    Upstream(UpstreamFault),
    /// More than the gateway can do; nobody looked at the request.
    Overloaded,
    /// A failure of the gateway itself.
    Internal,
}

/// The limit that refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// The rule that set it: the policy's name in `RateLimit-Policy`.
    pub rule: Name,
    /// At most this many …
    pub limit: u64,
    /// … in any span of this length.
    pub per: Duration,
    /// When a retry can succeed, if nobody else draws in between.
    pub retry_after: Duration,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// No `Host`, an empty or an invalid one.
    Host,
    /// A request target that is not a path or an absolute URL of this host.
    Target,
    /// A path without a canonical form.
    Path,
    /// A header name with `_` or `.`, which some servers read as `-`.
    HeaderName,
    /// Over a TLS connection to another host, whose certificate is not good for this one.
    Misdirected,
    /// Two `Authorization` headers.
    TwoAuthorizations,
    /// Framing that two servers may read differently.
    Framing,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// A method that is not let through.
    Method,
    /// Target over 8 KiB.
    TargetTooLong,
    /// Over 100 headers, 16 KiB for one or 32 KiB in all.
    HeadersTooLarge,
    /// A body over the route's size.
    BodyTooLarge,
    /// A body that comes too slowly.
    BodyTooSlow,
}

/// What went wrong with the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamFault {
    /// No connection.
    Connect,
    /// No TLS session.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Reset,
    /// No server is left to try.
    NoServer,
    /// Every server that is up has as many requests as it may.
    Busy,
}

impl UpstreamFault {
    /// Every fault, for series that exist from the first scrape.
    pub const ALL: [Self; 6] = [Self::Connect, Self::Tls, Self::Timeout, Self::Reset, Self::NoServer, Self::Busy];

    /// The `reason` label of `tollgate_upstream_errors_total`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::NoServer => "no_healthy_server",
            Self::Busy => "upstream_busy",
        }
    }
}

impl Malformed {
    const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::BodyTooSlow => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::Misdirected => 421,
            Self::HeadersTooLarge => 431,
            _ => 400,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Host => "invalid_host",
            Self::Target => "invalid_target",
            Self::Path => "ambiguous_path",
            Self::HeaderName => "invalid_header_name",
            Self::Misdirected => "misdirected_request",
            Self::TwoAuthorizations => "several_authorizations",
            Self::Framing => "ambiguous_framing",
            Self::Expectation => "unknown_expectation",
            Self::Method => "method_not_allowed",
            Self::TargetTooLong => "target_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "request_timeout",
        }
    }
}

impl Rejection {
    /// The status that the client sees.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadRequest(malformed) => malformed.status(),
            Self::NoRoute => 404,
            Self::Unauthenticated(_) => 401,
            Self::Login(fault) => fault.status(),
            Self::Denied { status, .. } => *status,
            Self::NotAllowed | Self::IpDenied => 403,
            Self::RuleFailed | Self::Internal => 500,
            Self::Throttled(_) => 429,
            Self::KeysUnavailable
            | Self::LedgerUnavailable
            | Self::Overloaded
            | Self::Maintenance { .. }
            | Self::Upstream(UpstreamFault::NoServer | UpstreamFault::Busy) => 503,
            Self::Upstream(UpstreamFault::Timeout) => 504,
            Self::Upstream(_) => 502,
        }
    }

    /// The `reason` member of the problem document: stable, and the same for every token fault.
    pub fn reason(&self) -> &str {
        match self {
            Self::BadRequest(malformed) => malformed.reason(),
            Self::NoRoute => "no_route",
            Self::IpDenied => "ip_denied",
            Self::Maintenance { .. } => "maintenance",
            Self::Unauthenticated(TokenFault::Missing) => "token_required",
            Self::Unauthenticated(_) => "invalid_token",
            Self::KeysUnavailable => "identity_unavailable",
            Self::Login(fault) => fault.reason(),
            Self::Denied { reason, .. } => reason,
            Self::NotAllowed => "not_allowed",
            Self::RuleFailed => "rule_error",
            Self::Throttled(_) => "rate_limited",
            Self::LedgerUnavailable => "billing_unavailable",
            Self::Overloaded => "overloaded",
            Self::Upstream(UpstreamFault::NoServer) => "no_healthy_server",
            Self::Upstream(UpstreamFault::Busy) => "upstream_busy",
            Self::Upstream(UpstreamFault::Timeout) => "upstream_timeout",
            Self::Upstream(_) => "upstream_error",
            Self::Internal => "internal_error",
        }
    }

    /// How it is counted.
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::BadRequest(_) => OutcomeKind::BadRequest,
            Self::NoRoute => OutcomeKind::NoRoute,
            Self::Unauthenticated(_) => OutcomeKind::Unauthenticated,
            Self::KeysUnavailable | Self::LedgerUnavailable | Self::Overloaded | Self::Maintenance { .. } => {
                OutcomeKind::Unavailable
            }
            Self::Login(fault) => fault.kind(),
            Self::Denied { .. } | Self::NotAllowed | Self::IpDenied => OutcomeKind::Denied,
            Self::RuleFailed | Self::Internal => OutcomeKind::RuleError,
            Self::Throttled(_) => OutcomeKind::Throttled,
            Self::Upstream(_) => OutcomeKind::UpstreamError,
        }
    }

    /// Seconds for `Retry-After`, rounded up and at least 1, where waiting helps.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Throttled(Throttled { retry_after: wait, .. }) | Self::Maintenance { retry_after: wait } => {
                Some((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
            }
            Self::KeysUnavailable
            | Self::LedgerUnavailable
            | Self::Login(LoginFault::Unavailable)
            | Self::Upstream(UpstreamFault::NoServer) => Some(5),
            Self::Overloaded | Self::Upstream(UpstreamFault::Busy) => Some(1),
            _ => None,
        }
    }
}
