use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{CanonicalPath, Line, Name};

/// Everything that the rules recorded for one hook of one request, in the order in which they recorded it.
///
/// Verbs only record; [`super::Plan`] says what the entries amount to, and the gateway applies that. So the same decision can be
/// shown (`explain`), compared (shadow) or tested without doing anything.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// What was recorded, shadow rules included.
    pub entries: Vec<Entry>,
    /// One per rule that ran, in order.
    pub evaluations: Vec<Evaluation>,
    /// The enforced rule that failed and therefore denies.
    pub failed: Option<Fault>,
}

impl Decision {
    /// The entries that count: those of rules that are not in shadow mode.
    pub fn enforced(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.shadow)
    }
}

/// One verb call.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which rule and which line.
    pub place: Place,
    /// Recorded by a rule in shadow mode: counted and shown, never applied.
    pub shadow: bool,
    /// What was asked for.
    pub effect: Effect,
}

/// Where a verb was called.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The rule's name: its file without the extension.
    pub rule: Name,
    /// The file as the operator wrote it; differs from the rule's when the verb is in `rules/lib`.
    pub file: Name,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a verb asks for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// `deny(status, reason)`; ends the rules.
    Deny {
        /// 400 to 599.
        status: u16,
        /// A stable word for clients, logs and metrics.
        reason: Name,
    },
    /// `allow()`: lets a request pass on a route with `default: deny`.
    Allow,
    /// `route_to(upstream)`.
    RouteTo(Name),
    /// `route_to(upstream, #{ weight, key })`.
    RouteShare(Share),
    /// `rewrite_path(path)`.
    RewritePath(CanonicalPath),
    /// `throttle(key, limit, per)`.
    Throttle(Draw),
    /// `meter(name, quantity, #{…})`.
    Meter(Line),
    /// `set_header(name, value)`.
    SetHeader(HeaderName, HeaderValue),
    /// `remove_header(name)`, or `set_header(name, ())`.
    RemoveHeader(HeaderName),
    /// `redirect(status, url)`; ends the rules.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The `Location`.
        location: HeaderValue,
    },
    /// `redirect_to_login()`; ends the rules.
    RedirectToLogin {
        /// The page to come back to: a path of this site with or without a query; `None` is the one that was asked for.
        return_to: Option<Name>,
    },
    /// `respond(status, body)`; ends the rules.
    Respond {
        /// 200 to 599.
        status: u16,
        /// Sent as `text/plain`.
        body: Name,
    },
    /// `tag(key, value)`.
    Tag(Name, Name),
    /// `log_info(text)` and its sisters.
    Log(LogLevel, Name),
}

impl Effect {
    /// The verb, as metric label and in `explain`.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Deny { .. } => "deny",
            Self::Allow => "allow",
            Self::RouteTo(_) | Self::RouteShare(_) => "route_to",
            Self::RewritePath(_) => "rewrite_path",
            Self::Throttle(_) => "throttle",
            Self::Meter(_) => "meter",
            Self::SetHeader(..) => "set_header",
            Self::RemoveHeader(_) => "remove_header",
            Self::Redirect { .. } => "redirect",
            Self::RedirectToLogin { .. } => "redirect_to_login",
            Self::Respond { .. } => "respond",
            Self::Tag(..) => "tag",
            Self::Log(..) => "log",
        }
    }

    /// Whether it sends the request to another upstream.
    pub const fn routes(&self) -> bool {
        matches!(self, Self::RouteTo(_) | Self::RouteShare(Share { is_in: true, .. }))
    }

    /// Whether later rules are not run.
    pub const fn ends_rules(&self) -> bool {
        matches!(self, Self::Deny { .. } | Self::Redirect { .. } | Self::RedirectToLogin { .. } | Self::Respond { .. })
    }
}

/// A part of the callers that goes to another upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Where they go.
    pub upstream: Name,
    /// Hundredths of a percent of the keys.
    pub weight: u64,
    /// Whose share; `None` is nobody in particular, who is in only when everybody is.
    pub key: Option<Name>,
    /// Whether this key is among them.
    pub is_in: bool,
}

/// One limit to draw from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The rule that asked; part of the bucket's identity.
    pub rule: Name,
    /// Who shares the bucket; `None` is the bucket of everybody without a key (a missing claim is never "no limit").
    pub key: Option<Name>,
    /// At most this many …
    pub limit: u64,
    /// … in any span of this length.
    pub per: Duration,
    /// Smooth with GCRA and let this many through at once, instead of the sliding window.
    pub burst: Option<u64>,
}

/// How serious a rule's log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `log_info`, `print`.
    Info,
    /// `log_warn`.
    Warn,
    /// `log_error`.
    Error,
}

/// The three hooks of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// The token was validated; no upstream is chosen yet.
    Request,
    /// The upstream's headers are here; nothing was sent to the client.
    Response,
    /// The last byte was sent, or the client is gone.
    Complete,
}

impl Hook {
    /// All hooks in the order of a request's life.
    pub const ALL: [Self; 3] = [Self::Request, Self::Response, Self::Complete];

    /// The function name in a rule, and the `hook` label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "on_request",
            Self::Response => "on_response",
            Self::Complete => "on_complete",
        }
    }
}

/// What running one rule's hook cost and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation {
    /// Index of the rule in the rule book.
    pub rule: u16,
    /// How it ended.
    pub result: Evaluated,
    /// On the steady clock.
    pub took: Duration,
}

/// The `result` label of `tollgate_rule_evaluations_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// Ran to its end, or ended the request.
    Ok,
    /// A runtime error.
    Error,
    /// Over the operations, time, size or depth limit.
    Limit,
}

impl Evaluated {
    /// Every result, for series that exist from the first scrape.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Error, Self::Limit];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Limit => "limit",
        }
    }
}

/// A rule that failed. For operators only: clients get a bare 500.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What went wrong, with the source line and a hint.
    pub text: String,
}
