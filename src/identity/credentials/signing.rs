use std::sync::Arc;

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::binding::thumbprint;
use crate::model::settings::UpstreamToken;
use crate::model::{Identity, Moment, claim};

/// Many servers accept 8 KiB for all headers together.
const MAX_BYTES: usize = 6 * 1024;

/// Signs for upstreams what the gateway found out about a caller.
pub(in crate::identity) struct Signing {
    settings: UpstreamToken,
    key: Arc<SigningKey>,
    /// Public halves, the signing one first.
    published: Vec<Value>,
}

/// A private key with its public half.
pub(in crate::identity) struct SigningKey {
    pair: Pair,
    /// With its `kid` and `alg`.
    jwk: Value,
    /// The encoded JOSE header and its dot, the same for every token.
    header: String,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signing {
    /// `generated` is the key that is used if none is configured. `None` if a configured key cannot be read, which the
    /// configuration's check has ruled out.
    pub(in crate::identity) fn of(settings: &UpstreamToken, generated: impl FnOnce() -> Option<Arc<SigningKey>>) -> Option<Self> {
        let mut keys = Vec::with_capacity(settings.keys.len().max(1));
        for pem in &settings.keys {
            keys.push(Arc::new(SigningKey::read(pem.expose())?));
        }
        if keys.is_empty() {
            keys.push(generated()?);
        }
        let published = keys.iter().map(|key| key.jwk.clone()).collect();
        Some(Self { settings: settings.clone(), key: Arc::clone(keys.first()?), published })
    }

    /// The key set (RFC 7517 5) by which upstreams verify.
    pub(in crate::identity) fn key_set(&self) -> Value {
        json!({ "keys": self.published })
    }

    /// The header for upstreams. The token in it is signed once and sent with all requests of the caller's token until a quarter of
    /// its life is left.
    pub(in crate::identity) fn header(&self, identity: &Identity, now: Moment) -> Option<(HeaderName, HeaderValue)> {
        let value = identity.claims.reissued(now.unix_seconds(), || self.sign(identity, now))?;
        Some((self.settings.header.clone(), value))
    }

    fn sign(&self, identity: &Identity, now: Moment) -> Option<(u64, HeaderValue)> {
        let (at, settings) = (now.unix_seconds(), &self.settings);
        let expires = at.saturating_add(settings.ttl.as_secs()).min(identity.expires_at);
        let mut said = Map::new();
        let copied = std::iter::once("sub").chain(settings.claims.iter().map(String::as_str));
        for name in copied {
            if let Some(value) = claim::find(identity.claims.values(), name) {
                said.insert(name.to_owned(), value.clone());
            }
        }
        let mut random = [0; 16];
        rand::fill(&mut random).ok()?;
        for (name, value) in [
            ("iss", settings.issuer.as_str().into()),
            ("aud", settings.audience.as_str().into()),
            ("iat", at.into()),
            ("exp", expires.into()),
            ("jti", URL_SAFE_NO_PAD.encode(random).into()),
        ] {
            said.insert(name.to_owned(), value);
        }
        let token = self.key.sign(&Value::from(said).to_string())?;
        if token.len() > MAX_BYTES {
            tracing::warn!(issuer = %identity.issuer, "no upstream token: the claims to copy take more than {MAX_BYTES} bytes");
            return None;
        }
        let mut value = HeaderValue::try_from(token).ok()?;
        value.set_sensitive(true);
        Some((at + expires.saturating_sub(at) / 4 * 3, value))
    }
}

impl SigningKey {
    /// A new P-256 key, which nobody else has.
    pub(in crate::identity) fn generate() -> Option<Self> {
        Self::of(Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?))
    }

    /// PKCS #8 in PEM: P-256 or Ed25519.
    pub(in crate::identity) fn read(pem: &str) -> Option<Self> {
        let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).ok()?;
        // OpenSSL leaves the public half of Ed25519 keys out, hence "maybe unchecked".
        let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok().map(Pair::Ed25519);
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).ok().map(Pair::P256);
        Self::of(p256.or_else(ed25519)?)
    }

    fn of(pair: Pair) -> Option<Self> {
        let (algorithm, mut jwk) = match &pair {
            Pair::P256(pair) => {
                // 4, x, y: an uncompressed point.
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                ("ES256", json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }))
            }
            // Not `Ed25519` as in RFC 9864: more libraries know the older name.
            Pair::Ed25519(pair) => {
                ("EdDSA", json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key()) }))
            }
        };
        let kid = URL_SAFE_NO_PAD.encode(thumbprint(jwk.as_object()?)?);
        for (name, value) in [("kid", kid.as_str()), ("alg", algorithm), ("use", "sig")] {
            jwk.as_object_mut()?.insert(name.to_owned(), value.into());
        }
        let header = json!({ "alg": algorithm, "kid": kid, "typ": "JWT" });
        Some(Self { pair, jwk, header: format!("{}.", URL_SAFE_NO_PAD.encode(header.to_string())) })
    }

    fn sign(&self, payload: &str) -> Option<String> {
        let mut token = self.header.clone();
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), token.as_bytes()).ok()?,
            Pair::Ed25519(pair) => pair.sign(token.as_bytes()),
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::keys::KeySet;
    use crate::identity::token::Token;
    use crate::model::Claims;

    /// `openssl genpkey`'s output.
    const ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJkuqJQVggn2uwXQKTbtr9VzlFKOLaiyr0UwFWk1/f/h\n-----END PRIVATE KEY-----\n";

    fn settings() -> UpstreamToken {
        UpstreamToken {
            header: HeaderName::from_static("x-tollgate-token"),
            keys: Vec::new(),
            issuer: "https://gateway.example".into(),
            audience: "services".into(),
            ttl: Duration::from_secs(60),
            claims: vec!["org".into(), "deep.er".into(), "absent".into()],
        }
    }

    fn identity(expires_at: u64) -> Identity {
        let claims = json!({ "sub": "u1", "org": "acme", "deep": { "er": [1, 2] }, "iss": "acme.com", "secret": "x" });
        let claims = Claims::new(claims.as_object().unwrap().clone());
        Identity { issuer: "acme".into(), claims, expires_at, account: None, forwarded: Vec::new() }
    }

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), Duration::ZERO)
    }

    #[test]
    fn what_is_signed_verifies_with_what_is_published() {
        for key in [SigningKey::generate().unwrap(), SigningKey::read(ED25519).unwrap()] {
            let signing = Signing::of(&settings(), || Some(Arc::new(key))).unwrap();
            let (name, value) = signing.header(&identity(u64::MAX), at(1000)).unwrap();
            assert_eq!(name, "x-tollgate-token");
            let token = Token::parse(value.to_str().unwrap()).unwrap();
            let keys = KeySet::parse(signing.key_set().to_string().as_bytes(), None).unwrap();
            let key = keys.candidates(token.kid.as_deref(), token.algorithm).unwrap();
            assert!(key[0].verification.verifies(token.signed, token.signature));
            let mut said = token.claims;
            assert!(said.remove("jti").is_some_and(|jti| jti.as_str().unwrap().len() == 22));
            let expected = json!({
                "iss": "https://gateway.example", "aud": "services", "iat": 1000, "exp": 1060, "sub": "u1", "org": "acme", "deep.er": [1, 2],
            });
            assert_eq!(Value::from(said), expected);
        }
    }

    #[test]
    fn one_signature_serves_until_a_quarter_of_its_life_is_left() {
        let signing = Signing::of(&settings(), || SigningKey::generate().map(Arc::new)).unwrap();
        let caller = identity(u64::MAX);
        let value = |seconds| signing.header(&caller, at(seconds)).unwrap().1;
        let first = value(1000);
        assert_eq!(value(1000), first);
        assert_eq!(value(1044), first);
        let second = value(1045);
        assert_ne!(second, first);
        assert_eq!(value(1080), second);
        // Never longer than the caller's own.
        let (_, brief) = signing.header(&identity(1010), at(1000)).unwrap();
        assert_eq!(Token::parse(brief.to_str().unwrap()).unwrap().claims["exp"], 1010);
    }

    #[test]
    fn what_fits_into_no_header_is_left_out() {
        let signing = Signing::of(&settings(), || SigningKey::generate().map(Arc::new)).unwrap();
        let claims = json!({ "sub": "u1", "org": "x".repeat(8000) });
        let large = Identity { claims: Claims::new(claims.as_object().unwrap().clone()), ..identity(u64::MAX) };
        assert!(signing.header(&large, at(1000)).is_none());
        assert!(SigningKey::read("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").is_none());
    }
}
