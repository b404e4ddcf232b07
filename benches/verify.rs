//! What finding out the caller costs. Budget: 0.5 µs for a token that was seen before.
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

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tollgate::gateway::clock;
use tollgate::identity::{Identifier, KeyRings};
use tollgate::model::settings::{Auth, Identity, Issuer, Secret};
use tollgate::model::{Caller, CanonicalPath, Facts, RequestId};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn settings() -> Identity {
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
        forward_claims: vec![("x-user-id".parse().unwrap(), "sub".into())],
        account: vec!["org".into()],
        ..Identity::default()
    }
}

fn request(subject: usize) -> Facts {
    let now = clock::now();
    let claims = json!({
        "aud": "app", "iss": "acme.com", "sub": format!("user-{subject}"), "org": "acme", "plan": "pro", "roles": ["user"],
        "exp": now.unix_seconds() + 3600, "iat": now.unix_seconds(), "scope": "openid profile", "tty": "at",
    });
    let token =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("host", "api.example.com".parse().unwrap());
    headers.insert("user-agent", "bench".parse().unwrap());
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    Facts {
        host: "api.example.com".into(),
        path: CanonicalPath::parse("/v1/orders/7").unwrap(),
        headers,
        client_ip: [127, 0, 0, 1].into(),
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

fn verify(bench: &mut Criterion) {
    let keys = KeyRings::new(clock::now);
    let settings = settings();
    keys.follow(&settings.issuers);
    let identifier = Identifier::new(&settings, &keys);
    let one = request(0);
    identify(&identifier, &one);
    bench.bench_function("a token that was seen before", |b| b.iter(|| identify(&identifier, black_box(&one))));
    let many: Vec<Facts> = (0..10_000).map(request).collect();
    for facts in &many {
        identify(&identifier, facts);
    }
    let mut turn = 0;
    bench.bench_function("one of 10 000 tokens that were seen before", |b| {
        b.iter(|| {
            turn = (turn + 7_919) % many.len();
            identify(&identifier, &many[turn])
        });
    });
    bench.bench_function("a token that was not (HS256, no cache)", |b| {
        b.iter_batched(
            || Identifier::new(&settings, &keys),
            |fresh| identify(&fresh, black_box(&one)),
            criterion::BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, verify);
criterion_main!(benches);
