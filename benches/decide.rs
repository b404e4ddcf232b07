//! What the rules cost. Budget: 1 µs per hook of a shipped rule on the bytecode machine, a warm token, one thread.
//!
//! Compare within one run: `idle` is what a hook costs that does nothing, two looks at the clock included. On a 2-core virtual
//! machine that others used as well (Rhai 1.27, no LTO, fastest of many short batches): idle 0.22 µs, one comparison and `route_to`
//! 0.8, a library function and `throttle` 1.35, a role and `allow` 1.25, two meters with two dimensions 2.8.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use serde_json::json;
use tollgate::model::settings::{Meter, Mode, OnError, Rule, RuleLimits, Rules};
use tollgate::model::{Caller, CanonicalPath, Claims, Facts, Identity, Moment, Name, RequestId, ResponseFacts, Source};
use tollgate::rules::{RuleBook, Vocabulary};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn clock() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}

const SHIPPED: [(&str, &str); 5] = [
    ("plan-routing", include_str!("../rules/plan-routing.rhai")),
    ("throttling", include_str!("../rules/throttling.rhai")),
    ("admin-only", include_str!("../rules/admin-only.rhai")),
    ("reports-need-a-plan", include_str!("../rules/reports-need-a-plan.rhai")),
    ("metering", include_str!("../rules/metering.rhai")),
];

fn book(files: &[(&str, &str)]) -> RuleBook {
    let source = |name: String, text: &str| Arc::new(Source { name, text: text.to_owned() });
    let entries = files
        .iter()
        .map(|(name, text)| Rule {
            name: Name::from(*name),
            source: source(format!("rules/{name}.rhai"), text),
            routes: Vec::new(),
            mode: Mode::Enforce,
            on_error: OnError::Deny,
        })
        .collect();
    let library = vec![("plans".into(), source("rules/lib/plans.rhai".into(), include_str!("../rules/lib/plans.rhai")))];
    let limits = RuleLimits { operations: 50_000, time: Duration::from_millis(5), string_bytes: 16_384 };
    let meter = |name: &str| Meter {
        name: name.into(),
        help: String::new(),
        unit: None,
        dimensions: vec!["endpoint".into(), "plan".into()],
    };
    let vocabulary = Vocabulary {
        upstreams: vec!["api".into(), "dedicated".into()],
        meters: vec![meter("api_calls"), meter("egress_bytes")],
        ..Vocabulary::default()
    };
    RuleBook::compile(&Rules { entries, library, limits }, &vocabulary, clock).0.unwrap()
}

fn facts() -> Arc<Facts> {
    let at = Moment::new(Duration::from_secs(1_800_000_000), Duration::ZERO);
    Arc::new(Facts {
        method: Method::POST,
        host: "api.example.com".into(),
        path: CanonicalPath::parse("/v1/orders/4711").unwrap(),
        client_ip: [127, 0, 0, 1].into(),
        ..Facts::unknown(RequestId::new(at, 1), at)
    })
}

fn caller(plan: &str) -> Caller {
    let claims = json!({
        "sub": "00000000-0000-0000-0000-000000000001", "org": "initech", "plan": plan, "roles": ["user", "admin"],
        "iss": "https://id.example.com", "aud": "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e", "exp": 1_800_003_600, "iat": 1_800_000_000,
        "jti": "x", "tid": "d7d09513-a3f5-401c-9685-34ab6c552453", "applicationId": "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e",
        "scope": "openid offline_access", "authenticationType": "PASSWORD",
    });
    Caller::Known(Arc::new(Identity {
        issuer: "test".into(),
        claims: Claims::new(claims.as_object().unwrap().clone()),
        expires_at: u64::MAX,
        account: Some("initech".into()),
        forwarded: Vec::new(),
    }))
}

fn decide(criterion: &mut Criterion) {
    let facts = facts();
    let route: Name = "orders".into();
    let caller = caller("enterprise");
    let response = Arc::new(ResponseFacts {
        status: 200,
        body_bytes: 51_200,
        duration: Duration::from_millis(12),
        upstream: Some("api".into()),
        completed: true,
        ..ResponseFacts::default()
    });
    let mut group = criterion.benchmark_group("decide");
    let mut hook = |name: &str, book: &RuleBook| {
        let set = book.select("orders");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(book.decide(&set, &facts, &route, &caller));
                black_box(book.complete(&set, &facts, &route, &caller, &response, 0))
            });
        });
    };
    hook("idle", &book(&[("idle", "fn on_request() { }")]));
    for shipped in SHIPPED {
        hook(shipped.0, &book(&[shipped]));
    }
    hook("all five", &book(&SHIPPED));
    hook(
        "constants",
        &book(&[(
            "constants",
            "const LIMITS = #{ free: 60, pro: 600, enterprise: 6000 };\nfn on_request(claims) { throttle(claims.org, LIMITS[claims.plan ?? \"free\"] ?? 60, \"1m\"); }",
        )]),
    );
    group.finish();

    criterion.bench_function("compile the shipped rules", |bencher| bencher.iter(|| book(black_box(&SHIPPED))));
}

criterion_group!(benches, decide);
criterion_main!(benches);
