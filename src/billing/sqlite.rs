//! The ledger as a SQLite file: the only place that knows SQL.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params, params_from_iter};

use crate::model::{Dimensions, Name};

use super::ledger::LedgerError;
use super::meter::Row;
use super::report::{Query, Total};

const SCHEMA: &str = include_str!("schema.sql");
const SCHEMA_VERSION: i64 = 1;
/// "Toll", so that no other program's database is mistaken for a ledger.
const APPLICATION: i64 = 0x546f_6c6c;
/// How long a write waits for another process that writes.
const BUSY: Duration = Duration::from_secs(1);
/// Larger files are not read through when they are opened: a gateway must be back at once.
const MAX_CHECKED: u64 = 64 << 20;
/// Rows of batches after which they are summed up.
const LOOSE_ROWS: usize = 1000;
/// Larger quantities stay in rows of their own, so that no sum of a minute can leave 63 bits.
const MAX_SUMMED: i64 = 1 << 46;
/// Sets of dimensions whose number is remembered.
const MAX_DIMENSIONS: usize = 20_000;

/// The writer's connection.
pub(super) struct Store {
    path: PathBuf,
    /// None after a failure that may have left it in a bad state.
    connection: Option<Connection>,
    file: FileId,
    node_id: i64,
    node: Name,
    epoch: i64,
    dimensions: HashMap<Dimensions, i64>,
    loose_rows: usize,
}

/// Device and inode: the path may lead to another file later.
type FileId = (u64, u64);

impl Store {
    /// Opens or creates the file and takes the next epoch.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        let unreadable = |source| LedgerError::Unreadable { path: path.to_owned(), source };
        // One folder is made, as the default needs it; a longer path that is not there is a slip of the pen.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
            fs::create_dir(folder).map_err(unreadable)?;
        }
        // Usage is nobody else's business; SQLite gives its other two files the rights of this one.
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(unreadable(error)),
            Ok(_) | Err(_) => {}
        }
        let file = file_id(path).map_err(unreadable)?;
        if let Some(text) = stump(path) {
            return Err(LedgerError::Damaged { path: path.to_owned(), text: text.to_owned() });
        }
        let opened = connect(path).and_then(|mut connection| {
            let (node_id, node, epoch) = begin(&mut connection, path)?;
            Ok(Self {
                path: path.to_owned(),
                connection: Some(connection),
                file,
                node_id,
                node,
                epoch,
                dimensions: HashMap::new(),
                loose_rows: 1,
            })
        });
        opened.map_err(|fault| fault.at(path))
    }

    pub(super) fn node(&self) -> Name {
        self.node.clone()
    }

    pub(super) fn epoch(&self) -> u64 {
        u64::try_from(self.epoch).unwrap_or(0)
    }

    /// Writes a batch, or finds that it is written. Everything or nothing is on disk when this returns.
    pub(super) fn append(&mut self, seq: u64, rows: &[Row], now_ms: u64) -> Result<(), String> {
        let result = self.try_append(seq, rows, now_ms);
        self.recover(result)
    }

    /// Moves the rows of past batches into sums per minute. Changes no total.
    pub(super) fn sum_up(&mut self) -> Result<(), String> {
        let result = self.try_sum_up();
        self.recover(result)
    }

    pub(super) fn has_loose_rows(&self) -> bool {
        self.loose_rows > 0
    }

    pub(super) fn has_many_loose_rows(&self) -> bool {
        self.loose_rows >= LOOSE_ROWS
    }

    /// Leaves one file behind, if no other process has it open.
    pub(super) fn close(mut self) -> Result<(), String> {
        let result = if self.has_loose_rows() { self.sum_up() } else { Ok(()) };
        match self.connection.take() {
            Some(connection) => connection.close().map_err(|(_, error)| error.to_string()).and(result),
            None => result,
        }
    }

    fn try_append(&mut self, seq: u64, rows: &[Row], now_ms: u64) -> Result<(), Fault> {
        let (node, epoch, seq) = (self.node_id, self.epoch, signed(seq));
        if file_id(&self.path).ok() != Some(self.file) {
            return Err(Fault::Replaced);
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => reconnect(&self.path)?,
        };
        let transaction = Transaction::new_unchecked(self.connection.insert(connection), TransactionBehavior::Immediate)?;
        let lines: u64 = rows.iter().map(|row| row.tally.lines).sum();
        let advanced = transaction
            .prepare_cached(
                "UPDATE usage_batch SET seq = ?3, lines = lines + ?4, committed_ms = ?5 WHERE node = ?1 AND epoch = ?2 AND seq = ?3 - 1",
            )?
            .execute(params![node, epoch, seq, signed(lines), signed(now_ms)])?;
        if advanced == 0 {
            let mark: i64 = transaction
                .prepare_cached("SELECT seq FROM usage_batch WHERE node = ?1 AND epoch = ?2")?
                .query_row(params![node, epoch], |row| row.get(0))?;
            // An earlier attempt was written although it was reported as failed.
            return if mark >= seq { Ok(()) } else { Err(Fault::Gap { mark, seq }) };
        }
        let inserted = insert(&transaction, &mut self.dimensions, (node, epoch, seq), rows)?;
        transaction.commit()?;
        self.loose_rows += inserted;
        Ok(())
    }

    fn try_sum_up(&mut self) -> Result<(), Fault> {
        let Some(connection) = &self.connection else { return Ok(()) };
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        transaction
            .prepare_cached(
                "INSERT INTO usage_minute (minute, account, meter, dims, quantity, lines)
                 SELECT minute, account, meter, dims, SUM(quantity), SUM(lines) FROM usage_row WHERE quantity <= ?1 GROUP BY 1, 2, 3, 4
                 ON CONFLICT DO UPDATE SET quantity = quantity + excluded.quantity, lines = lines + excluded.lines",
            )?
            .execute([MAX_SUMMED])?;
        transaction.prepare_cached("DELETE FROM usage_row WHERE quantity <= ?1")?.execute([MAX_SUMMED])?;
        transaction.commit()?;
        self.loose_rows = 0;
        Ok(())
    }

    fn recover(&mut self, result: Result<(), Fault>) -> Result<(), String> {
        result.map_err(|fault| {
            // Numbers that were given out in the transaction are void.
            self.dimensions.clear();
            if !fault.leaves_connection_sound() {
                self.connection = None;
            }
            fault.at(&self.path).to_string()
        })
    }
}

fn insert(
    transaction: &Transaction<'_>,
    known: &mut HashMap<Dimensions, i64>,
    (node, epoch, seq): (i64, i64, i64),
    rows: &[Row],
) -> Result<usize, Fault> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO usage_row (node, epoch, seq, line, account, meter, dims, minute, quantity, lines, at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let mut line = 0_i64;
    for row in rows {
        let dims = number(transaction, known, &row.dimensions)?;
        let (mut units, mut lines) = (row.tally.units, signed(row.tally.lines));
        loop {
            // A column holds 63 bits; what is more goes into further rows.
            let quantity = i64::try_from(units).unwrap_or(i64::MAX);
            insert.execute(params![
                node,
                epoch,
                seq,
                line,
                &*row.account,
                &*row.meter,
                dims,
                signed(row.minute),
                quantity,
                lines,
                signed(row.at_ms)
            ])?;
            line += 1;
            lines = 0;
            units -= u128::from(quantity.unsigned_abs());
            if units == 0 {
                break;
            }
        }
    }
    Ok(usize::try_from(line).unwrap_or(usize::MAX))
}

/// The number of a set of dimensions, which is given one if it is new.
fn number(transaction: &Transaction<'_>, known: &mut HashMap<Dimensions, i64>, dimensions: &Dimensions) -> Result<i64, Fault> {
    if let Some(id) = known.get(dimensions) {
        return Ok(*id);
    }
    let object: serde_json::Map<_, _> = dimensions.iter().map(|(name, value)| (name.to_string(), (&**value).into())).collect();
    let text = serde_json::Value::Object(object).to_string();
    transaction.prepare_cached("INSERT INTO usage_dims (dimensions) VALUES (?1) ON CONFLICT DO NOTHING")?.execute([&text])?;
    let id =
        transaction.prepare_cached("SELECT id FROM usage_dims WHERE dimensions = ?1")?.query_row([&text], |row| row.get(0))?;
    if known.len() >= MAX_DIMENSIONS {
        known.clear();
    }
    known.insert(dimensions.clone(), id);
    Ok(id)
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    check(&connection, path)?;
    let mode = use_log(&connection)?;
    if mode != "wal" {
        return Err(Fault::NoWal);
    }
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;")?;
    Ok(connection)
}

/// Switching to the log needs the file for itself, and SQLite does not wait for that as it waits for other locks: of several
/// gateways that start on a new file at once, all but one have to ask again.
fn use_log(connection: &Connection) -> Result<String, rusqlite::Error> {
    let mut left = 100;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(error) if left > 0 && error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => left -= 1,
            outcome => return outcome,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same file again, after a failure; it is never made anew.
fn reconnect(path: &Path) -> Result<Connection, Fault> {
    let connection = connect(path)?;
    match version(&connection)? {
        SCHEMA_VERSION => Ok(connection),
        _ => Err(Fault::NotALedger),
    }
}

/// Refuses what is not a ledger, is damaged, or is newer.
fn check(connection: &Connection, path: &Path) -> Result<(), Fault> {
    // One look: another process may be making the tables.
    let snapshot = connection.unchecked_transaction()?;
    let application: i64 = snapshot.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = snapshot.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && (application != 0 || tables > 0) {
        return Err(Fault::NotALedger);
    }
    let found = version(&snapshot)?;
    if found > SCHEMA_VERSION {
        return Err(Fault::Newer(found));
    }
    if length(path) <= MAX_CHECKED {
        let verdict: String = snapshot.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(Fault::Damaged(verdict));
        }
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<i64, Fault> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Makes the tables if the file is new, and takes the next epoch.
fn begin(connection: &mut Connection, path: &Path) -> Result<(i64, Name, i64), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version(&transaction)? == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        let name = ulid::Ulid::generate().to_string();
        let created = "INSERT INTO usage_node (name, created_ms) VALUES (?1, unixepoch('subsec') * 1000)";
        transaction.execute(created, [name])?;
        tracing::info!(path = %path.display(), "a new ledger was begun");
    }
    let (id, name): (i64, String) =
        transaction.query_row("SELECT id, name FROM usage_node ORDER BY id LIMIT 1", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let epoch = transaction.query_row(
        "INSERT INTO usage_batch (node, epoch, seq, lines, started_ms, committed_ms)
         SELECT ?1, COALESCE(MAX(epoch), 0) + 1, 0, 0, unixepoch('subsec') * 1000, unixepoch('subsec') * 1000 FROM usage_batch
         WHERE node = ?1 RETURNING epoch",
        [id],
        |row| row.get(0),
    )?;
    transaction.commit()?;
    Ok((id, name.into(), epoch))
}

fn file_id(path: &Path) -> std::io::Result<FileId> {
    // Never opened: closing any other handle of the file would give up SQLite's locks on it (POSIX).
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What is left of a ledger that was cut off, and that SQLite would take for a new file.
fn stump(path: &Path) -> Option<&'static str> {
    match length(path) {
        0 if length(&with_suffix(path, "-wal")) > 0 => Some("the file is empty, but its log is not"),
        1..512 => Some("the file ends within its first page"),
        _ => None,
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Adds up what the ledger holds.
pub(super) fn read(path: &Path, query: &Query) -> Result<Vec<Total>, LedgerError> {
    let opened = connect_to_read(path).and_then(|connection| totals(&connection, query));
    opened.map_err(|fault| fault.at(path))
}

fn connect_to_read(path: &Path) -> Result<Connection, Fault> {
    fs::metadata(path).map_err(Fault::Unreadable)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let application = |connection: &Connection| connection.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0));
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let mut found = application(&connection);
    if found.is_err() && length(&with_suffix(path, "-wal")) == 0 {
        // Nothing may be written here, not even SQLite's index of the log; but there is no log, so the file is all there is.
        connection = Connection::open_with_flags(unchanging(path), flags | OpenFlags::SQLITE_OPEN_URI)?;
        found = application(&connection);
    }
    match (found?, version(&connection)?) {
        (APPLICATION, version) if version > SCHEMA_VERSION => Err(Fault::Newer(version)),
        (APPLICATION, _) => Ok(connection),
        _ => Err(Fault::NotALedger),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// <https://www.sqlite.org/uri.html>
fn unchanging(path: &Path) -> String {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{path}?immutable=1")
}

fn totals(connection: &Connection, query: &Query) -> Result<Vec<Total>, Fault> {
    let known = dimension_names(connection)?;
    let by: Vec<String> = if query.by.is_empty() {
        ["account", "meter"].into_iter().map(str::to_owned).chain(known.iter().cloned()).collect()
    } else {
        query.by.clone()
    };
    let mut values: Vec<Value> = Vec::new();
    let mut columns = String::new();
    for name in &by {
        let column = match name.as_str() {
            "account" | "meter" => name.as_str(),
            "hour" => "strftime('%Y-%m-%dT%H:00Z', minute * 60, 'unixepoch')",
            "day" => "strftime('%Y-%m-%d', minute * 60, 'unixepoch')",
            "month" => "strftime('%Y-%m', minute * 60, 'unixepoch')",
            dimension if known.iter().any(|known| known == dimension) => {
                values.push(Value::Text(dimension.to_owned()));
                "COALESCE((SELECT value FROM json_each(dimensions) WHERE key = ?), '')"
            }
            // Nothing is known of the dimensions of an empty ledger.
            _ if known.is_empty() && is_empty(connection)? => "''",
            _ => return Err(Fault::UnknownGroup { name: name.clone(), known }),
        };
        columns.push_str(column);
        columns.push_str(", ");
    }
    // The halves of 63-bit numbers, because SQLite's SUM fails beyond 64 bits.
    let mut sql = format!("SELECT {columns}SUM(quantity >> 32), SUM(quantity & 4294967295), SUM(lines) FROM usage WHERE TRUE");
    let mut restrict = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            sql.push_str(condition);
            values.push(value);
        }
    };
    restrict(" AND minute >= ?", query.since.map(|ms| Value::Integer(signed(ms / 60_000))));
    restrict(" AND minute < ?", query.until.map(|ms| Value::Integer(signed(ms.div_ceil(60_000)))));
    restrict(" AND account = ?", query.account.clone().map(Value::Text));
    restrict(" AND meter = ?", query.meter.clone().map(Value::Text));
    let groups = (1..=by.len()).map(|number| number.to_string()).collect::<Vec<_>>().join(", ");
    sql.push_str(&format!(" GROUP BY {groups} ORDER BY {groups}"));
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        let labels = by.iter().enumerate().map(|(at, name)| Ok((name.clone(), row.get(at)?))).collect::<rusqlite::Result<_>>()?;
        let part = |at: usize| row.get::<_, i64>(by.len() + at);
        let (high, low, lines) = (part(0)?, part(1)?, part(2)?);
        let quantity = (u128::from(high.unsigned_abs()) << 32) + u128::from(low.unsigned_abs());
        Ok(Total { labels, quantity, lines: lines.unsigned_abs() })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn dimension_names(connection: &Connection) -> Result<Vec<String>, Fault> {
    let mut statement = connection.prepare("SELECT DISTINCT key FROM usage_dims, json_each(dimensions) ORDER BY key")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn is_empty(connection: &Connection) -> Result<bool, Fault> {
    Ok(connection.query_row("SELECT 1 FROM usage LIMIT 1", [], |_| Ok(())).optional()?.is_none())
}

/// What can go wrong, before it is known to whom it is told.
enum Fault {
    Sqlite(rusqlite::Error),
    Unreadable(std::io::Error),
    NotALedger,
    Newer(i64),
    Damaged(String),
    NoWal,
    Replaced,
    Gap { mark: i64, seq: i64 },
    UnknownGroup { name: String, known: Vec<String> },
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fault {
    /// After any failure of the disk the connection is made anew: what its cache holds may not be what the disk holds.
    fn leaves_connection_sound(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull)),
            _ => false,
        }
    }

    fn at(self, path: &Path) -> LedgerError {
        let path = path.to_owned();
        let failed = |path, text: &str| LedgerError::Failed { path, text: text.to_owned() };
        match self {
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => LedgerError::NotALedger { path },
                Some(ErrorCode::DatabaseCorrupt) => LedgerError::Damaged { path, text: error.to_string() },
                Some(ErrorCode::DatabaseBusy) => failed(path, "is locked by another program"),
                Some(ErrorCode::CannotOpen) => {
                    failed(path, "cannot be opened; check who may read and write it, its folder and the -wal and -shm files")
                }
                Some(ErrorCode::DiskFull) => failed(path, "the disk is full"),
                _ => failed(path, &error.to_string()),
            },
            Self::Unreadable(source) => LedgerError::Unreadable { path, source },
            Self::NotALedger => LedgerError::NotALedger { path },
            Self::Newer(found) => LedgerError::Newer { path, found, known: SCHEMA_VERSION },
            Self::Damaged(text) => LedgerError::Damaged { path, text },
            Self::NoWal => failed(path, "the file system cannot share memory between processes; use a local disk"),
            Self::Replaced => {
                failed(path, "was removed or replaced while it was in use; put it back, or restart to begin a new one")
            }
            Self::Gap { mark, seq } => {
                failed(path, &format!("batch {seq} cannot follow batch {mark}: the file is an older copy"))
            }
            Self::UnknownGroup { name, known } => {
                let known = ["account", "meter", "hour", "day", "month"].map(str::to_owned).into_iter().chain(known);
                LedgerError::UnknownGroup { name, known: known.collect::<Vec<_>>().join(", ") }
            }
        }
    }
}

#[cfg(test)]
mod tests;
