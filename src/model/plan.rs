use http::{HeaderName, HeaderValue};

use super::{CanonicalPath, Decision, Draw, Effect, Ending, Line, Name, Rejection};

/// What a [`Decision`] amounts to once the request may proceed: the last `route_to` and the last edit of a header win, limits
/// and meters add up.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where to send the request; `None` keeps the route's upstream.
    pub upstream: Option<Name>,
    /// The path that the upstream gets; `None` keeps the route's.
    pub path: Option<CanonicalPath>,
    /// Every limit to draw from, all or none.
    pub draws: Vec<Draw>,
    /// Headers to set (`Some`) or to remove (`None`), in the order in which the rules asked.
    pub header_edits: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Usage that is owed if the request was proxied.
    pub meters: Vec<Line>,
    /// For the access log; the last value of a key wins.
    pub tags: Vec<(Name, Name)>,
}

impl Decision {
    /// Folds the enforced entries. `open` says whether the route lets a request pass that no rule spoke about.
    ///
    /// A `deny` counts whatever was allowed before; a rule that failed denies; nothing that a failed rule recorded is applied.
    pub fn plan(&self, open: bool) -> Result<Plan, Ending> {
        if self.failed.is_some() {
            return Err(Rejection::RuleFailed.into());
        }
        let mut plan = Plan::default();
        let mut allowed = open;
        for entry in self.enforced() {
            match &entry.effect {
                Effect::Deny { status, reason } => {
                    return Err(Rejection::Denied { status: *status, reason: reason.clone() }.into());
                }
                Effect::Redirect { status, location } => {
                    return Err(Ending::Redirect { status: *status, location: location.clone() });
                }
                Effect::RedirectToLogin { return_to } => return Err(Ending::Login { return_to: return_to.clone() }),
                Effect::Respond { status, body } => {
                    return Err(Ending::Respond { status: *status, body: body.clone() });
                }
                Effect::Allow => allowed = true,
                Effect::RouteTo(upstream) => plan.upstream = Some(upstream.clone()),
                Effect::RouteShare(share) if share.is_in => plan.upstream = Some(share.upstream.clone()),
                Effect::RewritePath(path) => plan.path = Some(path.clone()),
                Effect::Throttle(draw) => plan.draws.push(draw.clone()),
                Effect::Meter(line) => plan.meters.push(line.clone()),
                Effect::SetHeader(name, value) => plan.header_edits.push((name.clone(), Some(value.clone()))),
                Effect::RemoveHeader(name) => plan.header_edits.push((name.clone(), None)),
                Effect::Tag(key, value) => {
                    plan.tags.retain(|(present, _)| present != key);
                    plan.tags.push((key.clone(), value.clone()));
                }
                Effect::RouteShare(_) | Effect::Log(..) => {}
            }
        }
        if allowed { Ok(plan) } else { Err(Rejection::NotAllowed.into()) }
    }
}
