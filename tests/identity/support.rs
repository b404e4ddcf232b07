use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tollgate::identity::{Identifier, KeyRings};
use tollgate::model::settings::{self, Auth, TokenFrom};
use tollgate::model::{Caller, CanonicalPath, Facts, Identity, Moment, Rejection, RequestId, TokenFault};

use crate::idp::{Answer, Idp};

/// Long enough for all three HMACs.
pub(crate) const SECRET: &str = "a secret of more than sixty-four bytes, so that it serves all three of the algorithms";

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The real clocks; the steady one does not begin at zero, as in production.
pub(crate) fn now() -> Moment {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Moment::new(unix, Duration::from_secs(100_000) + ORIGIN.get_or_init(Instant::now).elapsed())
}

/// A private key with the name it is published under.
pub(crate) struct Signer {
    pub(crate) kid: &'static str,
    pub(crate) algorithm: &'static str,
    key: Private,
}

enum Private {
    Rsa(&'static RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
}

impl Signer {
    /// One 2048-bit pair per process: making one takes longer than a test may.
    pub(crate) fn rsa(kid: &'static str, algorithm: &'static str) -> Self {
        static PAIR: OnceLock<RsaKeyPair> = OnceLock::new();
        Self { kid, algorithm, key: Private::Rsa(PAIR.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap())) }
    }

    pub(crate) fn ec(kid: &'static str, algorithm: &'static str) -> Self {
        Self { kid, algorithm, key: Private::Ec(EcdsaKeyPair::generate(curve(algorithm)).unwrap()) }
    }

    pub(crate) fn ed25519(kid: &'static str) -> Self {
        Self { kid, algorithm: "Ed25519", key: Private::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(crate) fn hmac(kid: &'static str, algorithm: &'static str, secret: &[u8]) -> Self {
        let hash = match algorithm {
            "HS256" => hmac::HMAC_SHA256,
            "HS384" => hmac::HMAC_SHA384,
            _ => hmac::HMAC_SHA512,
        };
        Self { kid, algorithm, key: Private::Hmac(Box::new(hmac::Key::new(hash, secret))) }
    }

    /// The published half.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Private::Rsa(pair) => {
                let (n, e) = rsa_components(pair);
                json!({"kty": "RSA", "n": base64url(n), "e": base64url(e)})
            }
            Private::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at((pair.public_key().as_ref().len() - 1) / 2);
                let crv = match self.algorithm {
                    "ES256" => "P-256",
                    "ES384" => "P-384",
                    _ => "P-521",
                };
                json!({"kty": "EC", "crv": crv, "x": base64url(x), "y": base64url(y)})
            }
            Private::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())}),
            Private::Hmac(_) => panic!("a secret is not published"),
        };
        jwk["kid"] = self.kid.into();
        jwk["alg"] = self.algorithm.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The public key as others print it: DER, PEM, the bare modulus.
    pub(crate) fn public_forms(&self) -> Vec<Vec<u8>> {
        let Private::Rsa(pair) = &self.key else { panic!("only for RSA") };
        let der = pair.public_key().as_ref().to_vec();
        let (n, _) = rsa_components(pair);
        let pem = format!(
            "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----",
            base64::engine::general_purpose::STANDARD.encode(&der)
        );
        vec![der, n.clone(), base64url(n).into_bytes(), pem.clone().into_bytes(), format!("{pem}\n").into_bytes()]
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.algorithm, "typ": "JWT", "kid": self.kid})
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token of exactly these texts.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(payload));
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", base64url(signature))
    }

    pub(crate) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Private::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match self.algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Private::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Private::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Private::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
        }
    }
}

fn curve(algorithm: &str) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        "ES256" => &ECDSA_P256_SHA256_FIXED_SIGNING,
        "ES384" => &ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &ECDSA_P521_SHA512_FIXED_SIGNING,
    }
}

/// `SEQUENCE { INTEGER n, INTEGER e }` of a 2048-bit key has one shape: 9 bytes, 256 of n, `02 03`, 3 of e.
fn rsa_components(pair: &RsaKeyPair) -> (Vec<u8>, Vec<u8>) {
    let der = pair.public_key().as_ref();
    (der[9..265].to_vec(), der[267..270].to_vec())
}

pub(crate) fn key_set(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
}

/// The claims of a FusionAuth user token that lives for an hour.
pub(crate) fn claims() -> Value {
    let now = now().unix_seconds();
    json!({
        "aud": "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e", "exp": now + 3600, "iat": now, "iss": "acme.com",
        "sub": "00000000-0000-0000-0000-111111111111", "jti": "2e2271d7-3057-4bfd-99ab-34af48e84567",
        "authenticationType": "PASSWORD", "email": "richard@example.com", "email_verified": true,
        "applicationId": "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e", "scope": "offline_access profile openid", "roles": [],
        "sid": "0abe7139-0bd0-4fd0-a450-c1e8b16e710a", "auth_time": now, "tid": "d7d09513-a3f5-401c-9685-34ab6c552453", "tty": "at",
    })
}

/// The same with other members; `null` removes one.
pub(crate) fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

pub(crate) fn issuer(url: &str) -> settings::Issuer {
    settings::Issuer {
        name: "acme".into(),
        url: url.into(),
        issuer: "acme.com".into(),
        tenant: None,
        audiences: vec!["e9fdb985-9173-4e01-9d73-ac2d60d1dc8e".into()],
        hmac_secrets: Vec::new(),
        introspection: None,
        refresh: Duration::from_secs(3600),
        max_stale: Duration::from_secs(3600),
        cooldown: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
    }
}

pub(crate) fn settings(issuers: Vec<settings::Issuer>) -> settings::Identity {
    settings::Identity {
        issuers,
        clock_skew: Duration::from_secs(30),
        max_lifetime: Duration::from_secs(24 * 3600),
        token_from: vec![TokenFrom::Authorization, TokenFrom::Cookie("app.at".into())],
        claims: Default::default(),
        forward_claims: vec![(HeaderName::from_static("x-user-id"), "sub".into())],
        account: vec!["org".into(), "sub".into()],
        cache_tokens: 1000,
        ..settings::Identity::default()
    }
}

/// An identifier, and the task that fetches its keys.
pub(crate) struct Gate {
    pub(crate) identifier: Identifier,
    pub(crate) rings: Arc<KeyRings>,
    settings: settings::Identity,
    task: JoinHandle<()>,
}

impl Gate {
    pub(crate) fn open(settings: &settings::Identity) -> Self {
        Self::open_by(settings, now)
    }

    pub(crate) fn open_by(settings: &settings::Identity, clock: fn() -> Moment) -> Self {
        let rings = Arc::new(KeyRings::new(clock));
        rings.follow(&settings.issuers);
        let task = tokio::spawn(Arc::clone(&rings).keep_fresh());
        Self { identifier: Identifier::new(settings, &rings), rings, settings: settings.clone(), task }
    }

    /// As a gateway does with a changed configuration.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut settings::Identity)) {
        change(&mut self.settings);
        self.rings.follow(&self.settings.issuers);
        self.identifier = Identifier::new(&self.settings, &self.rings);
    }

    pub(crate) async fn sees(&self, token: &str) -> Result<Arc<Identity>, Rejection> {
        self.sees_at(token, now()).await
    }

    pub(crate) async fn sees_at(&self, token: &str, at: Moment) -> Result<Arc<Identity>, Rejection> {
        let caller = self.identifier.identify(&bearer(token, at), Auth::Required).await?;
        match caller {
            Caller::Known(identity) => Ok(identity),
            Caller::Anonymous(absence) => panic!("anonymous although a token is required: {absence:?}"),
        }
    }

    /// Why a token is refused.
    pub(crate) async fn fault(&self, token: &str) -> Option<TokenFault> {
        self.fault_at(token, now()).await
    }

    pub(crate) async fn fault_at(&self, token: &str, at: Moment) -> Option<TokenFault> {
        match self.sees_at(token, at).await {
            Ok(_) => None,
            Err(Rejection::Unauthenticated(fault)) => Some(fault),
            Err(other) => panic!("not about the token: {other:?}"),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for what another task is about to do.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < patience, "it did not happen within 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One issuer with one RSA key and no secret.
pub(crate) async fn gate() -> (Gate, Signer) {
    gate_with(|_| ()).await
}

pub(crate) async fn gate_with(change: impl FnOnce(&mut settings::Identity)) -> (Gate, Signer) {
    let signer = Signer::rsa("rsa-1", "RS256");
    let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
    let mut settings = self::settings(vec![issuer(&idp.url)]);
    change(&mut settings);
    (Gate::open(&settings), signer)
}

pub(crate) async fn assert_faults(gate: &Gate, cases: Vec<(String, TokenFault)>) {
    for (token, expected) in cases {
        let shown = token.chars().take(120).collect::<String>();
        assert_eq!(gate.fault(&token).await, Some(expected), "{shown}");
    }
}

/// Signed tokens with other headers.
pub(crate) fn with_headers(signer: &Signer, cases: &[(Value, TokenFault)]) -> Vec<(String, TokenFault)> {
    let sign = |changes: &Value| {
        let mut header = signer.header();
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        signer.sign(&header.to_string(), &claims().to_string())
    };
    cases.iter().map(|(changes, fault)| (sign(changes), *fault)).collect()
}

/// Signed tokens with other claims.
pub(crate) fn with_claims(signer: &Signer, cases: &[(Value, TokenFault)]) -> Vec<(String, TokenFault)> {
    cases.iter().map(|(changes, fault)| (signer.token(&claims_with(changes.clone())), *fault)).collect()
}

pub(crate) fn bearer(token: &str, at: Moment) -> Facts {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) {
        headers.insert(http::header::AUTHORIZATION, value);
    }
    facts(headers, at)
}

pub(crate) fn facts(headers: HeaderMap, at: Moment) -> Facts {
    Facts {
        host: "api.example.com".into(),
        path: CanonicalPath::parse("/v1/orders").unwrap(),
        headers,
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ..Facts::unknown(RequestId::new(at, 7), at)
    }
}
