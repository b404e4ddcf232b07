//! What the other credentials cost. Budget: an upstream token that was signed before 0.5 µs over nothing; an API key 1 µs.
//!
//! Compare within one run; absolute times depend on the machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::HeaderName;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tollgate::gateway::clock;
use tollgate::identity::{Identifier, KeyRings};
use tollgate::model::settings::{ApiKey, ApiKeys, Auth, Credentials, Identity, Issuer, Secret, UpstreamToken};
use tollgate::model::{Caller, CanonicalPath, Facts, RequestId};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const API_KEY: &str = "tgk_0123456789abcdef0123456789abcdef0123456789a";

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn settings() -> Identity {
    let claims = json!({ "sub": "job", "org": "acme" });
    let key = ApiKey { claims: claims.as_object().unwrap().clone(), expires: None };
    let entries = [(digest(&SHA256, API_KEY.as_bytes()).as_ref().try_into().unwrap(), key)];
    Identity {
        issuers: vec![Issuer {
            name: "bench".into(),
            url: "http://127.0.0.1:9".into(),
            issuer: "acme.com".into(),
            tenant: None,
            audiences: vec!["app".into()],
            hmac_secrets: vec![Secret::new(SECRET)],
            introspection: None,
            refresh: Duration::from_secs(300),
            max_stale: Duration::from_secs(3600),
            cooldown: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        }],
        credentials: Credentials {
            api_keys: Some(ApiKeys { header: HeaderName::from_static("x-api-key"), entries: entries.into() }),
            upstream_token: Some(UpstreamToken {
                header: HeaderName::from_static("x-tollgate-token"),
                keys: Vec::new(),
                issuer: "https://gateway.example".into(),
                audience: "services".into(),
                ttl: Duration::from_secs(60),
                claims: vec!["org".into(), "roles".into()],
            }),
            ..Credentials::default()
        },
        ..Identity::default()
    }
}

fn token(more: serde_json::Value) -> String {
    let now = clock::now().unix_seconds();
    let mut claims = json!({
        "aud": "app", "iss": "acme.com", "sub": "user", "org": "acme", "roles": ["user"], "exp": now + 3600, "iat": now, "tty": "at",
    });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn request(fields: &[(&'static str, String)]) -> Facts {
    let now = clock::now();
    let headers = fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
    Facts {
        host: "api.example.com".into(),
        path: CanonicalPath::parse("/v1/orders/7").unwrap(),
        headers,
        is_secure: true,
        ..Facts::unknown(RequestId::new(now, 0), now)
    }
}

/// Nothing here has to wait, so one poll is enough.
fn identify(identifier: &Identifier, facts: &Facts) -> Caller {
    match pin!(identifier.identify(facts, Auth::Required)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(caller)) => caller,
        other => panic!("{other:?}"),
    }
}

fn credentials(bench: &mut Criterion) {
    let keys = KeyRings::new(clock::now);
    let settings = settings();
    keys.follow(&settings.issuers);
    let identifier = Identifier::new(&settings, &keys);

    let bearer = request(&[("authorization", format!("Bearer {}", token(json!({}))))]);
    identify(&identifier, &bearer);
    bench.bench_function("a bearer token that was seen before", |b| b.iter(|| identify(&identifier, black_box(&bearer))));
    let machine = request(&[("x-api-key", API_KEY.to_owned())]);
    bench.bench_function("an API key", |b| b.iter(|| identify(&identifier, black_box(&machine))));

    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({ "crv": "P-256", "kty": "EC", "x": base64url(x), "y": base64url(y) });
    let thumbprint = base64url(digest(&SHA256, jwk.to_string().as_bytes()));
    let bound = token(json!({ "cnf": { "jkt": thumbprint } }));
    let mut turn = 0_u64;
    let mut proven = || {
        turn += 1;
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let body = json!({
            "jti": turn.to_string(), "htm": "GET", "htu": "https://api.example.com/v1/orders/7", "iat": clock::now().unix_seconds(),
            "ath": base64url(digest(&SHA256, bound.as_bytes())),
        });
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(body.to_string()));
        let signature = base64url(pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap());
        request(&[("authorization", format!("DPoP {bound}")), ("dpop", format!("{signed}.{signature}"))])
    };
    bench.bench_function("a bound token that was seen before, with an ES256 proof", |b| {
        b.iter_batched(&mut proven, |facts| identify(&identifier, &facts), BatchSize::SmallInput);
    });

    let caller = identify(&identifier, &bearer);
    let identity = caller.identity().unwrap();
    bench.bench_function("an upstream token that was signed before", |b| {
        b.iter(|| identifier.upstream_token(black_box(identity), bearer.received_at).unwrap());
    });
    bench.bench_function("an upstream token that is signed anew (ES256)", |b| {
        let mut now = bearer.received_at;
        b.iter(|| {
            now = now.plus(Duration::from_secs(60));
            identifier.upstream_token(black_box(identity), now).unwrap()
        });
    });
}

criterion_group!(benches, credentials);
criterion_main!(benches);
