use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// `routes[].respond`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedAnswer {
    /// 200 to 599.
    pub status: u16,
    /// The `Content-Type` of a body that is not empty.
    pub content_type: HeaderValue,
    /// Sent as it is.
    pub body: Bytes,
    /// Further header fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// `routes[].redirect`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// An absolute URL or a path, with `{path}` and the names of the route's pattern.
    pub to: String,
    /// Whether the request's query is appended.
    pub keeps_query: bool,
}

/// `routes[].security_headers`: each is set where the upstream did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// In the order in which they are sent.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Whether they replace what the upstream says.
    pub replaces: bool,
}

/// `routes[].compress`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// In the order of preference, for clients that have none.
    pub algorithms: Vec<Coding>,
    /// Bodies that are known to be smaller stay as they are.
    pub minimum: u64,
    /// Lower-case media types; `text/*` is every type of text.
    pub types: Vec<String>,
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The token of `Accept-Encoding` and `Content-Encoding`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// `error_pages`: what browsers get instead of a problem document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ErrorPages {
    /// The same as everybody.
    #[default]
    Off,
    /// The page that is built in.
    Standard,
    /// The operator's page, with `{status}`, `{title}`, `{reason}` and `{request_id}`.
    Template(String),
}
