use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use super::verify::Algorithm;
use crate::model::TokenFault;

/// Longer texts are not looked at: FusionAuth's tokens have about 1 KiB, a cookie may have 4 KiB.
pub(super) const MAX_BYTES: usize = 16 * 1024;
const MAX_KID_BYTES: usize = 256;

/// Headers that no access token needs and that have led verifiers astray: extensions we would have to understand (RFC 7515 4.1.11,
/// RFC 7797), encryption and compression (RFC 7516), nested tokens, and keys that the token itself brings along (RFC 8725 3.10).
const REFUSED_HEADERS: [&str; 9] = ["crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c"];

/// A signed token that is well-formed; nothing in it is to be believed yet.
///
/// JWS compact serialisation (RFC 7515 7.1), read strictly: whatever another reader could take for something else is refused.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// `header.payload`, the bytes that are signed.
    pub(super) signed: &'a str,
    /// Base64url, already known to be well-formed.
    pub(super) signature: &'a str,
}

impl<'a> Token<'a> {
    /// `Malformed`, `WrongKind` for another `typ`, `WrongAlgorithm` for an `alg` that is never accepted.
    pub(super) fn parse(text: &'a str) -> Result<Self, TokenFault> {
        if text.len() > MAX_BYTES {
            return Err(TokenFault::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        // A further dot, padding, a foreign alphabet and bits left over all fail here.
        let [header, payload, _] = [decode(header)?, decode(payload)?, decode(signature)?];
        let header = json::object(&header).map_err(|_| TokenFault::Malformed)?;
        let (algorithm, kid) = judge(&header)?;
        let claims = json::object(&payload).map_err(|_| TokenFault::Malformed)?;
        Ok(Self { algorithm, kid, claims, signed, signature })
    }
}

pub(super) fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

fn judge(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), TokenFault> {
    if REFUSED_HEADERS.iter().any(|name| header.contains_key(*name)) {
        return Err(TokenFault::Malformed);
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(kind)) if is_access_token(kind) => {}
        Some(Value::String(_)) => return Err(TokenFault::WrongKind),
        Some(_) => return Err(TokenFault::Malformed),
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= MAX_KID_BYTES => Some(kid.clone()),
        Some(_) => return Err(TokenFault::Malformed),
    };
    let name = header.get("alg").and_then(Value::as_str).ok_or(TokenFault::Malformed)?;
    Ok((Algorithm::named(name).ok_or(TokenFault::WrongAlgorithm)?, kid))
}

/// FusionAuth writes `JWT` for everything it signs; other providers say `at+jwt` (RFC 9068 2.1).
fn is_access_token(kind: &str) -> bool {
    ["JWT", "at+jwt", "application/at+jwt"].iter().any(|accepted| kind.eq_ignore_ascii_case(accepted))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode("signature"))
    }

    fn fault(header: &str) -> Option<TokenFault> {
        Token::parse(&token(header, "{}")).err()
    }

    /// The tokens that FusionAuth's documentation shows (access token, Login API, client credentials, historic, unregistered).
    #[test]
    fn fusionauth_headers_are_accepted() {
        for header in [
            r#"{"alg":"RS256","typ":"JWT","gty":["authorization_code"],"kid":"Xoq7kK3eIXryYmi50ZOvg2bcceM"}"#,
            r#"{"alg":"RS256","typ":"JWT","kid":"hCR08_wZGk49AeaAfD69fbJZdFM"}"#,
            r#"{"alg":"HS256","typ":"JWT","kid":"34f17d7b72"}"#,
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"alg":"Ed25519","typ":"jwt","x5t":"abc"}"#,
            r#"{"alg":"EdDSA","typ":"at+JWT"}"#,
            r#"{"alg":"ES512"}"#,
        ] {
            assert_eq!(fault(header), None, "{header}");
        }
    }

    #[test]
    fn headers_of_anything_else_are_refused() {
        let long_kid = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(257));
        for (header, expected) in [
            (r#"{"typ":"JWT"}"#, TokenFault::Malformed),
            (r#"{"alg":256}"#, TokenFault::Malformed),
            (r#"{"alg":"none"}"#, TokenFault::WrongAlgorithm),
            (r#"{"alg":"NoNe"}"#, TokenFault::WrongAlgorithm),
            (r#"{"alg":"rs256"}"#, TokenFault::WrongAlgorithm),
            (r#"{"alg":"PS256"}"#, TokenFault::WrongAlgorithm),
            (r#"{"alg":"ES256K"}"#, TokenFault::WrongAlgorithm),
            (r#"{"alg":"RS256","typ":"logout+jwt"}"#, TokenFault::WrongKind),
            (r#"{"alg":"RS256","typ":"dpop+jwt"}"#, TokenFault::WrongKind),
            (r#"{"alg":"RS256","typ":"JWT "}"#, TokenFault::WrongKind),
            (r#"{"alg":"RS256","typ":1}"#, TokenFault::Malformed),
            (r#"{"alg":"RS256","kid":7}"#, TokenFault::Malformed),
            (r#"{"alg":"RS256","kid":null}"#, TokenFault::Malformed),
            (r#"{"alg":"RS256","alg":"RS256"}"#, TokenFault::Malformed),
            (long_kid.as_str(), TokenFault::Malformed),
        ] {
            assert_eq!(fault(header), Some(expected), "{header}");
        }
        for name in REFUSED_HEADERS {
            assert_eq!(fault(&format!(r#"{{"alg":"RS256","{name}":"JWT"}}"#)), Some(TokenFault::Malformed), "{name}");
        }
    }

    #[test]
    fn only_three_strictly_encoded_parts_are_a_token() {
        let good = token(r#"{"alg":"RS256"}"#, r#"{"a":"?~"}"#);
        assert!(Token::parse(&good).is_ok());
        for text in [
            String::new(),
            ".".into(),
            "..".into(),
            "a.b".into(),
            format!("{good}.x"),
            format!("{good}.x.y"),
            format!(".{good}"),
            format!("{good}="),
            format!("{good} "),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{}!", good),
            good.replacen('.', "=.", 1),
            good.replace('_', "/"),
            good.replace('.', ".."),
            // "signature" ends in "Jl"; the last two bits of "Jm" have no place in nine bytes … of which this is ten.
            format!("{good}B"),
            r#"{"payload":"e30","signatures":[]}"#.into(),
        ] {
            if text != good {
                assert_eq!(Token::parse(&text).err(), Some(TokenFault::Malformed), "{text:?}");
            }
        }
        // RFC 4648 3.5: "AA" and "AB" are the same byte to a lenient reader.
        let (head, _) = good.rsplit_once('.').unwrap();
        assert!(Token::parse(&format!("{head}.AA")).is_ok());
        assert_eq!(Token::parse(&format!("{head}.AB")).err(), Some(TokenFault::Malformed));
        assert_eq!(Token::parse(&"a".repeat(MAX_BYTES + 1)).err(), Some(TokenFault::Malformed));
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_a_panic(text in any::<String>()) {
            let _ = Token::parse(&text);
        }

        #[test]
        fn any_header_and_payload_are_answered_without_a_panic(header in any::<Vec<u8>>(), payload in any::<Vec<u8>>()) {
            let text = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
            let _ = Token::parse(&text);
        }
    }
}
