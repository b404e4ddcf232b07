use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::identity::claims::{self, text};
use crate::identity::token::Token;
use crate::identity::verify::Algorithm;
use crate::model::Moment;

/// An id_token is made for this very answer; an older one is somebody's stored copy.
const FRESH: u64 = 10 * 60;

/// What an id_token is held against (OpenID Connect Core 3.1.3.7).
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) tenant: Option<&'a str>,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) access_token: &'a str,
    pub(super) code: &'a str,
    pub(super) max_age: Option<Duration>,
    pub(super) skew: Duration,
}

impl Expected<'_> {
    /// The `sub`, if everything but the signature is right; the error is for operators.
    pub(super) fn subject(&self, token: &Token<'_>, now: Moment) -> Result<String, &'static str> {
        if text(&token.claims, "iss") != Some(self.issuer) {
            return Err("`iss` is not the issuer");
        }
        if self.tenant.is_some() && token.claims.contains_key("tid") && text(&token.claims, "tid") != self.tenant {
            return Err("`tid` is another tenant");
        }
        self.audience(token)?;
        let now = now.unix_seconds();
        let skew = self.skew.as_secs();
        if time(token, "exp")?.ok_or("there is no `exp`")?.saturating_add(skew) <= now {
            return Err("it has expired");
        }
        let issued = time(token, "iat")?.ok_or("there is no `iat`")?;
        if issued > now.saturating_add(skew) || issued.saturating_add(FRESH + skew) < now {
            return Err("`iat` is not now");
        }
        if time(token, "nbf")?.is_some_and(|from| from > now.saturating_add(skew)) {
            return Err("`nbf` is in the future");
        }
        if !is_same(text(&token.claims, "nonce").ok_or("there is no `nonce`")?, self.nonce) {
            return Err("`nonce` is another one");
        }
        if let Some(max_age) = self.max_age {
            let typed = time(token, "auth_time")?.ok_or("there is no `auth_time`, and `max_age` was asked for")?;
            if typed.saturating_add(max_age.as_secs()).saturating_add(skew) < now {
                return Err("`auth_time` is longer ago than `max_age`");
            }
        }
        for (claim, of) in [("at_hash", self.access_token), ("c_hash", self.code)] {
            match token.claims.get(claim) {
                None => {}
                Some(Value::String(hash)) if is_same(hash, &half_hash(token.algorithm, of)) => {}
                Some(_) => return Err("`at_hash` or `c_hash` is not that of what came with it"),
            }
        }
        match text(&token.claims, "sub") {
            Some(subject) if !subject.is_empty() => Ok(subject.to_owned()),
            _ => Err("there is no `sub`"),
        }
    }

    /// For us, and if for others as well then made for us (Core 3.1.3.7, 3 to 5).
    fn audience(&self, token: &Token<'_>) -> Result<(), &'static str> {
        let is_ours = |audience: &Value| audience.as_str() == Some(self.client_id);
        let (ours, several) = match token.claims.get("aud") {
            Some(audience @ Value::String(_)) => (is_ours(audience), false),
            Some(Value::Array(all)) => (all.iter().all(Value::is_string) && all.iter().any(is_ours), all.len() > 1),
            _ => (false, false),
        };
        if !ours {
            return Err("`aud` is not the client");
        }
        match token.claims.get("azp") {
            None if several => Err("several audiences, and no `azp`"),
            Some(party) if !is_ours(party) => Err("`azp` is not the client"),
            _ => Ok(()),
        }
    }
}

/// Core 3.1.3.6: the left half of the hash that goes with the token's own algorithm.
fn half_hash(algorithm: Algorithm, text: &str) -> String {
    let hash = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 | Algorithm::Hs256 => &SHA256,
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 | Algorithm::Hs384 => &SHA384,
        // FusionAuth takes SHA-512 for Ed25519, which is the hash inside of it.
        Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::Es512 | Algorithm::Hs512 | Algorithm::Ed25519 => &SHA512,
    };
    let digest = digest::digest(hash, text.as_bytes());
    let bytes = digest.as_ref();
    URL_SAFE_NO_PAD.encode(bytes.get(..bytes.len() / 2).unwrap_or_default())
}

fn time(token: &Token<'_>, claim: &str) -> Result<Option<u64>, &'static str> {
    claims::time(&token.claims, claim).map_err(|_| "a time is not one")
}

fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of FusionAuth's own library.
    #[test]
    fn half_hashes_are_those_of_fusionauth() {
        let token = "dNZX1hEZ9wBCzNL40Upu646bdzQA";
        for (algorithm, hash) in [
            (Algorithm::Hs256, "wfgvmE9VxjAudsl9lc6TqA"),
            (Algorithm::Rs256, "wfgvmE9VxjAudsl9lc6TqA"),
            (Algorithm::Es384, "phZaPQJosyg-qi-OIYyQ3xJB9wsHYEEz"),
            (Algorithm::Hs512, "8xltSlOGYrWy8W9yNvRlEth1i_bXW-JROWPLvCv5zog"),
            (Algorithm::Ed25519, "8xltSlOGYrWy8W9yNvRlEth1i_bXW-JROWPLvCv5zog"),
        ] {
            assert_eq!(half_hash(algorithm, token), hash, "{algorithm:?}");
        }
    }
}
