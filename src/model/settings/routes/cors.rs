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

impl Cors {
    /// Whether pages of this origin may send cookies along: they are trusted like the site's own.
    pub fn trusts(&self, origin: &str) -> bool {
        match &self.origins {
            CorsOrigins::Every => false,
            CorsOrigins::Listed(listed) => self.credentials && listed.iter().any(|known| known.is(origin)),
        }
    }
}

impl CorsOrigin {
    /// Whether an `Origin` is this one, or one of these.
    pub fn is(&self, origin: &str) -> bool {
        match self {
            Self::Exactly(known) => known.eq_ignore_ascii_case(origin),
            Self::Below { scheme, suffix } => {
                let Some((start, rest)) = origin.split_at_checked(scheme.len()) else { return false };
                let Some((labels, end)) = rest.len().checked_sub(suffix.len()).and_then(|at| rest.split_at_checked(at)) else {
                    return false;
                };
                let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                start.eq_ignore_ascii_case(scheme)
                    && end.eq_ignore_ascii_case(suffix)
                    && !labels.is_empty()
                    && !labels.starts_with('.')
                    && labels.bytes().all(is_host)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_a_whole() {
        let below = CorsOrigin::Below { scheme: "https://".into(), suffix: ".example.com".into() };
        for (origin, expected) in [
            ("https://app.example.com", true),
            ("https://a.b.example.com", true),
            ("HTTPS://App.Example.Com", true),
            ("https://example.com", false),
            ("https://.example.com", false),
            ("http://app.example.com", false),
            ("https://app.example.com:8443", false),
            ("https://app.example.com.evil.example", false),
            ("https://evilexample.com", false),
            ("https://evil.example/.example.com", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(below.is(origin), expected, "{origin}");
        }
        let exactly = CorsOrigin::Exactly("https://app.example.com".into());
        assert!(exactly.is("https://app.example.com"));
        assert!(!exactly.is("https://app.example.com."));
    }
}
