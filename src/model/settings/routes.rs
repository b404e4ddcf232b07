use http::Method;

use crate::model::Name;

/// One entry of `routes:`.
#[derive(Clone, Debug)]
pub struct Route {
    /// For logs, metrics and rule entries.
    pub name: Name,
    /// Lower case; `*.example.com` matches one label or more. `None` matches every host.
    pub host: Option<String>,
    /// A pattern: `/a`, `/a/*/c`, `/a/**`.
    pub path: String,
    /// Empty matches every method.
    pub methods: Vec<Method>,
    /// Whether a token is asked for.
    pub auth: Auth,
    /// What happens when no rule says `allow()`.
    pub default: RouteDefault,
    /// Where matching requests go.
    pub target: Target,
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
    Respond {
        /// 200 to 599.
        status: u16,
        /// Sent as `text/plain`.
        body: Name,
    },
}
