use std::sync::Arc;

use http::HeaderValue;

use super::permit::UpstreamEntry;
use super::{RouteEntry, Snapshot};
use crate::model::settings::{Route, Target};
use crate::model::{CanonicalPath, Ending, Facts, Malformed, Plan, Rejection};
use crate::traffic::PathTemplate;

/// Paths and URLs that a route makes of those that arrive, compiled.
#[derive(Debug)]
pub(super) struct Detours {
    rewrite: Option<PathTemplate>,
    redirect: Option<PathTemplate>,
}

impl Detours {
    pub(super) fn of(route: &Route) -> Self {
        let redirect = match &route.target {
            Target::Redirect(redirect) => Some(PathTemplate::redirecting(&route.path, redirect)),
            Target::Upstream(_) | Target::Respond(_) => None,
        };
        let rewrite = route.rewrite.as_ref().map(|rewrite| PathTemplate::rewriting(&route.path, rewrite));
        Self { rewrite, redirect }
    }
}

impl RouteEntry {
    /// What a route says before anybody is asked for a token: barred addresses, preflights (which carry none), maintenance.
    pub(super) fn admits(&self, facts: &Facts) -> Result<(), Ending> {
        let gate = &self.route.gate;
        if gate.bars(&facts.client_ip) {
            return Err(Rejection::IpDenied.into());
        }
        if self.route.cors.is_some() && facts.preflight().is_some() {
            return Err(Ending::Preflight);
        }
        match &gate.maintenance {
            Some(maintenance) if !maintenance.spares(&facts.client_ip) => {
                Err(Rejection::Maintenance { retry_after: maintenance.retry_after }.into())
            }
            _ => Ok(()),
        }
    }

    /// The upstream that the rules chose, or the route's own.
    pub(super) fn pool(&self, plan: &Plan, facts: &Facts, snapshot: &Snapshot) -> Result<Arc<UpstreamEntry>, Ending> {
        let name = match (&plan.upstream, &self.route.target) {
            (Some(chosen), _) => chosen,
            (None, Target::Upstream(name)) => name,
            (None, Target::Respond(answer)) => return Err(Ending::Fixed(Arc::clone(answer))),
            (None, Target::Redirect(redirect)) => {
                let location = self.location(facts, redirect.keeps_query)?;
                return Err(Ending::Redirect { status: redirect.status, location });
            }
        };
        snapshot.upstream(name).cloned().ok_or_else(|| Rejection::Internal.into())
    }

    fn location(&self, facts: &Facts, keeps_query: bool) -> Result<HeaderValue, Rejection> {
        let mut url = self.detours.redirect.as_ref().map(|template| template.fill(&facts.path)).ok_or(Rejection::Internal)?;
        if let Some(query) = facts.query.as_ref().filter(|_| keeps_query) {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(query);
        }
        HeaderValue::from_str(&url).map_err(|_| Rejection::BadRequest(Malformed::Target))
    }

    /// The path that the upstream gets, if it is not the one that was judged: a rule's, or the route's.
    ///
    /// # Errors
    /// [`Rejection::Internal`] if the route's template makes no path of it.
    pub fn rewritten(&self, plan: &Plan, facts: &Facts) -> Result<Option<CanonicalPath>, Rejection> {
        match (&plan.path, &self.detours.rewrite) {
            (Some(path), _) => Ok(Some(path.clone())),
            (None, Some(template)) => template.path(&facts.path).map(Some).ok_or(Rejection::Internal),
            (None, None) => Ok(None),
        }
    }
}
