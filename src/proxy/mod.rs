//! Pingora's hooks, one line each: everything they decide is decided elsewhere.

mod attempts;
mod compress;
mod cors;
mod door;
mod exchange;
mod fault;
mod forward;
mod framing;
mod grpc;
mod guard;
mod intake;
pub mod listen;
mod pages;
pub mod probe;
mod reply;
mod tether;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::{Error, HttpPeer, ProxyHttp, Result, Session};
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyWarnLogContext};

pub use exchange::Exchange;

use crate::gateway::{Gateway, judge};

/// The gateway as pingora sees it.
pub struct Front(Arc<Gateway>);

impl Front {
    /// Puts the gateway behind pingora.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self(gateway)
    }
}

#[async_trait]
impl ProxyHttp for Front {
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(Exchange::begin(&self.0))
    }

    /// None: the default list holds a compression module that is off and still runs for every chunk.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, exchange: &mut Self::CTX) -> Result<()> {
        listen::limit(session);
        exchange.announce_close(session);
        guard::hooks::begin(session, exchange);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Self::CTX) -> Result<bool> {
        if let Some(overloaded) = guard::hooks::shed(session, exchange).await {
            return reply::send(session, exchange, overloaded).await.map(|()| true);
        }
        let (facts, verdict) = intake::read(session, exchange.began(), &exchange.snapshot().config.trusted_proxies);
        let started = exchange.start(facts);
        if let Err(ending) = verdict {
            return reply::send(session, exchange, ending).await.map(|()| true);
        }
        if let Err(ending) = guard::hooks::admit(session, &started.snapshot, &started.trail.facts()) {
            return reply::send(session, exchange, ending).await.map(|()| true);
        }
        match judge(&started.snapshot, &self.0.lasting, started.trail).await {
            Ok(permit) => exchange.permit(permit),
            Err(ending) => return reply::send(session, exchange, ending).await.map(|()| true),
        }
        if let Err(ending) = guard::hooks::measure(session, exchange) {
            return reply::send(session, exchange, ending).await.map(|()| true);
        }
        Ok(false)
    }

    async fn upstream_peer(&self, session: &mut Session, exchange: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        forward::pick(exchange).map(|peer| websocket::lift(session, exchange, peer))
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        _: &HttpPeer,
        _: std::os::fd::RawFd,
        digest: Option<&Digest>,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        forward::inspect_connection(digest, exchange)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, exchange: &mut Self::CTX, error: Box<Error>) -> Box<Error> {
        forward::retry_connecting(exchange, error)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        forward::retry_sending(exchange, session, error, reused)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        forward::shape_request(session, request, exchange)?;
        grpc::bridge_request(request, exchange);
        exchange.pass_trace_on(request)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        let bytes = body.as_ref().map_or(0, Bytes::len);
        exchange.received(bytes);
        guard::hooks::receive(session, bytes, is_end, exchange)?;
        websocket::received(session, body, exchange).await;
        forward::keep_deadline(exchange)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        forward::review(session, response, exchange)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        guard::hooks::answer(session, response, exchange);
        door::adorn(session, response)?;
        exchange.announce_close(session);
        forward::shape_response(response, exchange)?;
        grpc::bridge_response(response, exchange);
        websocket::begin(session, response, exchange)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        is_last: bool,
        exchange: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        if let Some(encoder) = &mut exchange.encoder {
            encoder.encode(body, is_last)?;
        }
        exchange.sent(body.as_ref().map_or(0, Bytes::len));
        websocket::sent(body.as_ref(), exchange);
        forward::keep_deadline(exchange)?;
        exchange.attempts.came_to_its_end(is_last);
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        exchange: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        grpc::bridge_trailers(trailers, exchange)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Self::CTX) -> FailToProxy {
        websocket::explain(session, exchange);
        let error_code = reply::fail(session, exchange, error).await;
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Self::CTX) {
        websocket::release(session, exchange);
        exchange.finish(session, error);
    }

    /// Failures are counted, logged in the access log and by [`fault::log`]; pingora would add a line for every client that hung up.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Self::CTX, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
