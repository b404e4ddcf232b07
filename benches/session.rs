//! What a session costs beside a token in the request. Budget: 15 µs more than the same token as bearer.
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
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tollgate::gateway::clock;
use tollgate::identity::{Identifier, KeyRings, Opened, RelyingParty, Session, Tokens};
use tollgate::model::settings::{Auth, Callback, Identity, Issuer, Login, SameSite, Secret, SessionStore, Sessions};
use tollgate::model::{CanonicalPath, Facts, RequestId};

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
        login: Some(Login {
            issuer: "bench".into(),
            client_id: "app".into(),
            client_secret: Secret::new(SECRET),
            previous_client_secret: None,
            callbacks: vec![Callback {
                url: "https://www.example.com/callback".into(),
                origin: "https://www.example.com".into(),
                host: "www.example.com".into(),
                path: "/callback".into(),
            }],
            public_url: None,
            scopes: vec!["openid".into()],
            idp_hint: None,
            prompt: None,
            max_age: None,
            after_login: "/".into(),
            session: Sessions {
                store: SessionStore::Cookie,
                keys: ["the newest key", "the one before", "an old one"]
                    .map(|text| Secret::new(&format!("{text}, which is long enough to be one")))
                    .into(),
                idle: Duration::from_secs(1800),
                absolute: Duration::from_secs(43_200),
                cookie: "__Host-tollgate".into(),
                same_site: SameSite::Lax,
                secure: true,
            },
        }),
        ..Identity::default()
    }
}

fn token(claims: usize) -> String {
    let now = clock::now().unix_seconds();
    let claims = json!({
        "aud": "app", "iss": "acme.com", "sub": "00000000-0000-0000-0000-111111111111", "org": "acme", "plan": "pro",
        "exp": now + 3600, "iat": now, "scope": "openid profile", "tty": "at", "more": "x".repeat(claims),
    });
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn facts(name: &'static str, value: &str) -> Facts {
    let now = clock::now();
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("www.example.com"));
    headers.insert(name, value.parse().unwrap());
    Facts {
        host: "www.example.com".into(),
        path: CanonicalPath::parse("/v1/orders/7").unwrap(),
        headers,
        ..Facts::unknown(RequestId::new(now, 0), now)
    }
}

/// Nothing here has to wait, so one poll is enough.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("somebody waits"),
    }
}

/// The `Cookie` field that a browser sends after a login.
fn cookies(party: &RelyingParty, access_token: &str) -> String {
    let at = clock::now();
    let tokens = Tokens {
        subject: "00000000-0000-0000-0000-111111111111".into(),
        access_token: access_token.to_owned(),
        expires: at.unix_seconds() + 3600,
        refresh_token: Some("r".repeat(54)),
        id_token: Some(token(200)),
    };
    let session = Session::begin(tokens, at).unwrap();
    let fields = now(party.sessions().save(&session, &HeaderMap::new(), at)).unwrap();
    fields.iter().map(|field| field.to_str().unwrap().split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
}

fn sessions(bench: &mut Criterion) {
    let settings = settings();
    let keys = KeyRings::new(clock::now);
    keys.follow(&settings.issuers);
    let identifier = Identifier::new(&settings, &keys);
    let party = RelyingParty::new(&settings, &keys, &Default::default()).unwrap();
    for (size, claims) in [("one cookie", 200), ("three cookies", 4_000)] {
        let access_token = token(claims);
        let bearer = facts("authorization", &format!("Bearer {access_token}"));
        bench.bench_function(&format!("bearer, {size}"), |b| {
            b.iter(|| now(identifier.identify(black_box(&bearer), Auth::Required)).unwrap());
        });
        let visit = facts("cookie", &format!("a=b; {}; c=d", cookies(&party, &access_token)));
        bench.bench_function(&format!("session, {size}"), |b| {
            b.iter(|| {
                let visit = black_box(&visit);
                assert!(now(identifier.identify(visit, Auth::Required)).is_err());
                let Ok(Opened::Live(session)) = now(party.sessions().open(&visit.headers, visit.received_at)) else { panic!() };
                now(identifier.recognize(&session.access_token, visit.received_at)).unwrap()
            });
        });
    }
    let forged = facts("cookie", &format!("__Host-tollgate=1.{}", "A".repeat(3_900)));
    bench.bench_function("a forged session", |b| {
        b.iter(|| now(party.sessions().open(&black_box(&forged).headers, forged.received_at)).unwrap());
    });
    let chunks: Vec<_> = (0..200).map(|n| format!("__Host-tollgate.{n}=x")).collect();
    let bomb = facts("cookie", &format!("__Host-tollgate=9.x; {}", chunks.join("; ")));
    bench.bench_function("two hundred pieces", |b| {
        b.iter(|| now(party.sessions().open(&black_box(&bomb).headers, bomb.received_at)).unwrap());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = sessions
}
criterion_main!(benches);
