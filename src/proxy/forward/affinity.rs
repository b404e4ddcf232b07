use std::borrow::Cow;

use http::header;
use serde_json::Value;

use crate::gateway::Trail;
use crate::model::settings::{Balance, HashKey};
use crate::model::{Claims, Facts};

/// What `balance: hash:…` goes by; `None` if the request has no such thing.
pub(super) fn key<'a>(balance: &Balance, facts: &'a Facts, trail: &'a Trail) -> Option<Cow<'a, [u8]>> {
    let Balance::Hash(key) = balance else { return None };
    match key {
        HashKey::Claim(name) => claim(&trail.caller()?.identity()?.claims, name),
        HashKey::Header(name) => Some(facts.headers.get(name)?.as_bytes().into()),
        HashKey::Cookie(name) => cookie(facts, name).map(Into::into),
        HashKey::ClientIp => Some(match facts.client_ip {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec().into(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec().into(),
        }),
    }
    .filter(|key| !key.is_empty())
}

/// A claim of that very name, or what a dotted path reaches.
fn claim<'a>(claims: &'a Claims, name: &str) -> Option<Cow<'a, [u8]>> {
    let reached = || {
        let mut steps = name.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    };
    match claims.get(name).or_else(reached)? {
        Value::Null => None,
        Value::String(text) => Some(text.as_bytes().into()),
        other => Some(other.to_string().into_bytes().into()),
    }
}

fn cookie<'a>(facts: &'a Facts, name: &str) -> Option<&'a [u8]> {
    let fields = facts.headers.get_all(header::COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::model::{Moment, RequestId};

    #[test]
    fn keys_are_what_the_operator_names() {
        let moment = Moment::new(Duration::ZERO, Duration::ZERO);
        let mut facts = Facts::unknown(RequestId::new(moment, 1), moment);
        facts.headers.append("cookie", HeaderValue::from_static("a=1; sid=first"));
        facts.headers.append("cookie", HeaderValue::from_static("sid=second; b=2"));
        facts.headers.append("x-tenant", HeaderValue::from_static("acme"));
        let trail = Trail::new(Arc::new(facts.clone()));
        let by = |key| super::key(&Balance::Hash(key), &facts, &trail).map(Cow::into_owned);
        assert_eq!(by(HashKey::Cookie("sid".into())).as_deref(), Some(&b"first"[..]));
        assert_eq!(by(HashKey::Cookie("id".into())), None);
        assert_eq!(by(HashKey::Header("x-tenant".parse().unwrap())).as_deref(), Some(&b"acme"[..]));
        assert_eq!(by(HashKey::ClientIp).as_deref(), Some(&[0, 0, 0, 0][..]));
        assert_eq!(by(HashKey::Claim("org".into())), None, "nobody is known");
        assert_eq!(super::key(&Balance::RoundRobin, &facts, &trail), None);
    }

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        let document = json!({ "org": "acme", "a.b": 1, "user": { "team": { "id": 7 } }, "none": null });
        let claims = Claims::new(document.as_object().unwrap().clone());
        for (name, expected) in
            [("org", Some("acme")), ("a.b", Some("1")), ("user.team.id", Some("7")), ("user.none.id", None), ("none", None)]
        {
            assert_eq!(claim(&claims, name).as_deref(), expected.map(str::as_bytes), "{name}");
        }
    }
}
