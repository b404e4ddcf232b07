use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, Result, Session};
use pingora::protocols::http::bridge::grpc_web::GrpcWebCtx;

use super::attempts::Attempts;
use super::compress::Encoder;
use super::websocket::Tunnel;
use super::{fault, guard};
use crate::gateway::{Gateway, Permit, Settlement, Snapshot, Trail, clock, traces};
use crate::model::{Decision, Ending, Facts, Moment, Outcome, OutcomeKind, ResponseFacts, TRACEPARENT, TRACESTATE};

/// One request and its answer: the state between pingora's hooks.
///
/// Settled exactly once, in `logging` or, when pingora never gets there (a panic, a shutdown that ran out of patience), in `Drop`.
pub struct Exchange {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    began: Moment,
    trail: Option<Trail>,
    permit: Option<Permit>,
    ending: Option<Ending>,
    /// What the `on_response` rules recorded.
    pub(super) reviewed: Option<Decision>,
    /// Compresses the answer, if that was agreed upon.
    pub(super) encoder: Option<Encoder>,
    /// The attempts to reach a server.
    pub(super) attempts: Attempts,
    /// The WebSocket that it became.
    pub(super) tunnel: Option<Box<Tunnel>>,
    /// What translates gRPC-Web.
    pub(super) bridge: Option<Box<GrpcWebCtx>>,
    /// Whether the connection has something to end it.
    pub(super) tethered: bool,
    /// How much of a body may still come.
    pub(super) allowed: guard::hooks::Allowed,
    status: u16,
    headers: HeaderMap,
    bytes_in: u64,
    bytes_out: u64,
    failure: Option<OutcomeKind>,
    completed: bool,
}

/// What judging needs, borrowed from an exchange.
pub(super) struct Started<'a> {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) trail: &'a mut Trail,
}

impl Exchange {
    pub(super) fn begin(gateway: &Arc<Gateway>) -> Self {
        gateway.enter();
        Self {
            gateway: Arc::clone(gateway),
            snapshot: gateway.snapshot(),
            began: clock::now(),
            trail: None,
            permit: None,
            ending: None,
            reviewed: None,
            encoder: None,
            attempts: Attempts::default(),
            tunnel: None,
            bridge: None,
            tethered: false,
            allowed: guard::hooks::Allowed::default(),
            status: 0,
            headers: HeaderMap::new(),
            bytes_in: 0,
            bytes_out: 0,
            failure: None,
            completed: false,
        }
    }

    pub(super) fn began(&self) -> Moment {
        self.began
    }

    pub(super) fn start(&mut self, facts: Facts) -> Started<'_> {
        let trace = traces::begin(self.snapshot.config.tracing.as_ref(), &facts.headers);
        let trail = self.trail.insert(Trail::new(Arc::new(facts)));
        trail.set_trace(trace);
        Started { snapshot: Arc::clone(&self.snapshot), trail }
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn trail(&self) -> Option<&Trail> {
        self.trail.as_ref()
    }

    pub(super) fn permit(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    pub(super) fn permitted(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Before the process stops, clients are told not to reuse their connections; over HTTP/2 pingora tells them by GOAWAY.
    pub(super) fn announce_close(&self, session: &mut Session) {
        if self.gateway.is_announcing() {
            session.set_keepalive(None);
        }
    }

    /// Tells the upstream which trace the request belongs to.
    pub(super) fn pass_trace_on(&self, request: &mut RequestHeader) -> Result<()> {
        let Some(trace) = self.trail.as_ref().and_then(Trail::trace) else { return Ok(()) };
        request.insert_header(TRACEPARENT, trace.traceparent())?;
        match &trace.state {
            Some(state) => request.insert_header(TRACESTATE, state.clone())?,
            None => drop(request.remove_header(&TRACESTATE)),
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, status: u16, headers: HeaderMap) {
        self.status = status;
        self.headers = headers;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    pub(super) fn failed(&mut self, kind: OutcomeKind) {
        self.failure = Some(kind);
    }

    pub(super) fn finish(&mut self, session: &Session, error: Option<&Error>) {
        // What reached the socket, not what was handed over for it: a client that left is billed for what it got.
        self.bytes_out = session.body_bytes_sent() as u64;
        self.bytes_in = self.bytes_in.max(session.body_bytes_read() as u64);
        if self.status == 0 {
            self.status = session.response_written().map_or(0, |response| response.status.as_u16());
        }
        self.completed = error.is_none();
        if let (Some(error), None, None) = (error, self.failure, &self.ending) {
            self.failure = Some(fault::kind(error));
        }
        self.settle();
    }

    fn settle(&mut self) {
        let Some(mut trail) = self.trail.take() else { return };
        if self.attempts.made > 0 {
            trail.set_upstream_began(self.attempts.began);
        }
        let kind = match (&self.ending, self.failure) {
            (_, Some(OutcomeKind::ClientClosed)) => OutcomeKind::ClientClosed,
            (Some(ending), _) => ending.kind(),
            (None, Some(kind)) => kind,
            (None, None) if self.completed => OutcomeKind::Proxied,
            (None, None) => OutcomeKind::ClientClosed,
        };
        let upstream = self.attempts.took.and(self.permit.as_ref()).map(|permit| permit.upstream().pool.name().clone());
        let outcome = Outcome {
            kind,
            response: ResponseFacts {
                status: self.status,
                headers: std::mem::take(&mut self.headers),
                body_bytes: self.bytes_out,
                duration: Duration::ZERO,
                upstream,
                completed: self.completed,
            },
            bytes_in: self.bytes_in,
            upstream_took: self.attempts.took,
            server: self.attempts.server.take(),
            attempts: self.attempts.made,
        };
        self.gateway.settler.take(Settlement {
            gateway: Arc::clone(&self.gateway),
            snapshot: Arc::clone(&self.snapshot),
            trail,
            permit: self.permit.take(),
            ending: self.ending.take(),
            reviewed: self.reviewed.take(),
            outcome,
            at: clock::now(),
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.settle();
        self.gateway.leave();
    }
}
