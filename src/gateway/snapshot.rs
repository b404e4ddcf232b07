use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::permit::UpstreamEntry;
use super::route::Detours;
use super::{Doors, Lasting, clock};
use crate::identity::webhook::Webhooks;
use crate::identity::{Hosted, Identifier, RelyingParty};
use crate::metrics::{MeterHandles, RouteHandles, RuleHandles};
use crate::model::settings::{Auth, Config, Route, RouteDefault};
use crate::model::{Absence, Caller, Facts, Hook, Identity, Moment, Name, Problem, Rejection, Severity, TokenFault};
use crate::rules::{RuleBook, RuleSet, Vocabulary};
use crate::traffic::Router;

/// One configuration, compiled: immutable, loaded once per request and held to its end.
pub struct Snapshot {
    /// What it was compiled from.
    pub config: Config,
    /// When.
    pub loaded_at: Moment,
    /// The compiled rules.
    pub rules: RuleBook,
    /// Where connections come in.
    pub doors: Doors,
    /// In the order of the rule book.
    pub rule_handles: Vec<RuleHandles>,
    /// The meters that `meter()` may name.
    pub meters: Vec<MeterHandles>,
    /// For requests that match no route.
    pub unrouted: RouteHandles,
    identification: Identification,
    login: Option<Arc<RelyingParty>>,
    hosted: Option<Arc<Hosted>>,
    /// What FusionAuth tells.
    pub webhooks: Option<Webhooks>,
    router: Router,
    routes: Vec<Arc<RouteEntry>>,
    upstreams: HashMap<Name, Arc<UpstreamEntry>>,
}

/// How callers become known.
#[derive(Clone)]
pub enum Identification {
    /// By their tokens.
    Tokens(Arc<Identifier>),
    /// By assertion: `tollgate explain --claims` and rule tests.
    Given(Caller),
}

/// One route with the rules that run on it and the metrics it counts in.
#[derive(Debug)]
pub struct RouteEntry {
    /// As configured.
    pub route: Route,
    /// The rules that run here.
    pub rules: RuleSet,
    /// What is counted here.
    pub handles: RouteHandles,
    /// What leads elsewhere than the request says.
    pub(super) detours: Detours,
}

impl Snapshot {
    /// Compiles a configuration. On any error nothing that lasts was changed but the pools and keys of upstreams and issuers that
    /// are new, which harm nobody.
    ///
    /// # Errors
    /// Every error of every rule; warnings come along in both cases.
    pub fn compile(
        config: Config,
        lasting: &Lasting,
        before: Option<&Snapshot>,
        given: Option<Caller>,
    ) -> (Result<Self, ()>, Vec<Problem>) {
        let (book, mut problems) = RuleBook::compile(&config.rules, &Vocabulary::of(&config), clock::steady);
        let Some(rules) = book else { return (Err(()), problems) };

        let metrics = &lasting.metrics;
        let mut meters = Vec::with_capacity(config.billing.meters.len());
        for meter in &config.billing.meters {
            let earlier = before.and_then(|before| before.meters.iter().find(|m| m.name() == &meter.name));
            match metrics.meter(meter, config.max_series_per_metric, earlier) {
                Ok(handles) => meters.push(handles),
                Err(error) => problems.push(Problem::error("config::meter-metric", format!("meter `{}`: {error}", meter.name))),
            }
        }
        let doors = match Doors::compile(&config.listeners, before.map(|before| &before.doors), metrics) {
            Ok(doors) => doors,
            Err(problem) => {
                problems.push(problem);
                return (Err(()), problems);
            }
        };
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return (Err(()), problems);
        }

        let identification = match (given, before) {
            (Some(caller), _) => Identification::Given(caller),
            (None, Some(Self { identification: Identification::Tokens(same), config: old, .. }))
                if old.identity == config.identity =>
            {
                Identification::Tokens(Arc::clone(same))
            }
            (None, _) => {
                lasting.keys.follow(&config.identity.issuers);
                let identifier = Identifier::new(&config.identity, &lasting.keys).unless(lasting.revocations.set());
                Identification::Tokens(Arc::new(identifier))
            }
        };
        lasting.revocations.follow(&config.identity);
        let webhooks = Webhooks::new(&config.identity, &lasting.keys);
        lasting.redis.follow(config.redis.as_ref());
        let login = match before {
            Some(before) if before.config.identity == config.identity => before.login.clone(),
            _ => RelyingParty::new(&config.identity, &lasting.keys, &lasting.redis).map(Arc::new),
        };
        let hosted = match before {
            Some(before) if before.config.identity == config.identity => before.hosted.clone(),
            _ => Hosted::new(&config.identity, &lasting.keys, &lasting.redis).map(Arc::new),
        };
        lasting.pools.follow(&config.upstreams, clock::steady());
        lasting.throttling.set_max_keys(config.throttling.max_keys);

        let entry = |pool: &Arc<crate::traffic::Pool>| {
            Arc::new(UpstreamEntry { pool: Arc::clone(pool), handles: metrics.upstream(pool.name()) })
        };
        let upstreams: HashMap<_, _> = lasting.pools.all().iter().map(|(name, pool)| (name.clone(), entry(pool))).collect();
        let route_entry = |route: &Route| {
            let (rules, detours) = (rules.select(&route.name), Detours::of(route, &upstreams, metrics));
            Arc::new(RouteEntry { route: route.clone(), rules, handles: metrics.route(&route.name), detours })
        };
        let routes = config.routes.iter().map(route_entry).collect();
        let rule_handles = rules
            .rules()
            .iter()
            .map(|card| {
                let hooks: Vec<Hook> = card.hooks.clone();
                metrics.rule(&card.name, &hooks, card.mode == crate::model::settings::Mode::Shadow)
            })
            .collect();
        let snapshot = Self {
            loaded_at: clock::now(),
            rules,
            doors,
            rule_handles,
            meters,
            unrouted: metrics.route(&Name::from("")),
            identification,
            login,
            hosted,
            webhooks,
            router: Router::new(&config.routes),
            routes,
            upstreams,
            config,
        };
        (Ok(snapshot), problems)
    }

    /// The first route that matches.
    pub fn route(&self, facts: &Facts) -> Option<&Arc<RouteEntry>> {
        self.routes.get(self.router.find(facts)?)
    }

    /// Who is calling.
    ///
    /// # Errors
    /// [`Rejection::Unauthenticated`] or [`Rejection::KeysUnavailable`].
    pub async fn identify(&self, facts: &Facts, auth: Auth) -> Result<Caller, Rejection> {
        match &self.identification {
            Identification::Tokens(identifier) => identifier.identify(facts, auth).await,
            Identification::Given(_) if auth == Auth::None => Ok(Caller::Anonymous(Absence::NotAsked)),
            Identification::Given(Caller::Anonymous(_)) if auth == Auth::Required => {
                Err(Rejection::Unauthenticated(TokenFault::Missing))
            }
            Identification::Given(caller) => Ok(caller.clone()),
        }
    }

    /// The header by which the gateway vouches for a caller, on routes whose upstreams want it.
    pub fn upstream_token(
        &self,
        route: Option<&Arc<RouteEntry>>,
        caller: &Identity,
        now: Moment,
    ) -> Option<(HeaderName, HeaderValue)> {
        match &self.identification {
            Identification::Tokens(identifier) if route?.route.upstream_token => identifier.upstream_token(caller, now),
            _ => None,
        }
    }

    /// From now on this is the caller of every request: for `tollgate explain` and rule tests, never for a gateway that serves.
    pub fn assert_caller(&mut self, caller: Caller) {
        self.identification = Identification::Given(caller);
    }

    /// How callers become known.
    pub fn identification(&self) -> &Identification {
        &self.identification
    }

    /// How people log in, if they can.
    pub fn login(&self) -> Option<&Arc<RelyingParty>> {
        self.login.as_ref()
    }

    /// What FusionAuth's browser SDKs talk to, if it is here.
    pub fn hosted(&self) -> Option<&Arc<Hosted>> {
        self.hosted.as_ref()
    }

    /// One upstream.
    pub fn upstream(&self, name: &Name) -> Option<&Arc<UpstreamEntry>> {
        self.upstreams.get(name)
    }

    /// One rule's metrics.
    pub fn rule(&self, name: &Name) -> Option<&RuleHandles> {
        self.rule_handles.iter().find(|handles| handles.name() == name)
    }
}

impl RouteEntry {
    /// The route's name.
    pub fn name(&self) -> &Name {
        &self.route.name
    }

    pub(super) fn auth(&self) -> Auth {
        self.route.auth
    }

    /// Whether a request passes that no rule spoke about.
    pub(super) fn is_open(&self) -> bool {
        self.route.default == RouteDefault::Allow
    }
}
