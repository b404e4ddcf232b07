//! What a request pays for being billed: settling two lines while the ledger writes to a real file.
//!
//! Budget: at most 1 µs on the request path.
//! Measured on 2 shared vCPU (AMD EPYC) while other builds and the writing thread ran, November 2026: 390 ns with one account,
//! 920 ns with a thousand. What the writing thread costs is in docs/billing.md.
//! Compare within one run only.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a benchmark that fails may panic")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tollgate::billing::Ledger;
use tollgate::model::settings::{Billing, OnFull};
use tollgate::model::{Dimensions, Line, Name, Usage};

fn usage(account: &Name, at_ms: u64, meters: &[(Name, Dimensions)]) -> Usage {
    let line =
        |(meter, dimensions): &(Name, Dimensions)| Line { meter: meter.clone(), quantity: 512, dimensions: dimensions.clone() };
    Usage { account: account.clone(), at_ms, lines: meters.iter().map(line).collect() }
}

fn settle(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let billing = Billing {
        ledger: Some(folder.path().join("ledger.db")),
        commit_every: Duration::from_millis(5),
        on_full: OnFull::Unbilled,
        meters: Vec::new(),
    };
    let ledger = Ledger::open(&billing).unwrap();
    let endpoint = ("endpoint".into(), "orders".into());
    let meters: [(Name, Dimensions); 2] = [
        ("api_calls".into(), Dimensions::new(vec![endpoint.clone(), ("plan".into(), "pro".into())])),
        ("egress_bytes".into(), Dimensions::new(vec![endpoint])),
    ];
    let mut group = criterion.benchmark_group("ledger/settle two lines");
    for accounts in [1, 1000] {
        let names: Vec<Name> = (0..accounts).map(|number| format!("org-{number}").into()).collect();
        let mut call = 0_usize;
        group.bench_function(format!("{accounts} accounts"), |bencher| {
            bencher.iter_batched(
                || {
                    call += 1;
                    usage(&names[call % accounts], 1_800_000_000_000, &meters)
                },
                |usage| ledger.settle(black_box(usage)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    assert!(ledger.close(Duration::from_secs(60)));
}

criterion_group!(benches, settle);
criterion_main!(benches);
