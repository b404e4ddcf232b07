use form_urlencoded::parse;
use serde_json::{Map, Value};

use crate::identity::json;

/// Longer ones no issuer has, and none shall be sent on.
const LONGEST_CODE: usize = 2048;
const LONGEST_TOKEN: usize = 16 * 1024;

/// What the issuer says through the browser (RFC 6749 4.1.2, RFC 9207).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Callback {
    pub(super) state: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) result: CallbackResult,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum CallbackResult {
    Code(String),
    /// The issuer's word, one of those that are known.
    Error(CallbackError),
    /// Something twice, or missing, or both of them.
    Unreadable,
}

/// RFC 6749 4.1.2.1 and OpenID Connect Core 3.1.2.6, as far as it makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallbackError {
    /// The person, or the issuer's policy, says no.
    Denied,
    /// Another time, perhaps.
    Unavailable,
    /// Our request was wrong.
    Other,
}

impl Callback {
    /// Reads a query. Parameters that nobody knows are none of our business (FusionAuth adds `locale` and `userState`).
    pub(super) fn read(query: &str) -> Self {
        let mut found: [Option<String>; 4] = Default::default();
        let mut is_clear = true;
        for (name, value) in parse(query.as_bytes()) {
            let slot = match &*name {
                "state" => 0,
                "code" => 1,
                "error" => 2,
                "iss" => 3,
                _ => continue,
            };
            match found.get_mut(slot) {
                Some(empty @ None) => *empty = Some(value.into_owned()),
                _ => is_clear = false,
            }
        }
        let [state, code, error, issuer] = found;
        let result = match (code, error) {
            (Some(code), None) if is_clear && !code.is_empty() && code.len() <= LONGEST_CODE => CallbackResult::Code(code),
            (None, Some(error)) if is_clear => CallbackResult::Error(match error.as_str() {
                "access_denied"
                | "login_required"
                | "interaction_required"
                | "consent_required"
                | "account_selection_required" => CallbackError::Denied,
                "temporarily_unavailable" | "server_error" => CallbackError::Unavailable,
                _ => CallbackError::Other,
            }),
            _ => CallbackResult::Unreadable,
        };
        Self { state, issuer, result }
    }
}

/// The issuer's answer to a request for tokens (RFC 6749 5.1, OpenID Connect Core 3.1.3.3), well-formed; the tokens in it are not checked.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenAnswer {
    /// `access_token`
    pub access_token: String,
    /// `refresh_token`
    pub refresh_token: Option<String>,
    /// `id_token`
    pub id_token: Option<String>,
    /// `expires_in`, in seconds.
    pub expires_in: Option<u64>,
}

impl TokenAnswer {
    /// The error is for operators, and repeats nothing of the document.
    pub(super) fn read(document: &[u8]) -> Result<Self, &'static str> {
        let document = json::object(document).map_err(|_| "the answer is no JSON object")?;
        let kind = text(&document, "token_type")?.ok_or("there is no `token_type`")?;
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err("`token_type` is not Bearer");
        }
        Ok(Self {
            access_token: token(&document, "access_token")?.ok_or("there is no `access_token`")?,
            refresh_token: token(&document, "refresh_token")?,
            id_token: token(&document, "id_token")?,
            expires_in: document.get("expires_in").and_then(Value::as_u64),
        })
    }
}

/// `error` of a refusal, if it is one of the words that may be logged.
pub(super) fn refusal(document: &[u8]) -> &'static str {
    const KNOWN: [&str; 12] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "server_error",
        "invalid_target",
        "invalid_dpop_proof",
        "change_password_required",
        "two_factor_required",
    ];
    let document = json::object(document).unwrap_or_default();
    let word = document.get("error").and_then(Value::as_str).unwrap_or_default();
    KNOWN.into_iter().find(|known| *known == word).unwrap_or("no known error")
}

fn text<'a>(document: &'a Map<String, Value>, member: &str) -> Result<Option<&'a str>, &'static str> {
    match document.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err("a member that is a text is none"),
    }
}

/// RFC 6749 appendix A: visible ASCII, and blanks that nobody uses.
fn token(document: &Map<String, Value>, member: &str) -> Result<Option<String>, &'static str> {
    match text(document, member)? {
        None => Ok(None),
        Some(token) if !token.is_empty() && token.len() <= LONGEST_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(token.to_owned()))
        }
        Some(_) => Err("a token that is none"),
    }
}

impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_a_callback_has_one_state_and_either_a_code_or_an_error() {
        let read = |query: &str| match Callback::read(query).result {
            CallbackResult::Code(code) => code,
            CallbackResult::Error(error) => format!("{error:?}"),
            CallbackResult::Unreadable => "unreadable".into(),
        };
        for (query, expected) in [
            ("code=a&state=s", "a"),
            ("code=a%26b&state=s&locale=de&userState=Authenticated&iss=acme.com", "a&b"),
            ("error=access_denied&state=s", "Denied"),
            ("error=login_required&state=s&error_description=x", "Denied"),
            ("error=server_error&state=s", "Unavailable"),
            ("error=nonsense&state=s", "Other"),
            ("code=a&error=access_denied&state=s", "unreadable"),
            ("state=s", "unreadable"),
            ("code=&state=s", "unreadable"),
            ("code=a&code=a&state=s", "unreadable"),
            ("code=a&state=s&state=s", "unreadable"),
            ("code=a&state=s&iss=a&iss=b", "unreadable"),
            ("error=a&error=b&state=s", "unreadable"),
            ("", "unreadable"),
            ("&&==&%", "unreadable"),
        ] {
            assert_eq!(read(query), expected, "{query}");
        }
        assert_eq!(read(&format!("state=s&code={}", "a".repeat(LONGEST_CODE + 1))), "unreadable");
    }

    #[test]
    fn d8_an_answer_that_is_not_tokens_is_none() {
        let good = br#"{"access_token":"a.b.c","token_type":"bearer","id_token":"i","expires_in":5,"scope":"x","userId":"u"}"#;
        assert_eq!(TokenAnswer::read(good).unwrap().access_token, "a.b.c");
        for text in [
            &b"<html>"[..],
            b"",
            b"[]",
            br#"{"access_token":"a"}"#,
            br#"{"access_token":"a","token_type":"mac"}"#,
            br#"{"access_token":"a","token_type":"DPoP"}"#,
            br#"{"access_token":7,"token_type":"Bearer"}"#,
            br#"{"access_token":"","token_type":"Bearer"}"#,
            br#"{"access_token":"a b","token_type":"Bearer"}"#,
            br#"{"access_token":"a\r\nb","token_type":"Bearer"}"#,
            br#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#,
            br#"{"id_token":"a","token_type":"Bearer"}"#,
        ] {
            assert!(TokenAnswer::read(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(refusal(br#"{"error":"invalid_grant"}"#), "invalid_grant");
        assert_eq!(refusal(br#"{"error":"secret of somebody"}"#), "no known error");
    }
}
