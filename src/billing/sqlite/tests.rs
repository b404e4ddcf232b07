use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::billing::Tally;

fn row(account: &str, units: u128, plan: &str) -> Row {
    Row {
        account: account.into(),
        meter: "calls".into(),
        dimensions: Dimensions::new(vec![("plan".into(), plan.into())]),
        minute: 30_000_000,
        at_ms: 30_000_000 * 60_000,
        tally: Tally { lines: 1, units },
    }
}

fn sums(path: &Path) -> Vec<(String, u128, u64)> {
    let query = Query { by: vec!["account".to_owned()], ..Query::default() };
    let totals = read(path, &query).unwrap();
    totals.into_iter().map(|total| (total.labels[0].1.clone(), total.quantity, total.lines)).collect()
}

fn raw(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

#[test]
fn a_new_file_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path).unwrap();
    store.append(1, &[row("a", 1, "free")], 7).unwrap();
    for file in [path.clone(), with_suffix(&path, "-wal"), with_suffix(&path, "-shm")] {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    store.close().unwrap();
    assert!(!with_suffix(&path, "-wal").exists(), "one file is left behind");
}

#[test]
fn a_batch_that_is_sent_again_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path).unwrap();
    for _ in 0..3 {
        store.append(1, &[row("a", 5, "free")], 7).unwrap();
    }
    store.append(2, &[row("a", 1, "free")], 8).unwrap();
    store.append(1, &[row("a", 5, "free")], 9).unwrap();
    assert_eq!(sums(&path), [("a".to_owned(), 6, 2)]);
    assert_eq!(
        store.append(4, &[row("a", 1, "free")], 9).unwrap_err(),
        format!("{}: batch 4 cannot follow batch 2: the file is an older copy", path.display())
    );
    assert_eq!(sums(&path), [("a".to_owned(), 6, 2)]);
}

#[test]
fn summing_up_changes_no_total() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path).unwrap();
    let large = MAX_SUMMED as u128 + 1;
    for seq in 1..=3 {
        store.append(seq, &[row("a", 5, "free"), row("a", 7, "pro"), row("b", large, "free")], 7).unwrap();
        store.sum_up().unwrap();
        assert_eq!(
            sums(&path),
            [("a".to_owned(), 12 * u128::from(seq), 2 * seq), ("b".to_owned(), large * u128::from(seq), seq)]
        );
    }
    let count =
        |table: &str| raw(&path).query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count("usage_minute"), count("usage_row"), count("usage_dims")), (2, 3, 2));
}

#[test]
fn a_quantity_beyond_63_bits_is_neither_cut_nor_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path).unwrap();
    let units = 3 * u128::from(u64::MAX);
    for seq in 1..=2 {
        store.append(seq, &[row("a", units, "free"), row("a", 0, "none")], 7).unwrap();
    }
    assert_eq!(sums(&path), [("a".to_owned(), 2 * units, 4)]);
}

#[test]
fn every_start_takes_an_epoch_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let (first, mut second) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
    second.append(1, &[row("a", 1, "free")], 7).unwrap();
    let (node, epochs) = (first.node(), (first.epoch(), second.epoch()));
    first.close().unwrap();
    second.close().unwrap();
    let third = Store::open(&path).unwrap();
    assert_eq!((epochs, third.epoch(), third.node()), ((1, 2), 3, node));
    assert_eq!(sums(&path), [("a".to_owned(), 1, 1)]);
}

#[test]
fn starts_at_the_same_time_agree_on_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = folder.path().join(format!("{round}.db"));
        let mut starts: Vec<(Name, u64)> = std::thread::scope(|scope| {
            let start = || Store::open(&path).map(|store| (store.node(), store.epoch())).unwrap();
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        starts.sort_by_key(|(_, epoch)| *epoch);
        let node = starts[0].0.clone();
        assert_eq!(starts, (1..=6).map(|epoch| (node.clone(), epoch)).collect::<Vec<_>>());
    }
}

#[test]
fn a_report_groups_filters_and_knows_the_calendar() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path).unwrap();
    // 2027-01-15T08:00Z and the minute before the next month.
    let late = Row { minute: 30_023_999, at_ms: 30_023_999 * 60_000, ..row("b", 9, "pro") };
    let none = Row { dimensions: Dimensions::default(), meter: "bytes".into(), ..row("a", 100, "") };
    store.append(1, &[row("a", 1, "free"), row("a", 2, "pro"), late, none], 7).unwrap();
    let total = |query: Query| -> Vec<(String, u128)> {
        let totals = read(&path, &query).unwrap();
        let line = |total: &Total| total.labels.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ");
        totals.iter().map(|total| (line(total), total.quantity)).collect()
    };
    let by = |names: &[&str]| Query { by: names.iter().map(|name| (*name).to_owned()).collect(), ..Query::default() };
    let expect = |lines: &[(&str, u128)]| lines.iter().map(|(line, units)| ((*line).to_owned(), *units)).collect::<Vec<_>>();
    assert_eq!(
        total(Query::default()),
        expect(&[("a bytes ", 100), ("a calls free", 1), ("a calls pro", 2), ("b calls pro", 9)])
    );
    assert_eq!(total(Query { meter: Some("calls".into()), ..by(&["plan"]) }), expect(&[("free", 1), ("pro", 11)]));
    assert_eq!(total(by(&["month"])), expect(&[("2027-01", 112)]));
    assert_eq!(total(by(&["day"])), expect(&[("2027-01-15", 103), ("2027-01-31", 9)]));
    assert_eq!(total(Query { account: Some("b".into()), ..by(&["hour"]) }), expect(&[("2027-01-31T23:00Z", 9)]));
    let minute = 30_000_000 * 60_000;
    assert_eq!(total(Query { since: Some(minute + 59_999), ..by(&["account"]) }), expect(&[("a", 103), ("b", 9)]));
    assert_eq!(total(Query { since: Some(minute + 60_000), ..by(&["account"]) }), expect(&[("b", 9)]));
    assert_eq!(total(Query { until: Some(minute + 1), ..by(&["account"]) }), expect(&[("a", 103)]));
    assert_eq!(total(Query { until: Some(minute), ..by(&["account"]) }), expect(&[]));
    let error = read(&path, &by(&["acount"])).unwrap_err().to_string();
    assert_eq!(error, "cannot group by `acount`; known are account, meter, hour, day, month, plan");
}

#[test]
fn an_empty_ledger_has_no_usage_by_anything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let store = Store::open(&path).unwrap();
    let query = Query { by: vec!["plan".to_owned()], ..Query::default() };
    assert_eq!(read(&path, &query).unwrap(), []);
    store.close().unwrap();
    assert_eq!(read(&path, &Query::default()).unwrap(), []);
}

#[test]
fn what_is_no_ledger_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let refused = |name: &str| {
        let before = fs::read(&path).unwrap();
        for error in [Store::open(&path).map(|_| ()).unwrap_err(), read(&path, &Query::default()).unwrap_err()] {
            let text = error.to_string();
            assert!(text.starts_with(path.to_str().unwrap()) && text.contains(name), "{text}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    };
    fs::write(&path, "accounts receivable ".repeat(100)).unwrap();
    refused("is not a tollgate ledger");
    fs::remove_file(&path).unwrap();
    raw(&path).execute_batch("CREATE TABLE theirs (x)").unwrap();
    refused("is not a tollgate ledger");
    fs::remove_file(&path).unwrap();
    Store::open(&path).unwrap().close().unwrap();
    raw(&path).execute_batch("PRAGMA user_version = 2").unwrap();
    refused("was written by a newer tollgate (schema 2, this one knows 1)");
}

#[test]
fn what_is_left_of_a_ledger_is_not_taken_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path).unwrap();
    store.append(1, &[row("a", 1, "free")], 7).unwrap();
    let log = fs::read(with_suffix(&path, "-wal")).unwrap();
    drop(store);
    let refused = || Store::open(&path).map(|_| ()).unwrap_err().to_string();
    for length in [1, 16, 511] {
        fs::write(&path, &log[..length]).unwrap();
        assert!(refused().contains("is damaged (the file ends within its first page)"));
    }
    fs::write(&path, "").unwrap();
    fs::write(with_suffix(&path, "-wal"), &log).unwrap();
    assert!(refused().contains("is damaged (the file is empty, but its log is not)"));
    assert_eq!(fs::read(with_suffix(&path, "-wal")).unwrap(), log);
}

#[test]
fn a_missing_file_is_not_made_by_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let error = read(&path, &Query::default()).unwrap_err().to_string();
    assert_eq!(error, format!("{}: cannot be opened: No such file or directory (os error 2)", path.display()));
    assert!(!path.exists());
    let error = Store::open(&folder.path().join("no/such/ledger.db")).map(|_| ()).unwrap_err().to_string();
    assert!(error.ends_with("no/such/ledger.db: cannot be opened: No such file or directory (os error 2)"), "{error}");
}

#[test]
fn a_file_that_was_moved_away_is_noticed_and_used_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, away) = (folder.path().join("ledger.db"), folder.path().join("away.db"));
    let mut store = Store::open(&path).unwrap();
    store.append(1, &[row("a", 1, "free")], 7).unwrap();
    fs::rename(&path, &away).unwrap();
    assert!(store.append(2, &[row("a", 2, "free")], 8).unwrap_err().contains("was removed or replaced"));
    fs::write(&path, "").unwrap();
    assert!(store.append(2, &[row("a", 2, "free")], 8).unwrap_err().contains("was removed or replaced"));
    fs::rename(&away, &path).unwrap();
    store.append(2, &[row("a", 2, "free")], 8).unwrap();
    assert_eq!(sums(&path), [("a".to_owned(), 3, 2)]);
}

#[test]
fn a_path_with_signs_that_mean_something_in_a_uri_can_be_read_without_writing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("50% of #1?.db");
    let mut store = Store::open(&path).unwrap();
    store.append(1, &[row("a", 1, "free")], 7).unwrap();
    store.close().unwrap();
    let connection = Connection::open_with_flags(unchanging(&path), OpenFlags::default()).unwrap();
    let lines: i64 = connection.query_row("SELECT SUM(lines) FROM usage", [], |row| row.get(0)).unwrap();
    assert_eq!(lines, 1);
}
