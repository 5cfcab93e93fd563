//! A backup: the store of a folder as one file, while a host works there or not.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use windlass_engine::ports::PortError;

use crate::database::open_to_copy;
use crate::error::{OpenError, damaged, port_error};
use crate::store::FILE_NAME;

/// Why there is no backup. Its text fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder holds no store, or one that can not be read.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The backup can not be written there.
    #[error("write the backup {}: {cause}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        cause: String,
    },
    /// The copy could not be made, or is not sound.
    #[error("make the backup {}: {cause}", .path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: PortError,
    },
}

impl BackupError {
    /// The stable code, with a page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Write { .. } => "WL0621",
            Self::Copy { cause, .. } => cause.code,
        }
    }
}

/// Writes the store of that folder into a file that only its owner may read, and gives its size in bytes. The file is there
/// whole, synced and sound, or not at all; one that is there already stays as it is. The copy has every commit that was
/// acknowledged before the call.
///
/// It is one transaction that reads (`VACUUM INTO`). `SQLite`'s stepwise backup begins anew whenever another process commits,
/// and never ends beside a host at work; in one step it takes as long as this, and copies the free pages, too.
pub fn back_up(folder: &Path, file: &Path) -> Result<u64, BackupError> {
    let failed = |error: std::io::Error| BackupError::Write { path: file.to_owned(), cause: error.to_string() };
    let copying = |error: rusqlite::Error| BackupError::Copy { path: file.to_owned(), cause: port_error(&error) };
    let source = folder.join(FILE_NAME);
    std::fs::metadata(&source).map_err(|error| OpenError::Folder {
        path: folder.to_owned(),
        cause: if error.kind() == std::io::ErrorKind::NotFound {
            format!("it has no {FILE_NAME}: no host has worked there")
        } else {
            error.to_string()
        },
    })?;
    let exists = || std::io::Error::other("there is a file already; name another one, or remove it first");
    if file.symlink_metadata().is_ok() {
        return Err(failed(exists()));
    }
    let beside = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    // It has mode 600, and goes with this function unless it gets its name.
    let draft = tempfile::Builder::new().prefix(".windlass-backup-").tempfile_in(beside).map_err(failed)?;
    let text = draft.path().to_str().ok_or_else(|| failed(std::io::Error::other("its path is not UTF-8")))?;
    let reading = open_to_copy(&source)?;
    reading.execute("VACUUM INTO ?1", [text]).map_err(copying)?;
    drop(reading);
    check(draft.path()).map_err(|cause| BackupError::Copy { path: file.to_owned(), cause })?;
    draft.as_file().sync_all().map_err(failed)?;
    let bytes = draft.as_file().metadata().map_err(failed)?.len();
    draft.persist_noclobber(file).map_err(|error| {
        let is_there = error.error.kind() == std::io::ErrorKind::AlreadyExists;
        failed(if is_there { exists() } else { error.error })
    })?;
    File::open(beside).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(bytes)
}

/// Reads the copy and checks that it is sound.
fn check(copy: &Path) -> Result<(), PortError> {
    let verdict = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|copy| copy.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)));
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(damaged(&verdict)),
        Err(error) => Err(port_error(&error)),
    }
}
