use std::thread;

use super::*;
use crate::billing::report::{self, Query};
use crate::model::{Dimensions, Line};

fn billing(path: PathBuf) -> Billing {
    let commit_every = Duration::from_millis(5);
    Billing { ledger: Some(path), commit_every, on_full: OnFull::Reject, meters: Vec::new() }
}

fn usage(account: &str, quantity: u64) -> Usage {
    let line = |meter: &str, quantity| Line { meter: meter.into(), quantity, dimensions: Dimensions::default() };
    Usage { account: account.into(), at_ms: 1_800_000_000_000, lines: vec![line("calls", 1), line("bytes", quantity)] }
}

fn sum(path: &std::path::Path, meter: &str) -> u128 {
    let query = Query { by: vec!["meter".to_owned()], meter: Some(meter.to_owned()), ..Query::default() };
    report::read(path, &query).unwrap().iter().map(|total| total.quantity).sum()
}

fn wait_until(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "waited 20 seconds for nothing");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_line_of_eight_threads_is_on_disk_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&billing(path.clone())).unwrap();
    thread::scope(|scope| {
        for thread in 0..8_u64 {
            let ledger = ledger.clone();
            scope.spawn(move || {
                for call in 0..2000 {
                    ledger.settle(usage(&format!("account {}", (thread + call) % 50), call));
                }
            });
        }
    });
    assert!(ledger.close(Duration::from_secs(20)));
    assert_eq!((sum(&path, "calls"), sum(&path, "bytes")), (16_000, 8 * 1999 * 1000));
    let status = ledger.status();
    assert_eq!(status.committed, Tally { lines: 32_000, units: 16_000 + 8 * 1999 * 1000 });
    assert_eq!((status.pending, status.unbilled), (Tally::default(), Tally::default()));
}

#[test]
fn usage_is_on_disk_soon_without_anybody_asking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&billing(path.clone())).unwrap();
    for round in 1..=3 {
        ledger.settle(usage("initech", 10));
        wait_until(|| ledger.status().pending == Tally::default());
        let status = ledger.status();
        assert_eq!((sum(&path, "calls"), status.committed.lines), (round, 2 * round as u64));
        assert!(status.state == LedgerState::Ok && status.last_commit_ms.is_some() && status.last_error.is_none());
    }
}

#[test]
fn what_comes_after_the_end_is_counted_as_unbilled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&billing(path.clone())).unwrap();
    ledger.settle(usage("initech", 10));
    assert!(ledger.close(Duration::from_secs(20)));
    assert!(ledger.close(Duration::ZERO), "a second call finds it done");
    ledger.settle(usage("initech", 7));
    let status = ledger.status();
    assert_eq!(status.unbilled, Tally { lines: 2, units: 8 });
    assert_eq!(
        status.unbilled_by_meter,
        [("bytes".into(), Tally { lines: 1, units: 7 }), ("calls".into(), Tally { lines: 1, units: 1 })]
    );
    assert!(!ledger.accepts());
    assert_eq!(sum(&path, "bytes"), 10);
}

#[test]
fn the_last_handle_that_goes_writes_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&Billing { commit_every: Duration::from_secs(3600), ..billing(path.clone()) }).unwrap();
    ledger.clone().settle(usage("initech", 10));
    drop(ledger);
    assert_eq!(sum(&path, "bytes"), 10);
}

#[test]
fn without_a_file_there_is_no_ledger() {
    let missing = Billing { ledger: None, ..billing(PathBuf::new()) };
    let error = Ledger::open(&missing).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "`billing.ledger` is not set, so there is no file to keep usage in");
}
