//! What the operator asked for, valid by construction: defaults filled in, names resolved, units typed.
//!
//! `config` lowers the YAML text into these values; every other folder reads only its own section.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use super::{Name, Source};

/// The whole configuration.
#[derive(Debug)]
pub struct Config {
    /// Where the proxy listens.
    pub listeners: Vec<SocketAddr>,
    /// Where operators ask.
    pub admin: SocketAddr,
    /// Worker threads of the proxy.
    pub threads: usize,
    /// How long running requests may finish after SIGTERM.
    pub grace: Duration,
    /// Who is calling?
    pub identity: Identity,
    /// By name, in the order of the file.
    pub upstreams: Vec<Upstream>,
    /// First match wins.
    pub routes: Vec<Route>,
    /// What shall happen?
    pub rules: Rules,
    /// May it happen now?
    pub throttling: Throttling,
    /// What is owed?
    pub billing: Billing,
    /// Beyond it label values are folded into `_other`.
    pub max_series_per_metric: usize,
    /// One line per request.
    pub access_log: AccessLog,
    /// SHA-256 of the configuration text, hexadecimal.
    pub config_sha256: String,
    /// SHA-256 of all rule texts, hexadecimal.
    pub rules_sha256: String,
}

/// A text that must not be shown: a client secret, an HMAC key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes the text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// For the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `identity:`
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// One per FusionAuth tenant (or other OpenID provider).
    pub issuers: Vec<Issuer>,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub clock_skew: Duration,
    /// A token that claims to live longer (`exp - iat`, or `exp - now` without `iat`) is refused.
    pub max_lifetime: Duration,
    /// Where a token may be, tried in order.
    pub token_from: Vec<TokenFrom>,
    /// The claims that the tenant's lambda adds.
    pub claims: BTreeMap<String, ClaimType>,
    /// Headers towards upstreams, each from a claim (a dotted path reaches into objects).
    pub forward_claims: Vec<(HeaderName, String)>,
    /// `billing.account`: the first of these claims that is present names the customer.
    pub account: Vec<String>,
    /// Verified tokens that are remembered.
    pub cache_tokens: usize,
}

/// One entry of `identity.issuers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// For logs and metrics.
    pub name: Name,
    /// Where discovery and keys are fetched; no trailing slash.
    pub url: String,
    /// What `iss` says, compared byte by byte.
    pub issuer: String,
    /// The tenant id: its discovery path is used, and `tid` must be this.
    pub tenant: Option<String>,
    /// One of them must be in `aud`.
    pub audiences: Vec<String>,
    /// HMAC keys for HS256/384/512; without one such tokens are refused.
    pub hmac_secrets: Vec<Secret>,
    /// How often the key set is fetched again.
    pub refresh: Duration,
    /// How long keys are used although fetching fails.
    pub max_stale: Duration,
    /// How long after a fetch an unknown `kid` causes no other.
    pub cooldown: Duration,
    /// For the whole fetch of one document.
    pub timeout: Duration,
}

/// Where a token may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    /// `Authorization: Bearer …`.
    Authorization,
    /// The whole value of another header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
}

/// What a declared claim must look like.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimType {
    /// Its JSON type.
    pub kind: ClaimKind,
    /// The values it may have.
    pub one_of: Vec<String>,
    /// A token without it is refused.
    pub required: bool,
}

/// JSON types of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// Any number.
    Float,
    /// True or false.
    Bool,
    /// A list of texts.
    Strings,
    /// An object.
    Object,
    /// Anything.
    Any,
}

/// One entry of `upstreams:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// What `route_to` and `routes[].upstream` call it.
    pub name: Name,
    /// Tried in turn.
    pub servers: Vec<Server>,
    /// All set, always.
    pub timeouts: Timeouts,
    /// How many other servers are tried when a connection fails.
    pub retries: usize,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As written, for logs: `host:port`.
    pub authority: Name,
    /// The host name or address to resolve.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Time limits towards an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TCP connection.
    pub connect: Duration,
    /// Between two reads, the first byte included.
    pub read: Duration,
    /// For one write.
    pub write: Duration,
    /// After which an unused connection is closed.
    pub idle: Duration,
}

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

/// `rules:` and `rule_limits:`
#[derive(Clone, Debug)]
pub struct Rules {
    /// In the order in which they run.
    pub entries: Vec<Rule>,
    /// `rules/lib/*.rhai`: the namespace (file stem) and its text.
    pub library: Vec<(Name, Arc<Source>)>,
    /// Per hook call.
    pub limits: RuleLimits,
}

/// One entry of `rules:`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The file's stem.
    pub name: Name,
    /// The text; its name is the path as written in the configuration.
    pub source: Arc<Source>,
    /// Empty means every route.
    pub routes: Vec<Name>,
    /// Whether what it records counts.
    pub mode: Mode,
    /// What its failure means.
    pub on_error: OnError,
}

/// `rules[].mode`; a disabled rule is compiled and checked, but never run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It counts.
    Enforce,
    /// Recorded and counted in metrics, never applied.
    Shadow,
    /// Not run.
    Disabled,
}

/// `rules[].on_error`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// 500, nothing billed.
    Deny,
    /// As if the rule were not there.
    Skip,
}

/// `rule_limits:`, per hook call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleLimits {
    /// Rhai operations.
    pub operations: u64,
    /// On the steady clock.
    pub time: Duration,
    /// Of one string.
    pub string_bytes: usize,
}

/// `throttling:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttling {
    /// Buckets in memory; beyond it new keys share one bucket per rule.
    pub max_keys: usize,
}

/// `billing:`
#[derive(Clone, Debug, PartialEq)]
pub struct Billing {
    /// The SQLite file; `None` when there is no `billing:` section.
    pub ledger: Option<PathBuf>,
    /// How long a settled line may wait for its commit.
    pub commit_every: Duration,
    /// What happens when usage cannot be written down.
    pub on_full: OnFull,
    /// In the order of the file.
    pub meters: Vec<Meter>,
}

/// `billing.on_full`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Requests get 503.
    Reject,
    /// Requests pass, unbilled and counted.
    Unbilled,
}

/// One entry of `billing.meters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// What `meter()` calls it; `[a-z][a-z0-9_]*`.
    pub name: Name,
    /// For reports and metrics.
    pub help: String,
    /// For reports.
    pub unit: Option<String>,
    /// Sorted.
    pub dimensions: Vec<Name>,
}

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
