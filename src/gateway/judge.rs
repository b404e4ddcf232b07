use super::{Lasting, Permit, Snapshot, Trail};
use crate::model::Ending;

/// The life of a request up to the moment it may leave. Each line is one stage; each stage sees only the values before it.
///
/// The trail keeps what every stage found, so that a refusal is logged, counted and billed from the same values as an answer.
pub async fn judge(snapshot: &Snapshot, lasting: &Lasting, trail: &mut Trail) -> Result<Permit, Ending> {
    let facts = trail.facts();
    let route = trail.matched(snapshot.route(&facts))?;
    route.admits(&facts)?; // barred addresses, preflights and maintenance leave here
    let caller = trail.identified(snapshot.identify(&facts, route.auth()).await)?;
    let decision = trail.decided(snapshot.rules.decide(&route.rules, &facts, route.name(), &caller));
    let plan = decision.plan(route.is_open())?; // a rule's own deny or reply leaves here
    let pool = route.pool(&plan, &facts, snapshot)?; // a route's fixed answer or redirect leaves here
    lasting.accepts_usage()?;
    let admission = trail.admitted(lasting.throttling.admit(&plan.draws, facts.received_at))?;
    Ok(Permit::new(plan, pool, admission))
}
