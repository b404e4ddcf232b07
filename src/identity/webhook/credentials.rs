use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, header};
use subtle::ConstantTimeEq;

use crate::model::settings::Webhooks;

/// Headers that FusionAuth sends as it was told to, and the digests of their values.
pub(super) struct Credentials(Vec<(HeaderName, [u8; 32])>);

impl Credentials {
    pub(super) fn new(settings: &Webhooks) -> Self {
        let mut headers = Vec::new();
        if let Some((name, password)) = &settings.basic {
            let pair = STANDARD.encode(format!("{name}:{}", password.expose()));
            headers.push((header::AUTHORIZATION, hashed(format!("Basic {pair}").as_bytes())));
        }
        if let Some((name, secret)) = &settings.header {
            headers.push((name.clone(), hashed(secret.expose().as_bytes())));
        }
        Self(headers)
    }

    /// Whether all of them are there, each once. Compared as digests, so that nobody learns how much of a guess was right, nor how long
    /// the secret is.
    pub(super) fn are_in(&self, headers: &HeaderMap) -> bool {
        let fits = |(name, expected): &(HeaderName, [u8; 32])| {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => bool::from(hashed(value.as_bytes()).ct_eq(expected)),
                _ => false,
            }
        };
        self.0.iter().all(fits)
    }
}

fn hashed(text: &[u8]) -> [u8; 32] {
    let digest = digest(&SHA256, text);
    std::array::from_fn(|at| digest.as_ref().get(at).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::model::settings::Secret;

    #[test]
    fn everything_that_is_asked_for_must_be_right_and_there_once() {
        let settings = Webhooks {
            path: "/".into(),
            issuer: "a".into(),
            tenants: None,
            signature: None,
            basic: Some(("user".into(), Secret::new("pass"))),
            header: Some((HeaderName::from_static("x-key"), Secret::new("key"))),
            max_body: 1,
        };
        let credentials = Credentials::new(&settings);
        let headers = |basic: &str, key: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(basic))).unwrap());
            headers.insert("x-key", HeaderValue::from_str(key).unwrap());
            headers
        };
        assert!(credentials.are_in(&headers("user:pass", "key")));
        for (basic, key) in [("user:pass", "kex"), ("user:pass", ""), ("user:pas", "key"), ("use:rpass", "key"), ("", "key")] {
            assert!(!credentials.are_in(&headers(basic, key)), "{basic} {key}");
        }
        let mut twice = headers("user:pass", "key");
        twice.append("x-key", HeaderValue::from_static("key"));
        assert!(!credentials.are_in(&twice));
        assert!(!credentials.are_in(&HeaderMap::new()));
    }
}
