use http::{HeaderName, HeaderValue};

/// `routes[].request_headers` and `routes[].response_headers`: removed first, then set, then added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Fields that go.
    pub remove: Vec<HeaderName>,
    /// Fields that replace all of their name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields beside those that are there.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// `routes[].rewrite`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// What stands before the pattern's `**` is replaced by this path; without a final slash, so `/` is the empty text.
    Prefix(String),
    /// The path, with names of the route's pattern and a final `/**` for what its own matched.
    Path(String),
}
