//! Failures of the file, classified once, each with its code and page.

use std::path::PathBuf;

use rusqlite::ErrorCode;
use windlass_engine::ports::{ErrorClass, PortError};

/// Another process holds the file's lock for too long.
pub(crate) const LOCKED: &str = "WL0301";
/// There is no room left for a write.
pub(crate) const FULL: &str = "WL0303";
/// The operating system failed to read or write.
pub(crate) const IO: &str = "WL0304";
/// The file is damaged.
pub(crate) const DAMAGED: &str = "WL0305";
/// The file or its folder may not be written.
pub(crate) const NOT_WRITABLE: &str = "WL0306";
/// The store has been closed.
pub(crate) const CLOSED: &str = "WL0307";
/// The log could not be synced, so a commit may not be durable.
pub(crate) const NOT_SYNCED: &str = "WL0308";
/// `SQLite` refused a statement: a fault of this program.
pub(crate) const UNEXPECTED: &str = "WL0309";
/// The process could not make or enter the data folder.
const FOLDER: &str = "WL0310";
/// Another host works on the folder.
const SECOND_HOST: &str = "WL0311";
/// The file is another program's.
const FOREIGN: &str = "WL0312";
/// The file was written by a later version.
const NEWER: &str = "WL0313";
/// A batch or a message is over its limit.
pub(crate) const OVER_LIMIT: &str = "WL0314";
/// No list gave this cursor.
pub(crate) const CURSOR: &str = "WL0315";
/// No such version of a task.
pub(crate) const NO_VERSION: &str = "WL0412";
/// A stored record is damaged, or of an unknown version.
pub(crate) const UNREADABLE: &str = "WL0316";
/// A file of the open store was removed or replaced.
pub(crate) const TAKEN_AWAY: &str = "WL0317";

/// A thread of the store has panicked: a fault of this program.
pub(crate) const PANICKED: &str = "WL0318";

/// Why the store could not open a data folder.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The process could not make or enter the folder.
    #[error("open the data folder {}: {cause}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        cause: String,
    },
    /// Another host works on the folder.
    #[error("open the data folder {}: another host works on it (process {holder}); stop it, or choose another folder", .path.display())]
    SecondHost {
        /// The folder.
        path: PathBuf,
        /// The process id of the other host, as it wrote it down.
        holder: String,
    },
    /// The file is another program's.
    #[error("open {}: it is a database of another program", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version of Windlass.
    #[error("open {}: its schema is version {found}, and this program knows versions up to {known}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Reading or writing the file failed.
    #[error("open {}: {cause}", .path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: PortError,
    },
}

impl OpenError {
    /// The stable code, with a page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } => FOLDER,
            Self::SecondHost { .. } => SECOND_HOST,
            Self::Foreign { .. } => FOREIGN,
            Self::Newer { .. } => NEWER,
            Self::Storage { cause, .. } => cause.code,
        }
    }
}

/// Why a piece of work on the file did not give a result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was refused before it wrote anything; the work beside it goes on.
    Refused(PortError),
    /// `SQLite` failed; the transaction is rolled back.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::Refused(error)
    }
}

impl From<Failure> for PortError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Sqlite(error) => port_error(&error),
        }
    }
}

/// A failure of `SQLite`, as the engine sees it.
pub(crate) fn port_error(error: &rusqlite::Error) -> PortError {
    let (class, code, what) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            (ErrorClass::Retry, LOCKED, "use the database: another process holds its lock")
        }
        Some(ErrorCode::DiskFull) => (ErrorClass::Retry, FULL, "write the database: disk full"),
        Some(ErrorCode::SystemIoFailure) => (ErrorClass::Retry, IO, "read or write the database file"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (ErrorClass::Bug, DAMAGED, "read the database: the file is damaged")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            (ErrorClass::Retry, NOT_WRITABLE, "open the database file for writing")
        }
        _ => (ErrorClass::Bug, UNEXPECTED, "execute a statement"),
    };
    PortError::new(class, code, format!("{what} ({error})"))
}

/// Whether this failure would stop every request of a batch, not only its own.
pub(crate) fn concerns_the_whole_file(error: &rusqlite::Error) -> bool {
    port_error(error).code != UNEXPECTED
}

/// The store has been closed, or its writer has ended.
pub(crate) fn closed() -> PortError {
    PortError::new(ErrorClass::Retry, CLOSED, "use the store: it has been closed")
}

/// The file was checked, and is not sound.
pub(crate) fn damaged(finding: &str) -> PortError {
    PortError::new(ErrorClass::Bug, DAMAGED, format!("read the database: the file is damaged ({finding})"))
}

/// The error for a record that is damaged, or of an unknown version; `what` names the record.
pub(crate) fn unreadable(what: &str, cause: &dyn std::fmt::Display) -> PortError {
    PortError::new(ErrorClass::Bug, UNREADABLE, format!("read {what}: {cause}"))
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn check(sqlite: i32, class: ErrorClass, code: &str) {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(sqlite), None);
        let told = port_error(&error);
        assert_eq!((told.class, told.code), (class, code), "{error}");
        assert_eq!(concerns_the_whole_file(&error), code != "WL0309", "{error}");
    }

    #[test]
    fn failures_of_sqlite_have_class_and_code() {
        check(ffi::SQLITE_BUSY, ErrorClass::Retry, "WL0301");
        check(ffi::SQLITE_LOCKED, ErrorClass::Retry, "WL0301");
        check(ffi::SQLITE_FULL, ErrorClass::Retry, "WL0303");
        check(ffi::SQLITE_IOERR, ErrorClass::Retry, "WL0304");
        check(ffi::SQLITE_CORRUPT, ErrorClass::Bug, "WL0305");
        check(ffi::SQLITE_READONLY, ErrorClass::Retry, "WL0306");
        check(ffi::SQLITE_CONSTRAINT, ErrorClass::Bug, "WL0309");
    }
}
