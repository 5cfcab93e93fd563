//! The file: opening connections to it, knowing it as ours, bringing its schema up to date.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::{OpenError, port_error};
use crate::schema::{APPLICATION_ID, MIGRATIONS};

/// The mode of `auto_vacuum` in which a file gives pages back when it is asked to
/// (<https://www.sqlite.org/pragma.html#pragma_auto_vacuum>).
pub(crate) const INCREMENTAL: i64 = 2;
/// Bytes of a page of a file that we make.
const PAGE_BYTES: u32 = 4096;
/// How long a connection waits for another process's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 64;

/// Whether a connection writes or only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Write,
    Read,
}

/// Opens a connection to a file that is known to be ours.
pub(crate) fn connect(path: &Path, purpose: Purpose) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?;
    tune(&mut connection, purpose)?;
    Ok(connection)
}

const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// Opens the file, makes it if there is none, and applies the migrations that it has not seen. `is_host`: no other process
/// decides on the file.
pub(crate) fn open_or_make(path: &Path, is_host: bool) -> Result<Connection, OpenError> {
    make_for_owner(path);
    let failed = |error: rusqlite::Error| storage(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_handler(Some(wait_for_lock)).map_err(failed)?;
    refuse_foreign(&connection, path)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(failed)?;
    // A new file can give the pages of deleted runs back. Of an old one this says nothing until it is rewritten.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    switch_to_wal(&connection).map_err(failed)?;
    tune(&mut connection, Purpose::Write).map_err(failed)?;
    migrate(&mut connection, path)?;
    if is_host {
        let_it_shrink(&connection, path).map_err(failed)?;
    }
    Ok(connection)
}

/// Opens a file of ours to copy it as it is, of whatever version it is.
pub(crate) fn open_to_copy(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error: rusqlite::Error| storage(path, &error);
    // A log that a killed host has left can only be read by those who may write.
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX).map_err(failed)?;
    connection.busy_handler(Some(wait_for_lock)).map_err(failed)?;
    refuse_foreign(&connection, path)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(failed)?;
    Ok(connection)
}

/// Makes the file, if there is none, for its owner alone, because others may be able to enter the folder. `SQLite`
/// gives its log the same permissions. A failure is met again, with its code, when `SQLite` opens the file.
fn make_for_owner(path: &Path) {
    drop(std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}

/// A failure of `SQLite` while opening the file.
pub(crate) fn storage(path: &Path, error: &rusqlite::Error) -> OpenError {
    OpenError::Storage { path: path.to_owned(), cause: port_error(error) }
}

/// Has a file that was made before runs were deleted give pages back from now on: it is written anew, once. Without room
/// on the disk for that it stays as it is, and its free pages take new runs.
fn let_it_shrink(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let mode: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if mode == INCREMENTAL {
        return Ok(());
    }
    tracing::info!(file = %path.display(), "the database is written anew once, so that it can give room back to the disk");
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // The copy is as large as the file: it must not stand in memory.
    connection.pragma_update(None, "temp_store", "FILE")?;
    let rewritten = connection.execute_batch("VACUUM");
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    if let Err(error) = rewritten {
        tracing::warn!(error = %error, "failed to write the database anew; it keeps the room of deleted runs for new ones");
    }
    Ok(())
}

/// A number that changes whenever another connection, of any process, has committed.
pub(crate) fn data_version(connection: &Connection) -> Option<i64> {
    let mut statement = connection.prepare_cached("PRAGMA data_version").ok()?;
    statement.query_row([], |row| row.get(0)).ok()
}

/// Where the write-ahead log of a file is.
pub(crate) fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn tune(connection: &mut Connection, purpose: Purpose) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait_for_lock))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A statement keeps its plan for all bound values; otherwise `SQLite` plans most statements at each use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Commits are synced by the writer's own thread, and checkpoints are the writer's as well.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let cache_kib = match purpose {
        Purpose::Write => -65_536,
        Purpose::Read => -8_192,
    };
    connection.pragma_update(None, "cache_size", cache_kib)?;
    connection.pragma_update(None, "query_only", purpose == Purpose::Read)
}

/// Waits for another process's lock: briefly at first, since transactions here take about a millisecond.
fn wait_for_lock(tries: i32) -> bool {
    let (sleep, until) = if tries < 100 { (100, 100) } else { (1000, 100 + LOCK_TIMEOUT.as_millis()) };
    std::thread::sleep(Duration::from_micros(sleep));
    u128::try_from(tries).unwrap_or(0) < until || tries < 100
}

fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let read = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = read("PRAGMA application_id").map_err(|error| storage(path, &error))?;
    let tables = read("SELECT count(*) FROM sqlite_schema").map_err(|error| storage(path, &error))?;
    if application == APPLICATION_ID || (application == 0 && tables == 0) {
        return Ok(());
    }
    Err(OpenError::Foreign { path: path.to_owned() })
}

/// Two processes that make the same file at once may find it locked without being asked to wait.
fn switch_to_wal(connection: &Connection) -> rusqlite::Result<()> {
    let mut tries = 0;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && wait_for_lock(tries) => {
                tries += 1;
            }
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| storage(path, &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let Some(missing) = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..)) else {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    };
    if missing.is_empty() {
        return Ok(());
    }
    for migration in missing {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    transaction.commit().map_err(failed)
}
