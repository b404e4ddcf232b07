//! One throttle decision, hot and at a million keys.
//!
//! Budget: at most 100 ns hot, at most 600 ns at a million keys (bound by cache misses: keys come in random order).
//! Measured on 2 shared vCPU (AMD EPYC, 1 MiB L2) while other builds ran, November 2026, best of short batches: window 90 to 105 ns,
//! GCRA 60 to 75 ns, three limits in one request 390 ns, a million keys 520 to 570 ns (medians: 90 to 107, 62 to 76, 403, 690).
//! Compare within one run only.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a benchmark that fails may panic")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tollgate::model::{Draw, Moment};
use tollgate::throttling::Throttling;

const MILLION: usize = 1_000_000;

fn draw(key: usize, limit: u64, burst: Option<u64>) -> Draw {
    Draw { rule: "per-plan".into(), key: Some(format!("org-{key}").into()), limit, per: Duration::from_secs(60), burst }
}

fn at(nanos: u64) -> Moment {
    Moment::new(Duration::from_secs(1_800_000_000), Duration::from_nanos(nanos))
}

fn hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("throttle/hot");
    let calls = [
        ("window of 10, refusing", vec![draw(0, 10, None)]),
        ("window of 60, refusing", vec![draw(1, 60, None)]),
        ("window of 100000, admitting", vec![draw(2, 100_000, None)]),
        ("gcra, admitting", vec![draw(3, 60_000_000_000, Some(1000))]),
        ("three limits, admitting", vec![draw(4, u64::MAX, None), draw(5, u64::MAX, None), draw(6, u64::MAX, Some(u64::MAX))]),
    ];
    let throttling = Throttling::new(1000);
    for (name, draws) in calls {
        let mut now = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now += 1_000_000;
                throttling.admit(black_box(&draws), at(now)).is_ok()
            });
        });
    }
    group.finish();
}

fn million(criterion: &mut Criterion) {
    let throttling = Throttling::new(MILLION);
    for key in 0..MILLION {
        let _ = throttling.admit(&[draw(key, 60, None)], at(0));
    }
    let mut random = 1_u64;
    criterion.bench_function("throttle/million keys/window of 60, random keys", |bencher| {
        bencher.iter_batched(
            || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // The text of a key was just made by a rule, so it is warm; the bucket is not.
                (draw((random >> 33) as usize % MILLION, 60, None), at(random >> 40))
            },
            |(draw, now)| throttling.admit(&[black_box(draw)], now).is_ok(),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, hot, million);
criterion_main!(benches);
