//! The ledger against what happens to processes, disks and files. Real files, real kills.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "clippy takes only the test functions themselves for tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tollgate::billing::report::{self, Query};
use tollgate::billing::{Ledger, LedgerState, Tally};
use tollgate::model::settings::{Billing, OnFull};
use tollgate::model::{Dimensions, Line, Usage};

const COMMIT_EVERY: Duration = Duration::from_millis(5);
/// What a busy machine may add before a thread runs or a disk answers.
const SLACK: Duration = Duration::from_millis(250);
const CHILD: &str = "TOLLGATE_TEST_LEDGER";

fn billing(path: &Path, on_full: OnFull) -> Billing {
    Billing { ledger: Some(path.to_owned()), commit_every: COMMIT_EVERY, on_full, meters: Vec::new() }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn calls(account: &str, lines: u64) -> Usage {
    let line = || Line { meter: "calls".into(), quantity: 1, dimensions: Dimensions::default() };
    Usage { account: account.into(), at_ms: now_ms(), lines: (0..lines).map(|_| line()).collect() }
}

/// Units and lines by account.
fn by_account(path: &Path) -> BTreeMap<String, (u128, u64)> {
    let query = Query { by: vec!["account".to_owned()], ..Query::default() };
    let totals = report::read(path, &query).unwrap();
    totals.into_iter().map(|total| (total.labels[0].1.clone(), (total.quantity, total.lines))).collect()
}

fn units(path: &Path) -> u128 {
    by_account(path).values().map(|(units, _)| units).sum()
}

/// Lines that the rows hold, and lines that the batches say they have added.
fn control_totals(path: &Path) -> (i64, i64) {
    let connection = Connection::open(path).unwrap();
    let sum =
        |of: &str| connection.query_row(&format!("SELECT COALESCE(SUM(lines), 0) FROM {of}"), [], |row| row.get(0)).unwrap();
    (sum("usage"), sum("usage_batch"))
}

fn wait_until(what: &str, at_most: Duration, condition: impl Fn() -> bool) {
    let end = Instant::now() + at_most;
    while !condition() {
        assert!(Instant::now() < end, "{what} took more than {at_most:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What the child of `a_killed_process…` does: settles until it is killed, and says what and when. Alone it stops by itself.
#[test]
fn a_child_settles_numbered_lines() {
    let folder = tempfile::tempdir().unwrap();
    let given = std::env::var_os(CHILD).map(PathBuf::from);
    let path = given.clone().unwrap_or_else(|| folder.path().join("ledger.db"));
    let ledger = Ledger::open(&billing(&path, OnFull::Reject)).unwrap();
    let epoch = ledger.status().epoch;
    let number = AtomicU64::new(0);
    let end = given.is_none().then_some(2000);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    if end.is_some_and(|end| number >= end) {
                        break;
                    }
                    let mut usage = calls(&format!("{epoch}-{number}"), 1);
                    ledger.settle(usage.clone());
                    usage.account = "everybody".into();
                    ledger.settle(usage);
                    // One write each, so that a line is whole or missing.
                    let line = format!("settled {epoch} {number} {}\n", now_ms());
                    if given.is_some() {
                        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                        thread::sleep(Duration::from_micros(150));
                    }
                }
            });
        }
    });
    assert!(ledger.close(Duration::from_secs(20)));
    assert_eq!(by_account(&path).len(), 2001);
    assert_eq!(by_account(&path)["everybody"], (2000, 2000));
}

#[test]
fn a_killed_process_loses_nothing_older_than_the_commit_interval_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut random = now_ms() | 1;
    let (mut everybody, mut settled_in_all, mut oldest_lost) = (0, 0, 0);
    for round in 1..=20_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_child_settles_numbered_lines", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = thread::spawn(move || {
            let settled = lines.map_while(Result::ok).filter_map(|line| {
                let numbers: Vec<u64> = line.strip_prefix("settled ")?.split(' ').map(|number| number.parse().unwrap()).collect();
                <[u64; 3]>::try_from(numbers).ok()
            });
            settled.collect::<Vec<_>>()
        });
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_millis(300 + random % 300));
        // The last instant at which the child was certainly alive.
        let killed_at = now_ms();
        child.kill().unwrap();
        child.wait().unwrap();
        let settled = reader.join().unwrap();
        let due = u64::try_from((COMMIT_EVERY + SLACK).as_millis()).unwrap();
        let found = by_account(&path);
        for [epoch, number, at_ms] in &settled {
            assert_eq!(*epoch, round, "every start takes the next epoch");
            if !found.contains_key(&format!("{epoch}-{number}")) {
                let age = killed_at.saturating_sub(*at_ms);
                assert!(age < due, "round {round} lost {number}, {age} ms old");
                oldest_lost = oldest_lost.max(age);
            }
        }
        let twice: Vec<_> = found.iter().filter(|(account, count)| *account != "everybody" && **count != (1, 1)).collect();
        assert!(twice.is_empty(), "counted twice: {twice:?}");
        // Both settlements of a number are independent, but none of the second can be there more often than there were numbers.
        let most = settled_in_all + settled.len() as u128 + 8;
        let sum = found.get("everybody").map_or(0, |(units, _)| *units);
        assert!(sum >= everybody && sum <= most, "{sum} of at most {most} after {everybody}");
        (everybody, settled_in_all) = (sum, most);
        let (rows, batches) = control_totals(&path);
        assert_eq!(rows, batches, "round {round}");
    }
    eprintln!("the oldest line that was lost was {oldest_lost} ms old; {everybody} were kept");
    assert!(everybody > 1000, "only {everybody} lines in 20 rounds show nothing");
}

#[test]
fn two_gateways_on_one_file_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledgers = [(); 2].map(|()| Ledger::open(&billing(&path, OnFull::Reject)).unwrap());
    thread::scope(|scope| {
        for ledger in &ledgers {
            scope.spawn(|| {
                for number in 0..300 {
                    ledger.settle(calls(&format!("{}", number % 7), 2));
                    thread::sleep(Duration::from_micros(300));
                }
            });
        }
    });
    assert!(ledgers.iter().all(|ledger| ledger.close(Duration::from_secs(20))));
    assert_eq!(ledgers.each_ref().map(|ledger| ledger.status().committed.lines), [600, 600]);
    assert_eq!((units(&path), control_totals(&path)), (1200, (1200, 1200)));
}

#[test]
fn a_report_can_be_read_while_a_gateway_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&billing(&path, OnFull::Reject)).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..3000 {
                ledger.settle(calls(&format!("{}", number % 500), 1));
                thread::sleep(Duration::from_micros(100));
            }
            is_over.store(true, Ordering::Release);
        });
        let mut last = 0;
        while !is_over.load(Ordering::Acquire) {
            let sum = units(&path);
            assert!((last..=3000).contains(&sum), "{sum} after {last}");
            last = sum;
        }
    });
    assert!(ledger.close(Duration::from_secs(20)));
    assert_eq!((units(&path), ledger.status().last_error), (3000, None));
}

/// Takes the only right to write, as a careless `sqlite3` shell would.
fn lock(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[test]
fn what_cannot_be_written_waits_and_requests_are_refused_until_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&billing(&path, OnFull::Reject)).unwrap();
    let other = lock(&path);
    ledger.settle(calls("initech", 3));
    wait_until("noticing", Duration::from_secs(20), || !ledger.accepts());
    let status = ledger.status();
    assert_eq!((status.state, status.pending.lines, status.committed.lines), (LedgerState::Failing, 3, 0));
    assert_eq!(status.last_error, Some(format!("{}: is locked by another program", path.display())));
    // Requests that were let in before still settle.
    ledger.settle(calls("initech", 4));
    ledger.set_policy(OnFull::Unbilled, COMMIT_EVERY);
    assert!(ledger.accepts());
    ledger.set_policy(OnFull::Reject, COMMIT_EVERY);
    assert!(!ledger.accepts());
    assert!(!ledger.close(Duration::ZERO));
    other.execute_batch("ROLLBACK").unwrap();
    assert!(ledger.close(Duration::from_secs(5)), "recovers by itself");
    assert_eq!((units(&path), ledger.status().unbilled), (7, Tally::default()));
}

#[test]
fn what_fits_neither_disk_nor_memory_is_counted_as_unbilled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&billing(&path, OnFull::Unbilled)).unwrap();
    let other = lock(&path);
    let settled: u64 = 200_000 + 1000;
    for number in 0..settled {
        ledger.settle(calls(&number.to_string(), 1));
    }
    let status = ledger.status();
    assert_eq!((status.state, ledger.accepts()), (LedgerState::Full, true));
    assert_eq!((status.unbilled, status.pending.lines), (Tally { lines: 1000, units: 1000 }, settled - 1000));
    assert_eq!(status.unbilled_by_meter, [("calls".into(), Tally { lines: 1000, units: 1000 })]);
    // Rows that wait already have room for more.
    ledger.settle(calls("199999", 5));
    other.execute_batch("ROLLBACK").unwrap();
    wait_until("recovery", Duration::from_secs(30), || ledger.status().state == LedgerState::Ok);
    ledger.settle(calls("afterwards", 1));
    assert!(ledger.close(Duration::from_secs(30)));
    let status = ledger.status();
    assert_eq!((status.committed.lines, status.unbilled.lines), (settled - 1000 + 5 + 1, 1000));
    assert_eq!(units(&path), u128::from(status.committed.lines));
}

/// A file system of 2 MiB, if this process may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_follows_the_policy_and_recovers_when_there_is_room() {
    for on_full in [OnFull::Reject, OnFull::Unbilled] {
        let Some(disk) = SmallDisk::mount() else {
            eprintln!("skipped: mounting a small file system takes root; the same is tested above with a locked file");
            return;
        };
        let (path, ballast) = (disk.0.path().join("ledger.db"), disk.0.path().join("ballast"));
        let ledger = Ledger::open(&billing(&path, on_full)).unwrap();
        fs::write(&ballast, vec![0; 1 << 20]).unwrap();
        let mut settled = 0;
        while ledger.status().state == LedgerState::Ok {
            assert!(settled < 100_000, "2 MiB hold more than they can");
            for _ in 0..100 {
                ledger.settle(calls(&format!("an account with a long name, number {settled}"), 1));
                settled += 1;
            }
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(ledger.accepts(), on_full == OnFull::Unbilled);
        let status = ledger.status();
        assert_eq!(status.last_error, Some(format!("{}: the disk is full", path.display())));
        assert_eq!(status.pending.lines + status.committed.lines, settled);
        assert!(units(&path) <= u128::from(settled), "can be read all the same");
        fs::remove_file(&ballast).unwrap();
        wait_until("recovery", Duration::from_secs(5), || ledger.status().state == LedgerState::Ok && ledger.accepts());
        assert!(ledger.close(Duration::from_secs(20)));
        assert_eq!((units(&path), ledger.status().unbilled), (u128::from(settled), Tally::default()));
        let lines = i64::try_from(settled).unwrap();
        assert_eq!(control_totals(&path), (lines, lines));
    }
}

/// A ledger as a killed process leaves it: the file, and a log that is not in it yet. Every line is one unit.
fn torn(folder: &Path) -> (Vec<u8>, Vec<u8>) {
    let path = folder.join("whole.db");
    let ledger = Ledger::open(&billing(&path, OnFull::Reject)).unwrap();
    for batch in 0..12 {
        (0..5).for_each(|number| ledger.settle(calls(&format!("account {}", (batch + number) % 9), 1)));
        wait_until("a commit", Duration::from_secs(20), || ledger.status().pending.lines == 0);
    }
    let (file, log) = (fs::read(&path).unwrap(), fs::read(path.with_extension("db-wal")).unwrap());
    assert!(log.len() > 30_000, "the log holds the batches");
    (file, log)
}

#[test]
fn a_log_that_was_cut_or_damaged_is_valid_up_to_there() {
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = torn(folder.path());
    let path = folder.path().join("ledger.db");
    let check = |damaged: &[u8], what: &str| {
        fs::write(&path, &file).unwrap();
        fs::write(path.with_extension("db-wal"), damaged).unwrap();
        let _ = fs::remove_file(path.with_extension("db-shm"));
        match Ledger::open(&billing(&path, OnFull::Reject)) {
            Ok(ledger) => {
                let before = units(&path);
                assert!(before <= 60, "{what}: {before} of 60");
                ledger.settle(calls("afterwards", 1));
                assert!(ledger.close(Duration::from_secs(20)));
                assert_eq!(units(&path), before + 1, "{what}");
                let (rows, batches) = control_totals(&path);
                assert_eq!(rows, batches, "{what}");
            }
            Err(error) => assert!(error.to_string().starts_with(path.to_str().unwrap()), "{what}: {error}"),
        }
    };
    check(&log, "whole");
    for at in (0..log.len()).step_by(997) {
        check(&log[..at], &format!("cut at {at}"));
    }
    for at in (0..log.len()).step_by(1499) {
        let mut damaged = log.clone();
        damaged[at] ^= 0xff;
        check(&damaged, &format!("damaged at {at}"));
    }
}

#[test]
fn a_file_that_was_cut_or_damaged_is_refused_by_name_or_read_without_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&billing(&path, OnFull::Reject)).unwrap();
    (0..500).for_each(|number| ledger.settle(calls(&format!("account {number}"), 1)));
    assert!(ledger.close(Duration::from_secs(20)));
    let whole = fs::read(&path).unwrap();
    let check = |damaged: &[u8], what: &str| -> Option<u128> {
        fs::write(&path, damaged).unwrap();
        let _ = fs::remove_file(path.with_extension("db-wal"));
        let _ = fs::remove_file(path.with_extension("db-shm"));
        match Ledger::open(&billing(&path, OnFull::Reject)) {
            Ok(ledger) => {
                assert!(ledger.close(Duration::from_secs(20)), "{what}");
                let totals = report::read(&path, &Query { by: vec!["meter".to_owned()], ..Query::default() });
                totals.ok().map(|totals| totals.iter().map(|total| total.quantity).sum())
            }
            Err(error) => {
                assert!(error.to_string().starts_with(path.to_str().unwrap()), "{what}: {error}");
                assert_eq!(fs::metadata(&path).unwrap().len(), damaged.len() as u64, "{what}: left alone");
                None
            }
        }
    };
    assert_eq!(check(&whole, "whole"), Some(500));
    for at in (1..whole.len()).step_by(1021) {
        assert_eq!(check(&whole[..at], &format!("cut at {at}")), None, "cut at {at} of {}", whole.len());
    }
    let refused = (0..whole.len()).step_by(509).filter(|at| {
        let mut damaged = whole.clone();
        damaged[*at] ^= 0xff;
        check(&damaged, &format!("damaged at {at}")).is_none()
    });
    assert!(refused.count() > 0, "no damage at all was noticed");
}
