use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::Connection;
use crate::gateway::{AccessLog, Faults, Lasting, Snapshot, Trail, clock, judge, owed};
use crate::identity::revocation::Revocations;
use crate::identity::{KeyRings, Logins};
use crate::metrics::Metrics;
use crate::model::settings::{Config, LogOutput};
use crate::model::{
    Body, Caller, CanonicalPath, Decision, Ending, Facts, Hook, Line, Moment, Name, OutcomeKind, Plan, Problem, RequestId,
    ResponseFacts,
};
use crate::throttling::Throttling;
use crate::tls::Challenges;
use crate::traffic::Pools;

/// A gateway without sockets, ledger and log: its own limits, its own clock.
pub struct Rehearsal {
    snapshot: Snapshot,
    lasting: Lasting,
    runtime: tokio::runtime::Runtime,
}

/// A request in words.
#[derive(Clone, Debug)]
pub struct Described {
    /// `GET /v1/things?x=1` or `GET https://api.example.com/v1/things`.
    pub line: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body, for routes whose rules may read it.
    pub body: String,
    /// Who connects.
    pub client_ip: Option<IpAddr>,
    /// How.
    pub connection: Connection,
    /// When.
    pub at: Moment,
}

/// What the upstream answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// From the first byte of the request to the last of the answer.
    pub duration: Duration,
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body_bytes: 0, request_bytes: 0, duration: Duration::from_millis(1) }
    }
}

/// Everything that happened to a described request.
#[derive(Debug)]
pub struct Shown {
    /// What was judged.
    pub facts: Arc<Facts>,
    /// Which route matched.
    pub route: Option<Name>,
    /// Who called, if that was asked.
    pub caller: Option<Caller>,
    /// What the rules recorded in `on_request`, `on_response` and `on_complete`, as far as they ran.
    pub hooks: Vec<(Hook, Arc<Decision>)>,
    /// Why it was not proxied.
    pub ending: Option<Ending>,
    /// Where it went.
    pub upstream: Option<Name>,
    /// The path that the upstream got, if it is not the one that was judged.
    pub path: Option<CanonicalPath>,
    /// What the rules asked for, if it was proxied.
    pub plan: Plan,
    /// The header edits of `on_response`.
    pub response_plan: Plan,
    /// What it owes.
    pub usage: Vec<Line>,
}

impl Rehearsal {
    /// Compiles a configuration for rehearsing.
    ///
    /// # Errors
    /// Every problem of the rules.
    pub fn new(config: Config, caller: Caller) -> Result<Self, Vec<Problem>> {
        let failed = |what: &str, error: &dyn std::fmt::Display| vec![Problem::error("trial::start", format!("{what}: {error}"))];
        let metrics = Metrics::new().map_err(|error| failed("metrics", &error))?;
        let lasting = Lasting {
            metrics,
            keys: Arc::new(KeyRings::new(clock::now)),
            revocations: Revocations::off(&Arc::default()),
            logins: Logins::new(clock::now),
            throttling: Throttling::new(config.throttling.max_keys),
            ledger: None,
            pools: Pools::default(),
            challenges: Challenges::default(),
            access_log: AccessLog::open(&LogOutput::None).map_err(|error| failed("access log", &error))?,
            faults: Faults::default(),
            redis: Arc::default(),
            spans: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| failed("runtime", &error))?;
        match Snapshot::compile(config, &lasting, None, Some(caller)) {
            (Ok(snapshot), _) => Ok(Self { snapshot, lasting, runtime }),
            (Err(()), problems) => Err(problems),
        }
    }

    /// What was compiled.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Forgets what was drawn from limits.
    pub fn reset_limits(&mut self) {
        self.lasting.throttling = Throttling::new(self.snapshot.config.throttling.max_keys);
    }

    /// Judges one request of `caller`; if it may pass, `answer` is what the upstream says.
    ///
    /// # Errors
    /// When the description is no request.
    pub fn show(&mut self, described: &Described, caller: Caller, answer: &Answer) -> Result<Shown, String> {
        let facts = Arc::new(described.facts()?);
        let answer_headers = header_map(&answer.headers)?;
        self.snapshot.assert_caller(caller);
        let mut body = Body::Text(described.body.as_str().into());
        let mut trail = Trail::new(Arc::clone(&facts));
        let judged = self.runtime.block_on(judge(&self.snapshot, &self.lasting, &mut trail, &mut body));
        let mut shown = Shown {
            facts,
            route: trail.route().map(|route| route.name().clone()),
            caller: trail.caller().cloned(),
            hooks: trail.decision().map(|decision| (Hook::Request, Arc::clone(decision))).into_iter().collect(),
            ending: None,
            upstream: None,
            path: None,
            plan: Plan::default(),
            response_plan: Plan::default(),
            usage: Vec::new(),
        };
        let permit = match judged {
            Ok(permit) => permit,
            Err(ending) => {
                shown.ending = Some(ending);
                return Ok(shown);
            }
        };
        shown.upstream = Some(permit.upstream().pool.name().clone());
        shown.plan = permit.plan().clone();
        if let Some(route) = trail.route() {
            match route.rewritten(permit.plan(), &shown.facts) {
                Ok(path) => shown.path = path,
                Err(rejection) => {
                    shown.ending = Some(rejection.into());
                    return Ok(shown);
                }
            }
        }
        self.answer(&mut shown, &trail, &permit, answer, answer_headers);
        Ok(shown)
    }

    fn answer(&self, shown: &mut Shown, trail: &Trail, permit: &crate::gateway::Permit, answer: &Answer, headers: HeaderMap) {
        let (Some(route), Some(caller)) = (trail.route(), trail.caller()) else { return };
        let mut response = ResponseFacts { status: answer.status, headers, ..ResponseFacts::default() };
        let mut kind = OutcomeKind::Proxied;
        let mut reviewed = None;
        if route.rules.has(Hook::Response) {
            let seen = Arc::new(response.clone());
            let decision = Arc::new(self.snapshot.rules.respond(&route.rules, &shown.facts, route.name(), caller, &seen));
            match decision.plan(true) {
                Ok(plan) => shown.response_plan = plan,
                Err(ending) => {
                    kind = ending.kind();
                    response.status = ending.status();
                    shown.ending = Some(ending);
                }
            }
            shown.hooks.push((Hook::Response, Arc::clone(&decision)));
            reviewed = Some(decision);
        }
        response.body_bytes = answer.body_bytes;
        response.duration = answer.duration;
        response.upstream.clone_from(&shown.upstream);
        response.completed = true;
        let mut completed = None;
        if route.rules.has(Hook::Complete) {
            let seen = Arc::new(response);
            let bytes = answer.request_bytes;
            let decision = Arc::new(self.snapshot.rules.complete(&route.rules, &shown.facts, route.name(), caller, &seen, bytes));
            shown.hooks.push((Hook::Complete, Arc::clone(&decision)));
            completed = Some(decision);
        }
        shown.usage = owed(permit, reviewed.as_deref(), completed.as_deref(), kind);
    }
}

impl Described {
    /// A request at the given time without further headers.
    pub fn new(line: &str, at: Moment) -> Self {
        Self {
            line: line.to_owned(),
            headers: Vec::new(),
            body: String::new(),
            client_ip: None,
            connection: Connection::default(),
            at,
        }
    }

    fn facts(&self) -> Result<Facts, String> {
        let (method, target) =
            self.line.split_once(' ').ok_or_else(|| format!("`{}` is no request: write `GET /path`", self.line))?;
        let method: Method = method.parse().map_err(|_| format!("`{method}` is no method"))?;
        let (host, target) = match target.trim().split_once("://") {
            None => ("localhost", target.trim()),
            Some((_, rest)) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        let path = CanonicalPath::parse(path)
            .map_err(|problem| format!("the gateway refuses the path `{path}` before any rule runs: {problem:?}"))?;
        let mut facts = Facts {
            method,
            host: host.split(':').next().unwrap_or_default().to_ascii_lowercase(),
            path,
            query,
            headers: header_map(&self.headers)?,
            client_ip: self.client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ..Facts::unknown(RequestId::new(self.at, 0), self.at)
        };
        self.connection.describe(&mut facts);
        Ok(facts)
    }
}

fn header_map(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header name"))?;
        let value: HeaderValue = value.parse().map_err(|_| format!("the value of `{name}` cannot be sent in a header"))?;
        headers.append(name, value);
    }
    Ok(headers)
}
