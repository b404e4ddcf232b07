use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use serde_json::{Map, Value};

use super::binding::{Thumbprint, thumbprint};
use crate::identity::claims::{Said, text};
use crate::identity::json;
use crate::identity::keys;
use crate::identity::token::decode;
use crate::identity::verify::Algorithm;
use crate::model::{CanonicalPath, Facts, Moment, TokenFault};

/// The largest RSA key and its signature take 5 KiB.
const MAX_BYTES: usize = 8 * 1024;
const MAX_JTI_BYTES: usize = 256;

/// How far a proof's `iat` may be from now, both ways (FusionAuth's advice; RFC 9449 11.1 says seconds or minutes). Clients are phones,
/// whose clocks are not ours, hence not `clock_skew`.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// As for tokens, but for `jwk`, which a proof must have.
const REFUSED_HEADERS: [&str; 8] = ["crit", "b64", "zip", "enc", "cty", "jku", "x5u", "x5c"];

/// A DPoP proof (RFC 9449 4.2) whose signature is right; what it proves is still to be held against the request.
pub(in crate::identity) struct Proof {
    said: Said,
    thumbprint: Thumbprint,
}

impl Proof {
    /// Reads a proof and checks that the key in it made it.
    pub(in crate::identity) fn parse(text: &str) -> Result<Self, TokenFault> {
        Self::read(text).ok_or(TokenFault::BadProof)
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = json::object(&decode(header).ok()?).ok()?;
        let said = json::object(&decode(payload).ok()?).ok()?;
        let (algorithm, jwk) = examine(&header)?;
        let key = keys::of_proof(jwk, algorithm).ok()?;
        let thumbprint = thumbprint(jwk)?;
        key.verifies(signed, signature).then_some(Self { said, thumbprint })
    }

    /// Whether it proves that the sender of this request has the key that `token` is bound to. Answers what names the proof, which may
    /// be used once.
    pub(in crate::identity) fn proves(&self, facts: &Facts, token: &str, bound_to: &Thumbprint) -> Result<&str, TokenFault> {
        let is_right = self.thumbprint == *bound_to
            && text(&self.said, "htm") == Some(facts.method.as_str())
            && text(&self.said, "htu").is_some_and(|url| is_for(url, facts))
            && self.said.get("iat").and_then(Value::as_u64).is_some_and(|at| is_fresh(at, facts.received_at))
            && text(&self.said, "ath") == Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())).as_str());
        match text(&self.said, "jti") {
            Some(name) if is_right && (1..=MAX_JTI_BYTES).contains(&name.len()) => Ok(name),
            _ => Err(TokenFault::BadProof),
        }
    }
}

fn examine(header: &Map<String, Value>) -> Option<(Algorithm, &Map<String, Value>)> {
    if REFUSED_HEADERS.iter().any(|name| header.contains_key(*name)) || text(header, "typ")? != "dpop+jwt" {
        return None;
    }
    Some((Algorithm::of_proof(text(header, "alg")?)?, header.get("jwk")?.as_object()?))
}

fn is_fresh(at: u64, now: Moment) -> bool {
    Duration::from_secs(at).abs_diff(now.unix()) <= WINDOW
}

/// Whether a URL is the one that the client asked for, without query and fragment, both normalised (RFC 9449 4.3 with RFC 3986 6.2.2 and
/// 6.2.3). Scheme and host are those that the client saw, as far as the gateway knows: behind a proxy that ends TLS, what it says in
/// `X-Forwarded-Proto` and `Host`.
fn is_for(url: &str, facts: &Facts) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let (expected, default) = if facts.is_secure { ("https", 443) } else { ("http", 80) };
    // Not `authority.port()`, which says nothing about a port that is no number.
    let port = match authority.as_str().get(authority.host().len()..) {
        None => None,
        Some("" | ":") => Some(default),
        Some(port) => port.strip_prefix(':').and_then(|digits| digits.parse().ok()),
    };
    let host = authority.host().trim_matches(['[', ']']);
    let host = host.strip_suffix('.').unwrap_or(host);
    scheme.eq_ignore_ascii_case(expected)
        && !authority.as_str().contains('@')
        && host.eq_ignore_ascii_case(&facts.host)
        && port == Some(facts.port.unwrap_or(default))
        && CanonicalPath::parse(uri.path()).is_ok_and(|path| path.as_str() == facts.path.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::RequestId;

    fn facts(is_secure: bool, host: &str, port: Option<u16>) -> Facts {
        let moment = Moment::new(Duration::from_secs(1_000_000), Duration::ZERO);
        Facts {
            is_secure,
            host: host.into(),
            port,
            path: CanonicalPath::parse("/v1/Orders").unwrap(),
            ..Facts::unknown(RequestId::new(moment, 1), moment)
        }
    }

    #[test]
    fn rfc9449_4_3_urls_are_compared_after_normalisation() {
        let public = facts(true, "api.example.com", None);
        for (url, expected) in [
            ("https://api.example.com/v1/Orders", true),
            ("HTTPS://API.Example.COM/v1/Orders", true),
            ("https://api.example.com:443/v1/Orders", true),
            ("https://api.example.com./v1/Orders", true),
            ("https://api.example.com/v1/Orders?page=2", true),
            ("https://api.example.com/v1/Orders#top", true),
            ("https://api.example.com/v1/%4Frders", true),
            // No path with dots arrives, so what was asked for had none.
            ("https://api.example.com/v1/./Orders", false),
            ("https://api.example.com/v1/x/../Orders", false),
            ("https://api.example.com/v1/orders", false),
            ("https://api.example.com/v1/Orders/", false),
            ("https://api.example.com/v1%2FOrders", false),
            ("http://api.example.com/v1/Orders", false),
            ("http://api.example.com:443/v1/Orders", false),
            ("https://api.example.com:8443/v1/Orders", false),
            ("https://api.example.com:/v1/Orders", true),
            ("https://api.example.com:99999/v1/Orders", false),
            ("https://api.example.com.evil.net/v1/Orders", false),
            ("https://user@api.example.com/v1/Orders", false),
            ("https://api.example.com", false),
            ("//api.example.com/v1/Orders", false),
            ("/v1/Orders", false),
            ("", false),
        ] {
            assert_eq!(is_for(url, &public), expected, "{url}");
        }
        for (facts, url, expected) in [
            (facts(false, "localhost", Some(8080)), "http://localhost:8080/v1/Orders", true),
            (facts(false, "localhost", Some(8080)), "http://localhost/v1/Orders", false),
            (facts(false, "localhost", Some(80)), "http://localhost/v1/Orders", true),
            (facts(true, "localhost", Some(443)), "https://localhost/v1/Orders", true),
            (facts(true, "::1", Some(8443)), "https://[::1]:8443/v1/Orders", true),
        ] {
            assert_eq!(is_for(url, &facts), expected, "{url}");
        }
    }

    #[test]
    fn rfc9449_11_1_a_proof_is_fresh_for_a_minute_both_ways() {
        let now = facts(true, "a", None).received_at;
        for (at, expected) in
            [(999_939, false), (999_940, true), (1_000_060, true), (1_000_061, false), (0, false), (u64::MAX, false)]
        {
            assert_eq!(is_fresh(at, now), expected, "{at}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_answered_without_a_panic(text in any::<String>(), header in any::<Vec<u8>>(), url in any::<String>()) {
            let _ = Proof::parse(&text);
            let _ = Proof::parse(&format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header)));
            let _ = is_for(&url, &facts(true, "a", None));
        }
    }
}
