//! From a request on the wire to [`Facts`], or a refusal: canonicalise before anything is decided.

use http::{HeaderMap, Method, Version, header};
use pingora::prelude::Session;

use super::door::{self, Connection};
use super::{Exchange, framing};
use crate::identity;
use crate::model::{CanonicalPath, Ending, Facts, Malformed, Protocol, Rejection, RequestId};

/// Bytes of a request target.
const TARGET: usize = 8 << 10;

/// Header fields; names and values of one, and of all, in bytes.
const FIELDS: usize = 100;
const ONE_FIELD: usize = 20 << 10;
const ALL_FIELDS: usize = 32 << 10;

/// The methods of RFC 9110 and RFC 5789 without CONNECT, and without TRACE: it would echo the token to whoever can send it.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

impl From<Malformed> for Ending {
    fn from(malformed: Malformed) -> Self {
        Rejection::BadRequest(malformed).into()
    }
}

/// Reads a request. What is refused, or belongs elsewhere, comes with as many facts as are safe to log.
pub(super) fn read(session: &Session, exchange: &Exchange) -> (Facts, Result<(), Ending>) {
    let at = exchange.began();
    let connection = Connection::of(session);
    let request = session.req_header();
    let mut facts = Facts {
        method: request.method.clone(),
        protocol: match request.version {
            Version::HTTP_2 => Protocol::Http2,
            Version::HTTP_10 => Protocol::Http10,
            _ => Protocol::Http11,
        },
        ..Facts::unknown(RequestId::new(at, fastrand::u128(..)), at)
    };
    if let Some(connection) = connection {
        door::describe(connection, request, &exchange.snapshot().config.trusted_proxies, &mut facts);
    }
    let verdict = examine(session, &mut facts);
    identity::take_from_query(&exchange.snapshot().config.identity, &mut facts);
    let verdict = match (verdict, connection) {
        (Err(malformed), _) => Err(malformed.into()),
        (Ok(()), Some(connection)) => door::direct(connection, &facts, &exchange.gateway().lasting.challenges),
        // Every connection comes through the door.
        (Ok(()), None) => Err(Rejection::Internal.into()),
    };
    (facts, verdict)
}

fn examine(session: &Session, facts: &mut Facts) -> Result<(), Malformed> {
    let request = session.req_header();
    let target = request.raw_path();
    if target.len() > TARGET {
        return Err(Malformed::TargetTooLong);
    }
    check_fields(&request.headers)?;
    if session.as_ref().as_http1().is_some() && request.version <= Version::HTTP_11 {
        framing::check(&session.to_h1_raw())?;
    }
    if !METHODS.contains(&request.method) {
        return Err(Malformed::Method);
    }
    facts.host = host(&request.headers, request.uri.authority().map(|authority| authority.as_str()))?;
    facts.port = port(&request.headers, request.uri.authority().map(|authority| authority.as_str()));
    let (path, query) = split_target(target)?;
    facts.path = CanonicalPath::parse(path).map_err(|_| Malformed::Path)?;
    facts.query = query.map(str::to_owned);
    facts.headers = request.headers.clone();
    Ok(())
}

fn check_fields(headers: &HeaderMap) -> Result<(), Malformed> {
    if headers.len() > FIELDS {
        return Err(Malformed::HeadersTooLarge);
    }
    let mut all = 0;
    for (name, value) in headers {
        let size = name.as_str().len() + value.len();
        all += size;
        if size > ONE_FIELD || all > ALL_FIELDS {
            return Err(Malformed::HeadersTooLarge);
        }
        // `X_User` and `X.User` reach CGI-like servers as the same variable as `X-User`.
        if name.as_str().bytes().any(|byte| byte == b'_' || byte == b'.') {
            return Err(Malformed::HeaderName);
        }
    }
    if headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        return Err(Malformed::TwoAuthorizations);
    }
    match headers.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Err(Malformed::Expectation),
        _ => Ok(()),
    }
}

/// The host of HTTP/1 (`Host`) or HTTP/2 (`:authority`), lower case, without port and trailing dot.
fn host(headers: &HeaderMap, authority: Option<&str>) -> Result<String, Malformed> {
    let mut fields = headers.get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(only), None) => Some(only.to_str().map_err(|_| Malformed::Host)?),
        (None, _) => None,
        _ => return Err(Malformed::Host),
    };
    let text = match (field, authority) {
        (Some(field), Some(authority)) if !field.eq_ignore_ascii_case(authority) => return Err(Malformed::Host),
        (Some(text), _) | (None, Some(text)) => text,
        (None, None) => return Err(Malformed::Host),
    };
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(Malformed::Host)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| Malformed::Host)?;
            (address, port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = port.strip_prefix(':').unwrap_or(if port.is_empty() { "0" } else { "x" });
    if port.parse::<u16>().is_err() {
        return Err(Malformed::Host);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_');
    if name.is_empty() || name.len() > 255 || !name.bytes().all(is_name) || name.starts_with('.') || name.contains("..") {
        return Err(Malformed::Host);
    }
    Ok(name.to_ascii_lowercase())
}

/// The port behind a host that was accepted.
fn port(headers: &HeaderMap, authority: Option<&str>) -> Option<u16> {
    let text = headers.get(header::HOST).and_then(|field| field.to_str().ok()).or(authority)?;
    text.rsplit(']').next()?.split_once(':')?.1.parse().ok()
}

/// Path and query of an origin-form or absolute-form target (RFC 9112 §3.2); pingora has compared the latter's host with `Host`.
fn split_target(target: &[u8]) -> Result<(&str, Option<&str>), Malformed> {
    let target = std::str::from_utf8(target).map_err(|_| Malformed::Target)?;
    let origin = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            match rest.find(['/', '?']) {
                Some(at) => rest.get(at..).unwrap_or_default(),
                None => "/",
            }
        }
        _ => target,
    };
    let (path, query) = match origin.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin, None),
    };
    if !path.starts_with('/') {
        return Err(Malformed::Target);
    }
    match query {
        Some(query) if !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') => Err(Malformed::Target),
        _ => Ok((path, query)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn rfc9112_hosts_have_one_spelling() {
        for (field, expected) in [
            ("api.example.com", Ok("api.example.com")),
            ("API.Example.com:8080", Ok("api.example.com")),
            ("api.example.com.", Ok("api.example.com")),
            ("127.0.0.1:80", Ok("127.0.0.1")),
            ("[::1]:8080", Ok("::1")),
            ("", Err(Malformed::Host)),
            ("h, evil", Err(Malformed::Host)),
            ("h/evil", Err(Malformed::Host)),
            ("user@h", Err(Malformed::Host)),
            ("h:", Err(Malformed::Host)),
            ("h:80:80", Err(Malformed::Host)),
            ("h:99999", Err(Malformed::Host)),
            ("[::1", Err(Malformed::Host)),
            ("..", Err(Malformed::Host)),
        ] {
            assert_eq!(host(&headers(&[("host", field)]), None).as_deref(), expected.as_ref().map(|h| &**h), "{field}");
        }
        assert_eq!(host(&headers(&[]), None), Err(Malformed::Host));
        assert_eq!(host(&headers(&[("host", "a"), ("host", "a")]), None), Err(Malformed::Host));
        assert_eq!(host(&headers(&[("host", "a")]), Some("b")), Err(Malformed::Host));
        assert_eq!(host(&headers(&[]), Some("b")).as_deref(), Ok("b"));
    }

    #[test]
    fn ports_are_what_clients_name() {
        for (field, expected) in
            [("a", None), ("a:8443", Some(8443)), ("[::1]", None), ("[::1]:80", Some(80)), ("127.0.0.1:443", Some(443))]
        {
            assert_eq!(port(&headers(&[("host", field)]), None), expected, "{field}");
            assert_eq!(port(&headers(&[]), Some(field)), expected, "{field}");
        }
    }

    #[test]
    fn rfc9112_targets_are_split_once() {
        assert_eq!(split_target(b"/a/b?x=1&y=/z"), Ok(("/a/b", Some("x=1&y=/z"))));
        assert_eq!(split_target(b"/a??"), Ok(("/a", Some("?"))));
        assert_eq!(split_target(b"http://h/a"), Ok(("/a", None)));
        assert_eq!(split_target(b"http://h"), Ok(("/", None)));
        for bad in [&b"admin"[..], b"?x", b"*", b"h:80", b"http://h?x", b"/a?b#c", b"/a?\xc3\xa9", b"ftp://h/a"] {
            assert_eq!(split_target(bad), Err(Malformed::Target), "{bad:?}");
        }
    }

    #[test]
    fn fields_that_two_servers_read_differently_are_refused() {
        assert_eq!(check_fields(&headers(&[("x-user", "a")])), Ok(()));
        assert_eq!(check_fields(&headers(&[("x_user", "a")])), Err(Malformed::HeaderName));
        assert_eq!(check_fields(&headers(&[("x.user", "a")])), Err(Malformed::HeaderName));
        assert_eq!(check_fields(&headers(&[("content_length", "1")])), Err(Malformed::HeaderName));
        let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]);
        assert_eq!(check_fields(&twice), Err(Malformed::TwoAuthorizations));
        assert_eq!(check_fields(&headers(&[("expect", "200-ok")])), Err(Malformed::Expectation));
        assert_eq!(check_fields(&headers(&[("expect", "100-Continue")])), Ok(()));
    }
}
