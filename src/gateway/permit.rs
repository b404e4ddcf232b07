use std::sync::Arc;

use crate::metrics::UpstreamHandles;
use crate::model::Plan;
use crate::throttling::Admission;
use crate::traffic::Pool;

/// The only key that opens `forward`: a request that was not judged cannot be proxied, because nobody else can make one.
#[derive(Debug)]
pub struct Permit {
    plan: Plan,
    upstream: Arc<UpstreamEntry>,
    admission: Admission,
}

/// An upstream with what is counted for it.
#[derive(Debug)]
pub struct UpstreamEntry {
    /// Its servers.
    pub pool: Arc<Pool>,
    /// Its metrics.
    pub handles: UpstreamHandles,
}

impl Permit {
    pub(super) fn new(plan: Plan, upstream: Arc<UpstreamEntry>, admission: Admission) -> Self {
        Self { plan, upstream, admission }
    }

    /// What the rules asked for.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where the request goes.
    pub fn upstream(&self) -> &Arc<UpstreamEntry> {
        &self.upstream
    }

    /// What is left of the limits.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }
}
