use std::fmt;
use std::io;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// An RSA-2048 key that lives as long as the process.
pub(super) struct SigningKey {
    pair: KeyPair,
    kid: String,
    jwk: Value,
}

impl SigningKey {
    /// Takes some tenths of a second: RSA keys are searched for, not drawn.
    pub(super) fn generate() -> io::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| io::Error::other("cannot make an RSA key"))?;
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let (n, e) = (BASE64_URL_SAFE_NO_PAD.encode(n), BASE64_URL_SAFE_NO_PAD.encode(e));
        let kid = thumbprint(&n, &e);
        let jwk = json!({ "alg": "RS256", "e": e, "kid": kid, "kty": "RSA", "n": n, "use": "sig" });
        Ok(Self { pair, kid, jwk })
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half, as one member of `keys` in a JWKS.
    pub(super) fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// A compact JWS (RFC 7515) over any header: a test may ask for an `alg` that is a lie, the signature stays RS256.
    pub(super) fn sign(&self, header: &Map<String, Value>, claims: &Map<String, Value>) -> io::Result<String> {
        let mut token = encode(header)?;
        token.push('.');
        token.push_str(&encode(claims)?);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| io::Error::other("cannot sign"))?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

/// RFC 7638 with SHA-1, which FusionAuth uses for the `kid` of keys it makes: 20 bytes, 27 characters.
fn thumbprint(n: &str, e: &str) -> String {
    let canonical = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, canonical.as_bytes()))
}

fn encode(members: &Map<String, Value>) -> io::Result<String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(members)?))
}
