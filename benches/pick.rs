//! Whose turn it is.
//!
//! Budget: less than 1 µs for three servers with every balance, less than 5 µs for fifty. Compare within one run only.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that fails may panic")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate::model::settings::{Balance, HashKey, Server, Upstream};
use tollgate::traffic::{Pool, Tried};

const NOW: Duration = Duration::from_secs(86_400);

fn pool(servers: u32, balance: Balance) -> Pool {
    let server = |i: u32| Server { authority: format!("10.0.0.{i}:80").into(), host: format!("10.0.0.{i}"), port: 80, weight: 1 };
    Pool::new(Upstream { balance, ..Upstream::plain("bench".into(), (0..servers).map(server).collect()) }, None, NOW)
}

fn pick(criterion: &mut Criterion) {
    let balances = [
        ("round_robin", Balance::RoundRobin),
        ("least_requests", Balance::LeastRequests),
        ("power_of_two", Balance::PowerOfTwo),
        ("hash", Balance::Hash(HashKey::ClientIp)),
    ];
    for (name, balance) in balances {
        let mut group = criterion.benchmark_group(format!("pick/{name}"));
        for servers in [3, 50] {
            let pool = pool(servers, balance.clone());
            let mut key = 0_u32;
            group.bench_function(format!("{servers} servers"), |bencher| {
                bencher.iter(|| {
                    key = key.wrapping_add(1);
                    let key = key.to_le_bytes();
                    black_box(pool.pick(&mut Tried::default(), Some(&key), NOW)).is_ok()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, pick);
criterion_main!(benches);
