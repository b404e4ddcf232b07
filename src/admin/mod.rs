//! The operators' listener: metrics, health and status. Never on a public address unless the operator says so.

mod observe;
mod reload;
mod revoke;
mod status;
mod upstreams;

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use tokio::sync::mpsc;

pub use self::reload::{ReloadReport, ReloadRequest};
use crate::gateway::Gateway;

/// Answers operators.
pub struct Console {
    gateway: Arc<Gateway>,
    /// On loopback only names of loopback are answered: a page in the operator's browser that rebinds its own name to 127.0.0.1
    /// would otherwise read what it likes.
    only_loopback_names: bool,
    /// Who loads the configuration again; `None` for a gateway that has no file.
    reloads: Option<mpsc::Sender<ReloadRequest>>,
}

impl Console {
    /// A console for the address that the configuration names.
    pub fn new(gateway: Arc<Gateway>, reloads: Option<mpsc::Sender<ReloadRequest>>) -> Self {
        let only_loopback_names = gateway.snapshot().config.admin.ip().is_loopback();
        Self { gateway, only_loopback_names, reloads }
    }

    fn answer(&self, method: &Method, path: &str, host: Option<&str>) -> Response<Vec<u8>> {
        if self.only_loopback_names && !host.is_some_and(is_loopback_name) {
            return text(StatusCode::FORBIDDEN, "this listener answers to localhost only\n");
        }
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD, and POST /reload and /revoke\n");
        }
        match path {
            "/metrics" => {
                let exposed = self.gateway.lasting.metrics.expose(&observe::observe(&self.gateway));
                reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", exposed)
            }
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.gateway.is_ready() => text(StatusCode::OK, "ok\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, self.unready()),
            "/status" => reply(StatusCode::OK, "application/json", status::status(&self.gateway)),
            "/reload" | "/revoke" => text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n"),
            _ => text(StatusCode::NOT_FOUND, "not here; try /metrics, /livez, /readyz or /status\n"),
        }
    }

    fn unready(&self) -> &'static str {
        if self.gateway.is_draining() {
            "stopping\n"
        } else {
            "an issuer's keys are missing, or the servers' names were not looked up yet; see /status\n"
        }
    }
}

#[async_trait]
impl ServeHttp for Console {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let path = std::str::from_utf8(request.raw_path()).unwrap_or_default();
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let is_for_us = !self.only_loopback_names || host.is_some_and(is_loopback_name);
        if request.method == Method::POST && path == "/reload" && is_for_us {
            return reload::reload(&request.headers, self.only_loopback_names, self.reloads.as_ref()).await;
        }
        if request.method == Method::POST && path == "/revoke" && is_for_us {
            return revoke::revoke(session, self.only_loopback_names, &self.gateway).await;
        }
        let mut response = self.answer(&request.method, path, host);
        if request.method == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn text(status: StatusCode, body: &str) -> Response<Vec<u8>> {
    reply(status, "text/plain; charset=utf-8", body.into())
}

fn reply(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    *response.body_mut() = body;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_pass() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:9090", true),
            ("127.0.0.1:9090", true),
            ("127.9.9.9", true),
            ("[::1]:9090", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("10.0.0.1:9090", false),
            ("", false),
        ] {
            assert_eq!(is_loopback_name(host), expected, "{host}");
        }
    }
}
