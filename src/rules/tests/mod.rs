//! Whole rules through the whole path: text in, decision out, on both machines.

mod composition;
mod faults;
mod language;
mod lints;
mod pages;
mod shipped;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::machine::Machine;
use super::{RuleBook, RuleSet, Vocabulary};
use crate::model::settings::{ClaimKind, ClaimType, Meter, Mode, OnError, Rule, RuleLimits, Rules};
use crate::model::{
    Absence, Caller, CanonicalPath, Claims, Decision, Effect, Facts, Hook, Identity, Moment, Name, Problem, RequestId,
    ResponseFacts, Severity, Source,
};

/// Time stands still, so that nothing here depends on how busy the machine is.
pub(super) fn clock() -> Duration {
    Duration::ZERO
}

/// What the shipped configuration declares.
pub(super) fn vocabulary() -> Vocabulary {
    let claim = |kind, required| ClaimType { kind, one_of: Vec::new(), required };
    let meter = |name: &str| Meter {
        name: name.into(),
        help: String::new(),
        unit: None,
        dimensions: vec!["endpoint".into(), "plan".into()],
    };
    Vocabulary {
        upstreams: ["api", "api-canary", "dedicated"].map(Name::from).to_vec(),
        meters: vec![meter("api_calls"), meter("egress_bytes")],
        claims: BTreeMap::from([
            ("plan".to_owned(), claim(ClaimKind::String, false)),
            ("org".to_owned(), claim(ClaimKind::Any, false)),
            ("quota".to_owned(), claim(ClaimKind::Int, false)),
            ("level".to_owned(), claim(ClaimKind::Int, false)),
            ("beta".to_owned(), claim(ClaimKind::Bool, false)),
            ("tier".to_owned(), claim(ClaimKind::String, true)),
        ]),
        routes: vec!["orders".into(), "admin".into()],
        read_bodies: vec!["orders".into()],
        login: true,
    }
}

pub(super) const LIMITS: RuleLimits = RuleLimits { operations: 50_000, time: Duration::from_millis(5), string_bytes: 16_384 };

/// Rules in the making.
#[derive(Clone)]
pub(super) struct Files {
    rules: Rules,
    vocabulary: Vocabulary,
}

impl Files {
    pub(super) fn new() -> Self {
        Self { rules: Rules { entries: Vec::new(), library: Vec::new(), limits: LIMITS }, vocabulary: vocabulary() }
    }

    pub(super) fn rule(self, name: &str, text: &str) -> Self {
        self.entry(name, text, &[], Mode::Enforce, OnError::Deny)
    }

    pub(super) fn entry(mut self, name: &str, text: &str, routes: &[&str], mode: Mode, on_error: OnError) -> Self {
        let source = Arc::new(Source { name: format!("rules/{name}.rhai"), text: text.to_owned() });
        let routes = routes.iter().map(|route| Name::from(*route)).collect();
        self.rules.entries.push(Rule { name: name.into(), source, routes, mode, on_error });
        self
    }

    pub(super) fn library(mut self, name: &str, text: &str) -> Self {
        let source = Arc::new(Source { name: format!("rules/lib/{name}.rhai"), text: text.to_owned() });
        self.rules.library.push((name.into(), source));
        self
    }

    pub(super) fn limits(mut self, limits: RuleLimits) -> Self {
        self.rules.limits = limits;
        self
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        RuleBook::compile(&self.rules, &self.vocabulary, clock).1
    }

    pub(super) fn book(&self) -> RuleBook {
        let (book, problems) = RuleBook::compile(&self.rules, &self.vocabulary, clock);
        let errors: Vec<_> = problems.iter().filter(|problem| problem.severity == Severity::Error).map(line_of).collect();
        book.unwrap_or_else(|| panic!("{errors:#?}"))
    }

    /// A book for each machine.
    pub(super) fn books(&self) -> [RuleBook; 2] {
        [Machine::Bytecode, Machine::Tree].map(|machine| {
            let mut book = self.book();
            book.machine = machine;
            book
        })
    }

    /// What both machines decide, which must be the same.
    pub(super) fn run(&self, hook: Hook, request: &Request) -> Decision {
        let [bytecode, tree] = self.books().map(|book| request.through(&book, hook));
        assert_eq!(told(&bytecode), told(&tree), "bytecode and tree differ");
        bytecode
    }
}

/// One rule, one request.
pub(super) fn decide(text: &str, claims: &Value) -> Decision {
    Files::new().rule("test", text).run(Hook::Request, &Request::by(claims))
}

/// `decide` for the statements of a hook that takes everything.
pub(super) fn say(statements: &str, claims: &Value) -> Vec<String> {
    let decision = decide(&format!("fn on_request(request, claims) {{ {statements} }}"), claims);
    told(&decision)
}

/// A request in the making.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) facts: Facts,
    pub(super) caller: Caller,
    pub(super) response: ResponseFacts,
    pub(super) body_bytes_in: u64,
    pub(super) route: Name,
}

impl Request {
    pub(super) fn new() -> Self {
        let at = Moment::new(Duration::from_secs(1_800_000_000), Duration::from_secs(1));
        let facts = Facts {
            host: "api.example.com".into(),
            path: CanonicalPath::parse("/v1/orders/7").unwrap(),
            client_ip: [192, 0, 2, 7].into(),
            ..Facts::unknown(RequestId::new(at, 7), at)
        };
        Self {
            facts,
            caller: Caller::Anonymous(Absence::NoToken),
            response: ResponseFacts { status: 200, ..ResponseFacts::default() },
            body_bytes_in: 0,
            route: "orders".into(),
        }
    }

    /// Somebody with these claims; `null` is nobody.
    pub(super) fn by(claims: &Value) -> Self {
        let caller = match claims.as_object() {
            Some(claims) => Caller::Known(Arc::new(Identity {
                issuer: "test".into(),
                claims: Claims::new(claims.clone()),
                expires_at: u64::MAX,
                account: None,
                forwarded: Vec::new(),
            })),
            None => Caller::Anonymous(Absence::NoToken),
        };
        Self { caller, ..Self::new() }
    }

    pub(super) fn to(mut self, method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
        self.facts.method = method.parse().unwrap();
        self.facts.path = CanonicalPath::parse(path).unwrap();
        self.facts.query = query;
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.facts.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    pub(super) fn answered(mut self, status: u16, body_bytes: u64) -> Self {
        self.response.status = status;
        self.response.body_bytes = body_bytes;
        self.response.upstream = Some("api".into());
        self.response.completed = true;
        self
    }

    pub(super) fn through(&self, book: &RuleBook, hook: Hook) -> Decision {
        let set = book.select(&self.route);
        self.through_set(book, &set, hook)
    }

    pub(super) fn through_set(&self, book: &RuleBook, set: &RuleSet, hook: Hook) -> Decision {
        let (facts, response) = (Arc::new(self.facts.clone()), Arc::new(self.response.clone()));
        match hook {
            Hook::Request => book.decide(set, &facts, &self.route, &self.caller),
            Hook::Response => book.respond(set, &facts, &self.route, &self.caller, &response),
            Hook::Complete => book.complete(set, &facts, &self.route, &self.caller, &response, self.body_bytes_in),
        }
    }
}

/// A decision in words, one line each: easy to compare and to read when it differs.
pub(super) fn told(decision: &Decision) -> Vec<String> {
    let entries = decision.entries.iter().map(|entry| {
        let shadow = if entry.shadow { "shadow " } else { "" };
        format!("{shadow}{} @{}", effect(&entry.effect), entry.place)
    });
    let failed =
        decision.failed.iter().map(|fault| format!("failed @{}: {}", fault.place, fault.text.lines().next().unwrap_or("")));
    entries.chain(failed).collect()
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Deny { status, reason } => format!("deny {status} {reason}"),
        Effect::Allow => "allow".into(),
        Effect::RouteTo(upstream) => format!("route_to {upstream}"),
        Effect::RouteShare(share) => {
            format!("route_to {} {} {:?} {}", share.upstream, share.weight, share.key.as_deref(), share.is_in)
        }
        Effect::RewritePath(path) => format!("rewrite_path {path}"),
        Effect::Throttle(draw) => format!(
            "throttle {} {} per {}s{}",
            draw.key.as_deref().unwrap_or("-"),
            draw.limit,
            draw.per.as_secs(),
            draw.burst.map(|burst| format!(" burst {burst}")).unwrap_or_default()
        ),
        Effect::Meter(line) => {
            let dimensions = line.dimensions.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
            format!("meter {} +{}{dimensions}", line.meter, line.quantity)
        }
        Effect::SetHeader(name, value) => format!("set_header {name}: {}", String::from_utf8_lossy(value.as_bytes())),
        Effect::RemoveHeader(name) => format!("remove_header {name}"),
        Effect::Redirect { status, location } => format!("redirect {status} {}", location.to_str().unwrap_or("")),
        Effect::RedirectToLogin { return_to } => format!("redirect_to_login {}", return_to.as_deref().unwrap_or("-")),
        Effect::Respond { status, body } => format!("respond {status} {body}"),
        Effect::Tag(key, value) => format!("tag {key}={value}"),
        Effect::Log(level, text) => format!("log {level:?} {text}").to_lowercase(),
    }
}

/// A problem in one line.
pub(super) fn line_of(problem: &Problem) -> String {
    let place = match (&problem.at, problem.line_and_column()) {
        (Some((source, _)), Some((line, column))) => format!("{}:{line}:{column} ", source.name),
        _ => String::new(),
    };
    let severity = if problem.severity == Severity::Warning { "warning " } else { "" };
    format!("{place}{severity}{} {}", problem.code, problem.message)
}

pub(super) fn ann() -> Value {
    json!({ "sub": "u-1", "org": "initech", "plan": "pro", "roles": ["user"] })
}
