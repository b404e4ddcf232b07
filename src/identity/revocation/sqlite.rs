//! The revocations as a SQLite file.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::order::Record;
use crate::model::Mark;

const SCHEMA: &str = include_str!("schema.sql");
const SCHEMA_VERSION: i64 = 1;
/// "TolR": no other program's database is mistaken for ours, nor a ledger.
const APPLICATION: i64 = 0x546f_6c52;
/// How long a write waits for another process that writes; FusionAuth waits two seconds for the whole answer.
const BUSY: Duration = Duration::from_millis(700);

/// The connection of the one thread that uses it.
pub(super) struct Store {
    connection: Connection,
    /// The newest row that was read.
    seq: i64,
    /// Changes when another process wrote.
    version: i64,
}

impl Store {
    /// Opens or creates the file.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        // One folder is made, as the default needs it; a longer path that is not there is a slip of the pen.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
            fs::create_dir(folder).map_err(|error| failed(&error))?;
        }
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(&error)),
            Ok(_) | Err(_) => {}
        }
        let connection = connect(path).map_err(|error| failed(&describe(&error)))?;
        begin(&connection).map_err(|text| failed(&text))?;
        Ok(Self { connection, seq: 0, version: 0 })
    }

    /// All or none of it is on disk when this returns.
    pub(super) fn write(&mut self, records: &[Record]) -> Result<(), String> {
        self.transaction(|transaction| {
            let mut replace = transaction.prepare_cached("DELETE FROM revoked WHERE mark = ?1 AND cutoff < ?2")?;
            let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO revoked (mark, cutoff) VALUES (?1, ?2)")?;
            for record in records {
                let mark = bytes(record.mark);
                replace.execute(params![mark, record.cutoff])?;
                insert.execute(params![mark, record.cutoff])?;
            }
            Ok(())
        })
    }

    /// Rows that were added since the last time, by whomever.
    pub(super) fn read(&mut self, mut take: impl FnMut(Record)) -> Result<(), String> {
        let version = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(|error| describe(&error))?;
        if std::mem::replace(&mut self.version, version) == version {
            return Ok(());
        }
        let newest = self.newest(&mut take).map_err(|error| describe(&error));
        if newest.is_err() {
            self.version = 0;
        }
        self.seq = newest?;
        Ok(())
    }

    fn newest(&self, take: &mut impl FnMut(Record)) -> rusqlite::Result<i64> {
        let mut rows = self.connection.prepare_cached("SELECT seq, mark, cutoff FROM revoked WHERE seq > ?1 ORDER BY seq")?;
        let mut rows = rows.query([self.seq])?;
        let mut seq = self.seq;
        while let Some(row) = rows.next()? {
            seq = row.get(0)?;
            take(Record { mark: words(&row.get::<_, [u8; 16]>(1)?), cutoff: row.get(2)? });
        }
        Ok(seq)
    }

    /// Drops what is older than an instant.
    pub(super) fn forget_before(&mut self, oldest: u32) -> Result<(), String> {
        self.transaction(|transaction| {
            transaction.prepare_cached("DELETE FROM revoked WHERE cutoff < ?1")?.execute([oldest])?;
            Ok(())
        })
    }

    /// Remembers how far another source was read; it never goes back.
    pub(super) fn note(&mut self, name: &str, value: i64) -> Result<(), String> {
        self.transaction(|transaction| {
            let upsert =
                "INSERT INTO progress (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)";
            transaction.prepare_cached(upsert)?.execute(params![name, value])?;
            Ok(())
        })
    }

    pub(super) fn progress(&self, name: &str) -> Result<Option<i64>, String> {
        let found = self.connection.query_row("SELECT value FROM progress WHERE name = ?1", [name], |row| row.get(0)).optional();
        found.map_err(|error| describe(&error))
    }

    fn transaction(&self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<(), String> {
        let result = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).and_then(|transaction| {
            change(&transaction)?;
            transaction.commit()
        });
        result.map_err(|error| describe(&error))
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    use_log(&connection)?;
    // A 2xx to FusionAuth is a promise that holds without power, too.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216;")?;
    Ok(connection)
}

/// SQLite does not wait for this lock as it waits for others; several gateways may begin at once.
fn use_log(connection: &Connection) -> rusqlite::Result<()> {
    let mut left = 100;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Err(error) if left > 0 && error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => left -= 1,
            outcome => return outcome.map(|_| ()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes the tables if the file is new; refuses what is not ours.
fn begin(connection: &Connection) -> Result<(), String> {
    let number = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let made = (|| {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let tables: i64 = transaction.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if (number("application_id")?, tables) == (0, 0) {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        let found = (number("application_id")?, number("user_version")?);
        transaction.commit()?;
        Ok(found)
    })();
    match made.map_err(|error| describe(&error))? {
        (APPLICATION, SCHEMA_VERSION) => Ok(()),
        (APPLICATION, newer) => Err(format!("was written by a newer tollgate (schema {newer}, this one knows {SCHEMA_VERSION})")),
        _ => Err("is not a file of revocations; name another file or move this one away".into()),
    }
}

fn describe(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "is not a file of revocations; name another file or move this one away".into(),
        Some(ErrorCode::DatabaseBusy) => "is locked by another program".into(),
        Some(ErrorCode::DiskFull) => "the disk is full".into(),
        Some(ErrorCode::CannotOpen) => "cannot be opened; check who may read and write it and its folder".into(),
        _ => error.to_string(),
    }
}

pub(super) fn bytes(mark: Mark) -> [u8; 16] {
    let [a, b, c, d] = mark.map(u32::to_be_bytes);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip([a, b, c, d].concat()).for_each(|(to, from)| *to = from);
    bytes
}

pub(super) fn words(bytes: &[u8; 16]) -> Mark {
    let mut words = bytes.chunks_exact(4).filter_map(|word| Some(u32::from_be_bytes(word.try_into().ok()?)));
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32, cutoff: u32) -> Record {
        Record { mark: [number, 2, 3, 4], cutoff }
    }

    fn read(store: &mut Store) -> Vec<Record> {
        let mut records = Vec::new();
        store.read(|record| records.push(record)).unwrap();
        records
    }

    #[test]
    fn two_processes_see_what_the_other_one_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/revoked.db");
        let (mut one, mut other) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
        assert_eq!(read(&mut one), []);
        one.write(&[record(1, 10), record(2, 20)]).unwrap();
        assert_eq!(read(&mut other), [record(1, 10), record(2, 20)]);
        assert_eq!(read(&mut other), []);
        other.write(&[record(1, 5), record(2, 30), record(3, 30)]).unwrap();
        assert_eq!(read(&mut one), [record(1, 10), record(2, 30), record(3, 30)], "the first was not taken back");
        other.forget_before(30).unwrap();
        drop((one, other));
        let mut again = Store::open(&path).unwrap();
        assert_eq!(read(&mut again), [record(2, 30), record(3, 30)]);
        again.note("log", 7).unwrap();
        again.note("log", 5).unwrap();
        assert_eq!((again.progress("log"), again.progress("else")), (Ok(Some(7)), Ok(None)));
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
        assert!(Store::open(&path).err().unwrap().contains("is not a file of revocations"));
        fs::write(&path, "x".repeat(4096)).unwrap();
        assert!(Store::open(&path).err().unwrap().contains("is not a file of revocations"));
        assert!(Store::open(&folder.path().join("a/b/c.db")).is_err());
    }

    #[test]
    fn marks_come_back_as_they_were() {
        let mark = [1, u32::MAX, 0x0102_0304, 0];
        assert_eq!(words(&bytes(mark)), mark);
    }
}
