use super::{BodySource, Lasting, Permit, Snapshot, Trail, endpoints};
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
    let caller = trail.identified(snapshot.identify(&facts, route.auth()).await)?;
    let facts = trail.read(facts, route.rule_body(), body).await?; // nothing, on almost every route
    let decision = trail.decided(snapshot.rules.decide(&route.rules, &facts, route.name(), &caller));
    let plan = decision.plan(route.is_open())?; // a rule's own deny or reply leaves here
    let pool = route.pool(&plan, &facts, snapshot)?; // a route's fixed answer or redirect leaves here
    lasting.accepts_usage()?;
    let admission = trail.admitted(lasting.throttling.admit(&plan.draws, facts.received_at))?;
    Ok(Permit::new(plan, pool, admission))
}
