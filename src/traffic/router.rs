use http::Method;

use super::{HostPattern, PathPattern};
use crate::model::Facts;
use crate::model::settings::Route;

/// The routes in the order of the configuration; the first match wins.
#[derive(Debug)]
pub struct Router(Vec<Matcher>);

#[derive(Debug)]
struct Matcher {
    host: Option<HostPattern>,
    path: PathPattern,
    methods: Vec<Method>,
    answers_preflights: bool,
}

impl Router {
    /// Compiles the patterns.
    pub fn new(routes: &[Route]) -> Self {
        let matcher = |route: &Route| Matcher {
            host: route.host.as_deref().map(HostPattern::new),
            path: PathPattern::new(&route.path),
            methods: route.methods.clone(),
            answers_preflights: route.cors.is_some(),
        };
        Self(routes.iter().map(matcher).collect())
    }

    /// The index of the first route that matches.
    pub fn find(&self, facts: &Facts) -> Option<usize> {
        self.0.iter().position(|matcher| matcher.matches(facts))
    }
}

impl Matcher {
    fn matches(&self, facts: &Facts) -> bool {
        self.path.matches(facts.path.as_str())
            && self.host.as_ref().is_none_or(|host| host.matches(&facts.host))
            && (self.methods.is_empty() || self.methods.contains(&facts.method) || self.is_asked_by_preflight(facts))
    }

    /// A preflight asks about another method than its own; the route of the request that will follow answers it.
    fn is_asked_by_preflight(&self, facts: &Facts) -> bool {
        self.answers_preflights
            && facts.preflight().is_some_and(|asked| self.methods.iter().any(|method| method.as_str() == asked))
    }
}
