//! What a route is, what it does to requests and answers, and where it leads.

mod answers;
mod cors;
mod edits;
mod gate;
mod mirror;

use std::sync::Arc;

use http::Method;

pub use answers::{Coding, Compression, ErrorPages, FixedAnswer, Redirect, SecurityHeaders};
pub use cors::{Cors, CorsOrigin, CorsOrigins};
pub use edits::{HeaderEdits, Rewrite};
pub use gate::{Gate, Maintenance};
pub use mirror::Mirror;

use crate::model::Name;

/// One entry of `routes:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// For logs, metrics and rule entries.
    pub name: Name,
    /// Lower case; `*.example.com` matches one label or more. `None` matches every host.
    pub host: Option<String>,
    /// A pattern: `/a`, `/a/*/c`, `/a/{id}/c`, `/a/**`.
    pub path: String,
    /// Empty matches every method.
    pub methods: Vec<Method>,
    /// Whether a token is asked for.
    pub auth: Auth,
    /// Whether browsers without a session are sent to the login page instead of being refused.
    pub login: bool,
    /// What happens when no rule says `allow()`.
    pub default: RouteDefault,
    /// Where matching requests go.
    pub target: Target,
    /// Who may come at all, before anybody is asked for a token.
    pub gate: Gate,
    /// What pages of other origins may do.
    pub cors: Option<Arc<Cors>>,
    /// The largest body of a request, in bytes; `None` leaves it to the limits of all routes.
    pub body_size: Option<u64>,
    /// Bytes of a request's body that rules may read.
    pub rule_body: Option<usize>,
    /// The path that the upstream gets instead of the one that was judged.
    pub rewrite: Option<Rewrite>,
    /// Towards the upstream.
    pub request_headers: HeaderEdits,
    /// Of the upstream's answers.
    pub response_headers: HeaderEdits,
    /// Of all answers, the gateway's own included.
    pub security_headers: Option<SecurityHeaders>,
    /// Of the upstream's answers.
    pub compression: Option<Compression>,
    /// Whether the upstream gets a token of the gateway's own.
    pub upstream_token: bool,
    /// Who gets a copy.
    pub mirror: Option<Mirror>,
}

/// `routes[].auth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// 401 without a valid token.
    Required,
    /// No token is fine, a bad one is 401.
    Optional,
    /// A bad token counts as none (`auth: optional` with `invalid_token: ignore`).
    OptionalLenient,
    /// Tokens are not looked at.
    None,
}

/// `routes[].default`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteDefault {
    /// Proxied unless a rule denies.
    Allow,
    /// Refused unless a rule allows.
    Deny,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To servers.
    Upstream(Name),
    /// To a fixed answer.
    Respond(Arc<FixedAnswer>),
    /// To another URL.
    Redirect(Redirect),
}
