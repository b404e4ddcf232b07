use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use crate::model::TokenFault;
use crate::model::settings::TokenFrom;

/// The token that a request carries: the first of the configured places that has one. Query and body are never looked at (RFC 9700
/// 4.3.2: they end up in logs and histories).
///
/// `Malformed` if a place holds two or something that is not text; `WrongKind` for the DPoP scheme, whose proof is not checked here.
pub(super) fn find<'a>(headers: &'a HeaderMap, places: &[TokenFrom]) -> Result<Option<&'a str>, TokenFault> {
    for place in places {
        let found = match place {
            TokenFrom::Authorization => bearer(headers)?,
            TokenFrom::Header(name) => only(headers.get_all(name).iter().map(http::HeaderValue::as_bytes))?,
            TokenFrom::Cookie(name) => only(cookies(headers).filter(|(n, _)| *n == name.as_bytes()).map(|(_, value)| value))?,
        };
        if let Some(token) = found {
            return Ok(Some(token));
        }
    }
    Ok(None)
}

/// RFC 6750 2.1 with RFC 9110 11.1: the scheme in any case, one or more spaces, the token.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, TokenFault> {
    let Some(credentials) = only(headers.get_all(AUTHORIZATION).iter().map(http::HeaderValue::as_bytes))? else {
        return Ok(None);
    };
    let (scheme, token) = credentials.split_once(' ').unwrap_or((credentials, ""));
    match token.trim_start_matches(' ') {
        _ if scheme.eq_ignore_ascii_case("dpop") => Err(TokenFault::WrongKind),
        _ if !scheme.eq_ignore_ascii_case("bearer") => Ok(None),
        "" => Err(TokenFault::Malformed),
        token => Ok(Some(token)),
    }
}

/// Every cookie of every `Cookie` header: HTTP/2 clients may send each in a header of its own (RFC 9113 8.2.3).
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';')).map(|pair| {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(equals);
        (name, value.get(1..).unwrap_or_default())
    })
}

/// An empty value, such as a cookie that was cleared, is no token.
fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Option<&'a str>, TokenFault> {
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(TokenFault::Malformed);
    }
    let text = std::str::from_utf8(first).map_err(|_| TokenFault::Malformed)?;
    Ok(if text.is_empty() { None } else { Some(text) })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn places() -> Vec<TokenFrom> {
        vec![
            TokenFrom::Authorization,
            TokenFrom::Cookie("app.at".into()),
            TokenFrom::Header(HeaderName::from_static("x-access-token")),
        ]
    }

    fn find_in(headers: &[(&'static str, &'static str)]) -> Result<Option<String>, TokenFault> {
        let headers: HeaderMap = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
        find(&headers, &places()).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn a18_each_place_is_read_by_its_own_rule() {
        for (headers, expected) in [
            (&[][..], None),
            (&[("authorization", "Bearer t")], Some("t")),
            (&[("authorization", "bearer t")], Some("t")),
            (&[("authorization", "BEARER   t")], Some("t")),
            (&[("authorization", "Basic dTpw")], None),
            (&[("authorization", "t")], None),
            (&[("authorization", "")], None),
            (&[("authorization", "Basic dTpw"), ("cookie", "app.at=c")], Some("c")),
            (&[("authorization", "Bearer t"), ("cookie", "app.at=c")], Some("t")),
            (&[("authorization", "Bearer t"), ("cookie", "app.at=c; app.at=d")], Some("t")),
            (&[("cookie", "app.at=c")], Some("c")),
            (&[("cookie", "a=b; app.at=c;d=e")], Some("c")),
            (&[("cookie", "a=b"), ("cookie", "app.at=c")], Some("c")),
            (&[("cookie", "App.at=c")], None),
            (&[("cookie", "xapp.at=c; app.at2=d")], None),
            (&[("cookie", "app.at")], None),
            (&[("cookie", "app.at=; b=c")], None),
            (&[("cookie", "app.at=c=d")], Some("c=d")),
            (&[("cookie", "app.at="), ("x-access-token", "h")], Some("h")),
            (&[("x-access-token", "Bearer h")], Some("Bearer h")),
        ] {
            assert_eq!(find_in(headers), Ok(expected.map(str::to_owned)), "{headers:?}");
        }
    }

    #[test]
    fn a18_what_is_there_twice_or_is_no_bearer_token_is_refused() {
        for (headers, expected) in [
            (&[("authorization", "Bearer t"), ("authorization", "Bearer t")][..], TokenFault::Malformed),
            (&[("authorization", "Basic dTpw"), ("authorization", "Bearer t")], TokenFault::Malformed),
            (&[("authorization", "Bearer")], TokenFault::Malformed),
            (&[("authorization", "Bearer  ")], TokenFault::Malformed),
            (&[("authorization", "DPoP t")], TokenFault::WrongKind),
            (&[("cookie", "app.at=c; app.at=c")], TokenFault::Malformed),
            (&[("cookie", "app.at=c"), ("cookie", "app.at=d")], TokenFault::Malformed),
            (&[("cookie", "app.at=; app.at=c")], TokenFault::Malformed),
            (&[("x-access-token", "a"), ("x-access-token", "b")], TokenFault::Malformed),
        ] {
            assert_eq!(find_in(headers), Err(expected), "{headers:?}");
        }
        let bytes = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(b"app.at=\xff").unwrap())]);
        assert_eq!(find(&bytes, &places()), Err(TokenFault::Malformed));
    }
}
