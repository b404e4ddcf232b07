use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::carried::PROOF;
use crate::model::Name;
use crate::model::claim::{find, scalar};
use crate::model::settings::{self, Auth, Dpop};

/// A longer value is left out: many servers accept 8 KiB for all headers together.
const MAX_VALUE_BYTES: usize = 4096;

/// The first of these claims that is a text or a number, as text: who is billed.
pub fn account(claims: &Map<String, Value>, names: &[String]) -> Option<Name> {
    names.iter().find_map(|name| match find(claims, name)? {
        value @ (Value::String(_) | Value::Number(_)) => scalar(value).filter(|text| !text.is_empty()).map(Name::from),
        _ => None,
    })
}

/// The headers that tell the upstream who calls. A claim that is absent, null, an object or too long gives none.
pub(super) fn headers(claims: &Map<String, Value>, wanted: &[(HeaderName, String)]) -> Vec<(HeaderName, HeaderValue)> {
    wanted.iter().filter_map(|(header, claim)| Some((header.clone(), value(find(claims, claim)?)?))).collect()
}

/// The header of DPoP proofs, if they are checked here and so kept from upstreams: a proof is made for the gateway's URL and used up,
/// but whoever has a fresh one could try it at another gateway.
pub fn withheld_proof(policy: &settings::Identity, auth: Auth) -> Option<HeaderName> {
    (auth != Auth::None && policy.credentials.dpop != Dpop::Off).then_some(PROOF)
}

/// Texts, numbers and booleans as they are, lists joined with commas.
fn value(claim: &Value) -> Option<HeaderValue> {
    let text = match claim {
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| scalar(item).map(|text| escape(&text, ","))).collect();
            items?.join(",")
        }
        one => escape(&scalar(one)?, ""),
    };
    if text.len() > MAX_VALUE_BYTES {
        return None;
    }
    HeaderValue::from_str(&text).ok()
}

/// Percent-encodes the UTF-8 of what no header can carry, of spaces that a receiver would trim, of `also`, and of the percent sign:
/// two different texts never become the same header.
fn escape(text: &str, also: &str) -> String {
    let last = text.len().saturating_sub(1);
    let mut escaped = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        let is_inner_space = byte == b' ' && place != 0 && place != last;
        if (byte.is_ascii_graphic() || is_inner_space) && byte != b'%' && !also.as_bytes().contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn header(claim: Value) -> Option<String> {
        let wanted = [(HeaderName::from_static("x-claim"), "c".to_owned())];
        let headers = headers(&claims(json!({ "c": claim })), &wanted);
        headers.first().map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a19_values_that_no_header_can_carry_are_percent_encoded() {
        for (claim, expected) in [
            (json!("alice@example.com"), Some("alice@example.com")),
            (json!("Jane Doe"), Some("Jane Doe")),
            (json!("a\r\nx-admin: 1"), Some("a%0D%0Ax-admin: 1")),
            (json!("a\u{0}b"), Some("a%00b")),
            (json!("Zoë"), Some("Zo%C3%AB")),
            (json!("Zo%C3%AB"), Some("Zo%25C3%25AB")),
            (json!("a\u{202e}b"), Some("a%E2%80%AEb")),
            (json!(" a "), Some("%20a%20")),
            (json!(" "), Some("%20")),
            (json!(""), Some("")),
            (json!(true), Some("true")),
            (json!(9_007_199_254_740_993_u64), Some("9007199254740993")),
            (json!(1.5), Some("1.5")),
            (json!(["a", "b"]), Some("a,b")),
            (json!(["a,admin", "b"]), Some("a%2Cadmin,b")),
            (json!([1, true]), Some("1,true")),
            (json!([]), Some("")),
            (json!([["a"]]), None),
            (json!({"a": 1}), None),
            (json!(null), None),
        ] {
            assert_eq!(header(claim.clone()).as_deref(), expected, "{claim}");
        }
        assert_eq!(header(json!("x".repeat(4096))).map(|text| text.len()), Some(4096));
        assert_eq!(header(json!("x".repeat(4097))), None);
    }

    #[test]
    fn a_path_reaches_into_objects_and_an_exact_name_goes_first() {
        let claims = claims(json!({
            "a": {"b": {"c": "hidden", "d": "deep"}, "b.c": "dotted"},
            "https://hasura.io/jwt/claims": {"x-hasura-user-id": "7"},
            "x.y": "exact", "x": {"y": "path"},
        }));
        for (path, expected) in [
            ("a.b.c", Some("dotted")),
            ("a.b.d", Some("deep")),
            ("https://hasura.io/jwt/claims.x-hasura-user-id", Some("7")),
            ("x.y", Some("exact")),
            ("a.c", None),
            ("a.b.c.d", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(find(&claims, path).and_then(Value::as_str), expected, "{path}");
        }
    }

    #[test]
    fn the_account_is_the_first_claim_that_names_one() {
        let names = ["org".to_owned(), "meta.id".to_owned(), "sub".to_owned()];
        let of = |value| account(&claims(value), &names).map(|name| name.to_string());
        assert_eq!(of(json!({"org": "acme", "sub": "u"})).as_deref(), Some("acme"));
        assert_eq!(of(json!({"org": "", "meta": {"id": 7}, "sub": "u"})).as_deref(), Some("7"));
        assert_eq!(of(json!({"org": ["acme"], "sub": "u"})).as_deref(), Some("u"));
        assert_eq!(of(json!({"org": null})), None);
    }

    proptest! {
        #[test]
        fn different_texts_become_different_headers(a in any::<String>(), b in any::<String>()) {
            prop_assert_eq!(a == b, escape(&a, ",") == escape(&b, ","));
            prop_assert!(HeaderValue::from_str(&escape(&a, "")).is_ok());
        }
    }
}
