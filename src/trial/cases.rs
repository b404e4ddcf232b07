use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Connection;

/// A file of rule tests, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Who can call, by name: the claims of a token.
    #[serde(default)]
    pub(super) identities: BTreeMap<String, Map<String, Value>>,
    /// What is tried.
    pub(super) tests: Vec<Case>,
}

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// A sentence.
    pub(super) name: String,
    /// `GET /v1/things`, or with a whole URL for a route with a host.
    pub(super) request: String,
    /// One identity or several; none is a request without a token.
    #[serde(default, rename = "as")]
    pub(super) callers: Callers,
    /// Request headers.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Who connects.
    pub(super) client_ip: Option<IpAddr>,
    /// How, where it matters.
    #[serde(default)]
    pub(super) connection: Connection,
    /// When: an RFC 3339 instant.
    pub(super) now: Option<String>,
    /// What the upstream answers.
    #[serde(default)]
    pub(super) response: Response,
    /// The same request this often within one instant; what is expected concerns the last.
    pub(super) repeat: Option<u32>,
    /// Why this case is not run.
    pub(super) skip: Option<String>,
    /// Only what is written is compared, except that `meters` must be complete.
    pub(super) expect: Expect,
}

/// `as:`
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(super) enum Callers {
    /// No token.
    #[default]
    Nobody,
    /// One identity.
    One(String),
    /// The case is run for each of them.
    Several(Vec<String>),
}

/// `response:`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Response {
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body_bytes: u64,
    #[serde(default)]
    pub(super) request_bytes: u64,
    pub(super) duration_ms: Option<u64>,
}

/// `expect:`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// The word of the access log: proxied, denied, unauthenticated, throttled, …
    pub(super) outcome: Option<String>,
    /// The upstream that gets the request.
    pub(super) route_to: Option<String>,
    /// The path that the upstream gets.
    pub(super) path: Option<String>,
    /// The route that matches.
    pub(super) route: Option<String>,
    /// The status of the gateway's own answer.
    pub(super) status: Option<u16>,
    /// The reason of a denial, or its status and reason.
    #[serde(alias = "deny")]
    pub(super) denied: Option<Denied>,
    /// Where a redirect leads.
    pub(super) redirect: Option<String>,
    /// Limits that are drawn from; others may be, too.
    pub(super) throttles: Option<Vec<Throttle>>,
    /// What is owed, complete: a number, or a list when dimensions matter.
    pub(super) meters: Option<BTreeMap<String, Units>>,
    /// Headers that the rules set towards the upstream; null means removed.
    pub(super) headers: Option<BTreeMap<String, Option<String>>>,
    /// Headers that the rules set towards the client; null means removed.
    pub(super) response_headers: Option<BTreeMap<String, Option<String>>>,
    /// Tags of the access log.
    pub(super) tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Denied {
    Reason(String),
    Both { status: u16, reason: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Throttle {
    pub(super) key: Option<String>,
    pub(super) limit: Option<u64>,
    pub(super) per: Option<String>,
    pub(super) burst: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Units {
    /// The sum over all dimensions.
    Sum(u64),
    /// Line by line.
    Lines(Vec<UsageLine>),
}

#[derive(Debug, Deserialize)]
pub(super) struct UsageLine {
    pub(super) quantity: u64,
    /// Every other member is a dimension.
    #[serde(flatten)]
    pub(super) dimensions: BTreeMap<String, String>,
}
