use std::time::Duration;

use http::HeaderValue;

/// `routes[].cors` (the Fetch standard, "CORS protocol").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Who may read the answers.
    pub origins: CorsOrigins,
    /// What a preflight allows, as `Access-Control-Allow-Methods` says it.
    pub methods: HeaderValue,
    /// Request headers that a preflight allows; `None` repeats what it asks for.
    pub headers: Option<HeaderValue>,
    /// Answer headers that scripts may read.
    pub expose: Option<HeaderValue>,
    /// Whether cookies and other credentials may come along; never with every origin.
    pub credentials: bool,
    /// How long a browser may remember a preflight.
    pub max_age: Duration,
}

/// `routes[].cors.origins`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// `*`
    Every,
    /// These.
    Listed(Vec<CorsOrigin>),
}

/// One origin, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// `https://app.example.com`
    Exactly(String),
    /// `https://*.example.com`: one label or more in front.
    Below {
        /// `https://`
        scheme: String,
        /// `.example.com`, with the port if there is one.
        suffix: String,
    },
}
