use super::{BodySource, Lasting, Permit, Snapshot, Trail, endpoints, identify};
use crate::model::Ending;

/// The life of a request up to the moment it may leave. Each line is one stage; each stage sees only the values before it.
///
/// The trail keeps what every stage found, so that a refusal is logged, counted and billed from the same values as an answer.
pub async fn judge<B: BodySource>(
    snapshot: &Snapshot,
    lasting: &Lasting,
    trail: &mut Trail,
    body: &mut B,
) -> Result<Permit, Ending> {
    endpoints::answer(snapshot, lasting, trail, body).await?; // the gateway's own: login, webhooks, metadata
    let facts = trail.facts();
    let route = trail.matched(snapshot.route(&facts))?;
    route.admits(&facts)?; // barred addresses, preflights and maintenance leave here
    let caller = identify::identify(snapshot, lasting, trail, &facts, &route).await?; // browsers nobody knows leave for the login
    let facts = trail.read(facts, route.rule_body(), body).await?; // nothing, on almost every route
    let decision = trail.decided(snapshot.rules.decide(&route.rules, &facts, route.name(), &caller));
    let plan = decision.plan(route.is_open());
    let plan = identify::after_rules(snapshot, lasting, trail, plan).await?; // a rule's own deny or reply leaves here
    let pool = route.pool(&plan, &facts, snapshot)?; // a route's fixed answer or redirect leaves here
    lasting.accepts_usage()?;
    let admission = trail.admitted(lasting.throttling.admit(&plan.draws, facts.received_at))?;
    Ok(Permit::new(plan, pool, admission))
}
