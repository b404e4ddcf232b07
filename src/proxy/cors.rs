//! The CORS protocol of the Fetch standard: who may read an answer, and what a preflight is told.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;

use crate::model::Facts;
use crate::model::settings::{Cors, CorsOrigins};

/// Lets the page that asked read this answer, if its origin may. What the upstream said about it is replaced: two policies would be
/// none.
pub(super) fn answer(cors: &Cors, facts: &Facts, head: &mut ResponseHeader) -> Result<()> {
    let theirs: Vec<HeaderName> = head.headers.keys().filter(|name| is_cors(name)).cloned().collect();
    for name in &theirs {
        head.remove_header(name);
    }
    if cors.origins != CorsOrigins::Every {
        // Also without an origin, and also for a strange one: a cache must not give this answer to another page.
        vary(head, "Origin")?;
    }
    let Some(origin) = facts.headers.get(header::ORIGIN) else { return Ok(()) };
    let Some(allowed) = allowed(&cors.origins, origin) else { return Ok(()) };
    head.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed)?;
    if cors.credentials {
        head.insert_header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")?;
    }
    if let Some(expose) = &cors.expose {
        head.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose)?;
    }
    Ok(())
}

/// The same for a preflight, with what the page may send.
pub(super) fn preflight(cors: &Cors, facts: &Facts, head: &mut ResponseHeader) -> Result<()> {
    answer(cors, facts, head)?;
    head.remove_header(&header::ACCESS_CONTROL_EXPOSE_HEADERS);
    if cors.headers.is_none() {
        vary(head, "Access-Control-Request-Headers")?;
    }
    if !head.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return Ok(());
    }
    head.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, &cors.methods)?;
    let asked = || facts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|value| is_list(value));
    if let Some(headers) = cors.headers.as_ref().or_else(asked) {
        head.insert_header(header::ACCESS_CONTROL_ALLOW_HEADERS, headers)?;
    }
    head.insert_header(header::ACCESS_CONTROL_MAX_AGE, cors.max_age.as_secs())
}

/// Adds a name to `Vary`.
pub(super) fn vary(head: &mut ResponseHeader, name: &'static str) -> Result<()> {
    if !varies(&head.headers, name) {
        head.append_header(header::VARY, name)?;
    }
    Ok(())
}

fn varies(headers: &HeaderMap, name: &str) -> bool {
    let lines = headers.get_all(header::VARY).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|known| known.trim() == "*" || known.trim().eq_ignore_ascii_case(name))
}

fn is_cors(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

/// What `Access-Control-Allow-Origin` says to this origin.
fn allowed(origins: &CorsOrigins, origin: &HeaderValue) -> Option<HeaderValue> {
    match origins {
        CorsOrigins::Every => Some(HeaderValue::from_static("*")),
        CorsOrigins::Listed(listed) => {
            let text = origin.to_str().ok()?;
            listed.iter().any(|known| known.is(text)).then(|| origin.clone())
        }
    }
}

/// Whether this can be repeated: a list of names, and not a long one.
fn is_list(value: &HeaderValue) -> bool {
    const LONGEST: usize = 1024;
    value.len() <= LONGEST && value.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_, ".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_list_of_names_is_repeated() {
        for (text, expected) in [("content-type, x-a", true), ("x_a", true), ("a\tb", false), ("a;b", false), ("é", false)] {
            assert_eq!(is_list(&HeaderValue::from_str(text).unwrap()), expected, "{text}");
        }
    }
}
