use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};

use crate::model::settings::{self, Secret, TokenFrom};
use crate::model::{Facts, TokenFault};

pub(super) const PROOF: HeaderName = HeaderName::from_static("dpop");

/// What a request shows to say who sent it. Nothing in it is to be believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// A token that works for whoever has it (RFC 6750).
    Bearer(&'a str),
    /// A token with the proof that its sender has a key (RFC 9449).
    Dpop {
        token: &'a str,
        proof: &'a str,
    },
    ApiKey(&'a str),
}

/// What a request carries: what is in the first of the configured places that has something, and at last an API key. The body is
/// never looked at, the query only where that is configured (RFC 9700 4.3.2: queries end up in logs and histories).
///
/// `Malformed` if a place holds two or something that is not text; `BadProof` for the DPoP scheme without exactly one proof.
pub(super) fn find<'a>(facts: &'a Facts, policy: &settings::Identity) -> Result<Option<Credential<'a>>, TokenFault> {
    let headers = &facts.headers;
    for place in &policy.token_from {
        let found = match place {
            TokenFrom::Authorization => authorization(headers)?,
            TokenFrom::Header(name) => only(values(headers, name))?.map(Credential::Bearer),
            TokenFrom::Cookie(name) => {
                let named = cookies(headers).filter(|(n, _)| *n == name.as_bytes());
                only(named.map(|(_, value)| value))?.map(Credential::Bearer)
            }
            TokenFrom::Query(name) => {
                let named = facts.query_tokens.iter().filter(|(parameter, _)| parameter == name);
                only(named.map(|(_, value)| value.expose().as_bytes()))?.map(Credential::Bearer)
            }
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    match &policy.credentials.api_keys {
        Some(keys) => Ok(only(values(headers, &keys.header))?.map(Credential::ApiKey)),
        None => Ok(None),
    }
}

/// Takes tokens out of the query, where tokens may be there, so that nobody who sees the request later sees them. What is left keeps
/// its spelling.
pub fn take_from_query(policy: &settings::Identity, facts: &mut Facts) {
    let parameters = policy.token_from.iter().filter_map(|place| match place {
        TokenFrom::Query(name) => Some(name),
        _ => None,
    });
    for parameter in parameters {
        let Some(query) = facts.query.take() else { return };
        let (mut kept, mut is_first) = (String::with_capacity(query.len()), true);
        for pair in query.split('&') {
            match form_urlencoded::parse(pair.as_bytes()).next() {
                Some((name, value)) if name == parameter.as_str() => {
                    facts.query_tokens.push((parameter.clone(), Secret::new(&value)));
                }
                _ => {
                    if !std::mem::take(&mut is_first) {
                        kept.push('&');
                    }
                    kept.push_str(pair);
                }
            }
        }
        facts.query = if is_first { None } else { Some(kept) };
    }
}

/// RFC 6750 2.1 and RFC 9449 7.1 with RFC 9110 11.1: the scheme in any case, one or more spaces, the token.
fn authorization(headers: &HeaderMap) -> Result<Option<Credential<'_>>, TokenFault> {
    let Some(credentials) = only(values(headers, &AUTHORIZATION))? else { return Ok(None) };
    let (scheme, token) = credentials.split_once(' ').unwrap_or((credentials, ""));
    let token = token.trim_start_matches(' ');
    let is_bound = scheme.eq_ignore_ascii_case("dpop");
    if !is_bound && !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    if token.is_empty() {
        return Err(TokenFault::Malformed);
    }
    if !is_bound {
        return Ok(Some(Credential::Bearer(token)));
    }
    // RFC 9449 4.3: exactly one.
    match only(values(headers, &PROOF)) {
        Ok(Some(proof)) => Ok(Some(Credential::Dpop { token, proof })),
        _ => Err(TokenFault::BadProof),
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().map(http::HeaderValue::as_bytes)
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
    use std::time::Duration;

    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::model::settings::{ApiKeys, Credentials};
    use crate::model::{Moment, RequestId};

    fn policy() -> settings::Identity {
        settings::Identity {
            token_from: vec![
                TokenFrom::Authorization,
                TokenFrom::Cookie("app.at".into()),
                TokenFrom::Header(HeaderName::from_static("x-access-token")),
                TokenFrom::Query("access_token".into()),
            ],
            credentials: Credentials {
                api_keys: Some(ApiKeys { header: HeaderName::from_static("x-api-key"), entries: Default::default() }),
                ..Credentials::default()
            },
            ..settings::Identity::default()
        }
    }

    fn facts(headers: HeaderMap, query: Option<&str>) -> Facts {
        let moment = Moment::new(Duration::ZERO, Duration::ZERO);
        let mut facts = Facts::unknown(RequestId::new(moment, 1), moment);
        facts.headers = headers;
        facts.query = query.map(str::to_owned);
        take_from_query(&policy(), &mut facts);
        facts
    }

    fn find_in(headers: &[(&'static str, &'static str)]) -> Result<Option<String>, TokenFault> {
        let headers: HeaderMap = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
        let facts = facts(headers, None);
        find(&facts, &policy()).map(|found| {
            found.map(|found| match found {
                Credential::Bearer(token) => token.to_owned(),
                Credential::Dpop { token, proof } => format!("{token} proved by {proof}"),
                Credential::ApiKey(key) => format!("key {key}"),
            })
        })
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
            (&[("authorization", "DPoP t"), ("dpop", "p")], Some("t proved by p")),
            (&[("authorization", "dpop  t"), ("dpop", "p"), ("cookie", "app.at=c")], Some("t proved by p")),
            (&[("authorization", "Bearer t"), ("dpop", "p")], Some("t")),
            (&[("dpop", "p")], None),
            (&[("x-api-key", "k")], Some("key k")),
            (&[("x-api-key", "k"), ("authorization", "Basic dTpw")], Some("key k")),
            (&[("x-api-key", "k"), ("authorization", "Bearer t")], Some("t")),
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
            (&[("authorization", "DPoP t")], TokenFault::BadProof),
            (&[("authorization", "DPoP t"), ("dpop", "")], TokenFault::BadProof),
            (&[("authorization", "DPoP t"), ("dpop", "p"), ("dpop", "p")], TokenFault::BadProof),
            (&[("authorization", "DPoP"), ("dpop", "p")], TokenFault::Malformed),
            (&[("x-api-key", "k"), ("x-api-key", "k")], TokenFault::Malformed),
            (&[("cookie", "app.at=c; app.at=c")], TokenFault::Malformed),
            (&[("cookie", "app.at=c"), ("cookie", "app.at=d")], TokenFault::Malformed),
            (&[("cookie", "app.at=; app.at=c")], TokenFault::Malformed),
            (&[("x-access-token", "a"), ("x-access-token", "b")], TokenFault::Malformed),
        ] {
            assert_eq!(find_in(headers), Err(expected), "{headers:?}");
        }
        let bytes = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(b"app.at=\xff").unwrap())]);
        assert_eq!(find(&facts(bytes, None), &policy()), Err(TokenFault::Malformed));
    }

    #[test]
    fn a18_a_token_in_the_query_is_seen_by_nobody_else() {
        for (query, token, left) in [
            ("access_token=t", Ok(Some("t")), None),
            ("a=1&access_token=t&b=%20&c", Ok(Some("t")), Some("a=1&b=%20&c")),
            ("access%5Ftoken=%74", Ok(Some("t")), None),
            ("a=1&&access_token=t", Ok(Some("t")), Some("a=1&")),
            ("access_token=", Ok(None), None),
            ("access_token", Ok(None), None),
            ("Access_Token=t", Ok(None), Some("Access_Token=t")),
            ("a=access_token=t", Ok(None), Some("a=access_token=t")),
            ("", Ok(None), Some("")),
            ("access_token=t&access_token=t", Err(TokenFault::Malformed), None),
            ("access_token=t&x=1&access_token=u", Err(TokenFault::Malformed), Some("x=1")),
        ] {
            let facts = facts(HeaderMap::new(), Some(query));
            assert_eq!(find(&facts, &policy()), token.map(|token| token.map(Credential::Bearer)), "{query}");
            assert_eq!(facts.query.as_deref(), left, "{query}");
            assert!(!format!("{facts:?}").contains("\"t\""), "{query}");
        }
    }
}
