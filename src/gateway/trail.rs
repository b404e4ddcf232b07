use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{BodySource, RouteEntry, clock};
use crate::model::{Caller, Decision, Facts, Rejection, Throttled, Trace};
use crate::throttling::Admission;

/// What the stages found on the way, also when one of them refused: everything that the access log, the metrics and the bill
/// are made from.
#[derive(Debug)]
pub struct Trail {
    facts: Arc<Facts>,
    route: Option<Arc<RouteEntry>>,
    caller: Option<Caller>,
    refused: Option<Rejection>,
    decision: Option<Arc<Decision>>,
    marks: Marks,
    trace: Option<Trace>,
    upstream_began: Option<Duration>,
    cookies: Vec<HeaderValue>,
}

/// When each stage ended, on the steady clock.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    last: Duration,
    identified: Option<Duration>,
    decided: Option<Duration>,
    admitted: Option<Duration>,
}

impl Trail {
    /// Begins with what arrived.
    pub fn new(facts: Arc<Facts>) -> Self {
        let marks = Marks { last: facts.received_at.steady(), ..Marks::default() };
        Self {
            facts,
            route: None,
            caller: None,
            refused: None,
            decision: None,
            marks,
            trace: None,
            upstream_began: None,
            cookies: Vec::new(),
        }
    }

    /// What arrived.
    pub fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts)
    }

    /// The route, once one matched.
    pub fn route(&self) -> Option<&Arc<RouteEntry>> {
        self.route.as_ref()
    }

    /// The caller, once known.
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// Why the caller could not be known.
    pub fn refused(&self) -> Option<&Rejection> {
        self.refused.as_ref()
    }

    /// What the `on_request` rules recorded, once they ran.
    pub fn decision(&self) -> Option<&Arc<Decision>> {
        self.decision.as_ref()
    }

    /// Puts the request into a trace.
    pub fn set_trace(&mut self, trace: Option<Trace>) {
        self.trace = trace;
    }

    /// The trace that the request belongs to.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// Notes when the upstream that answered, or was to, was asked.
    pub fn set_upstream_began(&mut self, began: Duration) {
        self.upstream_began = Some(began);
    }

    /// When that was, on the steady clock.
    pub fn upstream_began(&self) -> Option<Duration> {
        self.upstream_began
    }

    /// The answer, whoever gives it, sets this cookie: a whole `Set-Cookie` field.
    pub fn set_cookie(&mut self, cookie: HeaderValue) {
        self.cookies.push(cookie);
    }

    /// The `Set-Cookie` fields of the answer.
    pub fn cookies(&self) -> &[HeaderValue] {
        &self.cookies
    }

    pub(super) fn matched(&mut self, route: Option<&Arc<RouteEntry>>) -> Result<Arc<RouteEntry>, Rejection> {
        let route = route.ok_or(Rejection::NoRoute)?;
        route.handles.began();
        self.route = Some(Arc::clone(route));
        Ok(Arc::clone(route))
    }

    /// Adds the body to what arrived, if rules may read it.
    pub(super) async fn read<B: BodySource>(
        &mut self,
        facts: Arc<Facts>,
        most: Option<usize>,
        body: &mut B,
    ) -> Result<Arc<Facts>, Rejection> {
        let Some(most) = most else { return Ok(facts) };
        // In a box, so that requests without a body to read do not carry the room for it.
        let body = Box::pin(body.read(most)).await?;
        drop(facts);
        Arc::make_mut(&mut self.facts).body = body;
        Ok(self.facts())
    }

    pub(super) fn identified(&mut self, caller: Result<Caller, Rejection>) -> Result<Caller, Rejection> {
        self.marks.identified = Some(self.lap());
        match &caller {
            Ok(caller) => self.caller = Some(caller.clone()),
            Err(rejection) => self.refused = Some(rejection.clone()),
        }
        caller
    }

    pub(super) fn decided(&mut self, decision: Decision) -> Arc<Decision> {
        self.marks.decided = Some(self.lap());
        let decision = Arc::new(decision);
        self.decision = Some(Arc::clone(&decision));
        decision
    }

    pub(super) fn admitted(&mut self, admission: Result<Admission, Throttled>) -> Result<Admission, Rejection> {
        self.marks.admitted = Some(self.lap());
        admission.map_err(Rejection::Throttled)
    }

    /// How long identity, rules and limits took, as far as the request came.
    pub(super) fn laps(&self) -> [Option<Duration>; 3] {
        [self.marks.identified, self.marks.decided, self.marks.admitted]
    }

    fn lap(&mut self) -> Duration {
        let now = clock::steady();
        let took = now.saturating_sub(self.marks.last);
        self.marks.last = now;
        took
    }
}
