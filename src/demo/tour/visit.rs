use std::io;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// Why the tour ended early. It is a test as well: anything that did not come back as it should is an error.
#[derive(Debug, thiserror::Error)]
pub enum TourError {
    /// The gateway never got ready.
    #[error("the gateway is not ready after {seconds} s: {admin}/readyz says {said}")]
    NotReady {
        /// The operators' listener.
        admin: String,
        /// How long the tour waited.
        seconds: u64,
        /// The last answer.
        said: String,
    },
    /// A call got no answer at all.
    #[error("{what}: no answer")]
    NoAnswer {
        /// The call.
        what: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// A call got another answer than a shipped rule gives.
    #[error("{what}: expected {wanted}, got {got}")]
    Unexpected {
        /// The call.
        what: String,
        /// What the shipped configuration says.
        wanted: String,
        /// What came back.
        got: String,
    },
    /// Printing failed, or a token could not be signed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A caller of the gateway.
pub(super) struct Visitor {
    client: reqwest::Client,
    gateway: String,
}

/// What came back from one call.
#[derive(Debug)]
pub(super) struct Answer {
    what: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Visitor {
    pub(super) fn new(gateway: &str) -> Result<Self, TourError> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
        let client = client.map_err(|source| TourError::NoAnswer { what: "an HTTP client".to_owned(), source })?;
        Ok(Self { client, gateway: gateway.to_owned() })
    }

    pub(super) async fn call(&self, method: Method, path: &str, token: Option<&str>) -> Result<Answer, TourError> {
        self.fetch(method, &format!("{}{path}", self.gateway), token).await
    }

    pub(super) async fn fetch(&self, method: Method, url: &str, token: Option<&str>) -> Result<Answer, TourError> {
        let what = format!("{method} {url}");
        let no_answer = |source| TourError::NoAnswer { what: what.clone(), source };
        let mut request = self.client.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(no_answer)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(no_answer)?;
        Ok(Answer { what, status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl Answer {
    /// A header as text, or a dash.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-")
    }

    /// A text member of the JSON body, or a dash.
    pub(super) fn member(&self, name: &str) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body.get(name).and_then(Value::as_str).unwrap_or("-").to_owned()
    }

    /// Passed, and answered by this service.
    pub(super) fn served_by(&self, service: &str) -> Result<(), TourError> {
        let got = self.member("service");
        if self.status.is_success() && got == service {
            return Ok(());
        }
        Err(self.unexpected(format!("a 2xx from the {service} service")))
    }

    /// Refused by the gateway itself, for this reason.
    pub(super) fn refused(&self, status: u16, reason: &str) -> Result<(), TourError> {
        if self.status.as_u16() == status && self.member("reason") == reason {
            return Ok(());
        }
        Err(self.unexpected(format!("{status} with the reason {reason}")))
    }

    pub(super) fn unexpected(&self, wanted: String) -> TourError {
        let body: String = self.body.chars().take(300).collect();
        TourError::Unexpected { what: self.what.clone(), wanted, got: format!("{} {}", self.status.as_u16(), body.trim()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Services;

    #[tokio::test]
    async fn an_error_says_what_was_expected_and_what_came_back() {
        let services = Services::start([([127, 0, 0, 1], 0).into(); 3]).unwrap();
        // A gateway that lets everybody through.
        let gateway = format!("http://{}", services.orders());
        let answer = Visitor::new(&gateway).unwrap().call(Method::GET, "/v1/orders/fail", None).await.unwrap();
        let error = answer.refused(401, "token_required").unwrap_err().to_string();
        let start = format!("GET {gateway}/v1/orders/fail: expected 401 with the reason token_required, got 500 {{");
        assert!(error.starts_with(&start), "{error}");
        let error = answer.served_by("orders").unwrap_err().to_string();
        assert!(error.contains("expected a 2xx from the orders service, got 500"), "{error}");
    }
}
