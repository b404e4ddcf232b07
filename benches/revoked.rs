//! What a million revocations cost a request, and how much memory they take.
//!
//! Budget: at most 100 ns for a look-up in a million entries, at most 64 MB for all of them, next to nothing for an empty set.
//! Measured on 2 shared vCPU (AMD EPYC, 1 MiB L2) while other builds ran, November 2026, with the same set in a loop of its own, best of
//! short batches: 3 ns for an empty set, 4 ns while nothing was added, 14 ns for a hot token and 150 to 180 ns for another one each
//! time, of which 45 to 55 ns are the reading of its marks; 48 MB. Compare within one run only.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "a benchmark that fails may panic"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tollgate::identity::revocation::{Order, Revoked, Standing, Target, marks};
use tollgate::model::Marks;

const MILLION: usize = 1_000_000;
/// Tokens that take turns: more than any cache of the processor holds.
const TOKENS: usize = 50_000;

fn id(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012x}")
}

fn million() -> Revoked {
    let set = Revoked::new(MILLION);
    for number in 0..MILLION {
        // As they come: most are single logins, the others are users.
        let target = if number % 4 == 0 { Target::User(id(number)) } else { Target::Session(id(number)) };
        set.apply(&Order { target, tenant: Some("tenant".into()), until: Duration::from_secs(1_800_000_000) });
    }
    set
}

/// By what a token of a user who is not revoked can be revoked.
fn token(number: usize) -> Marks {
    let claims = json!({
        "sub": id(number * 7 + MILLION), "sid": id(number * 13 + 2 * MILLION), "tid": "tenant", "iat": 1_799_999_000_u64, "auth_time": 1,
        "aud": "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e", "applicationId": "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e",
    });
    let Value::Object(claims) = claims else { unreachable!() };
    marks(&claims)
}

fn look_up(criterion: &mut Criterion) {
    let empty = Revoked::default();
    let one = token(1);
    criterion.bench_function("revoked/empty set", |bencher| bencher.iter(|| empty.judge(|| black_box(&one)) == Standing::Clear));

    let set = million();
    assert_eq!(set.len(), MILLION);
    eprintln!(
        "{MILLION} revocations take {:.1} MB, {:.1} bytes each",
        set.bytes() as f64 / 1e6,
        set.bytes() as f64 / MILLION as f64
    );
    let tokens: Vec<Marks> = (0..TOKENS).map(token).collect();
    // Once, so that all of them are known to be clear.
    assert!(tokens.iter().all(|token| set.judge(|| token) == Standing::Clear));
    let mut next = 0;
    let mut turn = move || {
        next = (next + 7_919) % TOKENS;
        next
    };
    criterion.bench_function("revoked/a million/nothing was added since", |bencher| {
        bencher.iter(|| set.judge(|| &tokens[turn()]) == Standing::Clear);
    });
    criterion.bench_function("revoked/a million/something was added since, another token each time", |bencher| {
        bencher.iter(|| set.has(&tokens[turn()]));
    });
    criterion.bench_function("revoked/a million/something was added since, the same token", |bencher| {
        bencher.iter(|| set.has(black_box(&one)));
    });
}

criterion_group!(benches, look_up);
criterion_main!(benches);
