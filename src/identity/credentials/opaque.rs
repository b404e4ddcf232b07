use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Whether a text may be a token that only its issuer understands: what RFC 6750 2.1 allows, and nothing that looks like a JWS or a JWE.
/// What looks like one and cannot be read is refused here and asked about nowhere.
pub(in crate::identity) fn is_opaque(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let is_token = body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
    let begins_with_json = || {
        let first = text.split('.').next().unwrap_or_default();
        URL_SAFE_NO_PAD.decode(first).is_ok_and(|bytes| bytes.first() == Some(&b'{'))
    };
    (16..=4096).contains(&text.len()) && is_token && !body.is_empty() && !begins_with_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6750_2_1_what_may_be_opaque() {
        for (text, expected) in [
            ("fGHPWhSGfQN8WGI_SGEpAlIblMfbDQ4", true),
            ("ab.cd~ef+gh/ij-kl_mn==", true),
            ("0123456789abcdef", true),
            ("0123456789abcde", false),
            ("ab=cdefghijklmnopq", false),
            ("has a space in it, long", false),
            ("0123456789abcdef\u{e9}", false),
            ("eyJhbGciOiJub25lIn0.e30.", false),
            ("eyJhbGciOiJSUzI1NiJ9.not-a-payload", false),
            ("eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..a.b.c", false),
            ("================", false),
        ] {
            assert_eq!(is_opaque(text), expected, "{text}");
        }
        assert!(!is_opaque(&"a".repeat(4097)));
    }
}
