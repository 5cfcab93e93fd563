//! The private folder of one attempt, and the files that its program may write there.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use windlass_domain::limits::MAX_OUTPUT_BYTES;

use super::file::{self, Part};
use crate::bounded::BYTE_ORDER_MARK;

/// How many folders the agent remembers, to remove them later.
const MAX_LEFTOVERS: usize = 10_000;
/// Bytes of `$WINDLASS_ERROR`: its kind counts, however long its message is.
const MAX_ERROR_FILE_BYTES: usize = 16 * 1024 * 1024;

/// A folder that only the agent's user can open, gone with the attempt.
pub(super) struct Scratch {
    /// There until it is removed.
    folder: Option<TempDir>,
    path: PathBuf,
    leftovers: Leftovers,
}

/// Folders that the agent could not remove when their attempt ended. An agent without a free file descriptor cannot
/// even look into them. It removes them when another attempt begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Leftovers(Arc<Mutex<Vec<PathBuf>>>);

impl Leftovers {
    fn folders(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the leftovers that can be removed by now. Blocks.
    fn remove(&self) {
        let folders = std::mem::take(&mut *self.folders());
        for folder in folders {
            self.take_away(&folder);
        }
    }

    /// Removes a folder, or remembers it. Blocks.
    fn take_away(&self, folder: &Path) {
        match std::fs::remove_dir_all(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, "an attempt's temporary folder could not be removed; it is tried again");
                let mut folders = self.folders();
                if folders.len() < MAX_LEFTOVERS {
                    folders.push(folder.to_owned());
                }
            }
        }
    }
}

/// The content of a file that a program may have written.
#[derive(Debug, PartialEq)]
pub(super) enum Written {
    /// No file, or nothing but white space in it.
    Nothing,
    /// That.
    Bytes(Vec<u8>),
    /// More than may be.
    TooMuch,
    /// The agent cannot read it: it is a folder, a pipe, a link or a file without permission. Holds the reason.
    Unreadable(String),
}

impl Scratch {
    pub(super) async fn new(parent: Option<&Path>, leftovers: &Leftovers) -> io::Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let leftovers = leftovers.clone();
        in_background(move || {
            leftovers.remove();
            let owner_only = std::fs::Permissions::from_mode(0o700);
            let folder = tempfile::Builder::new().prefix("windlass-").permissions(owner_only).tempdir_in(parent)?;
            let path = folder.path().to_owned();
            Ok(Self { folder: Some(folder), path, leftovers })
        })
        .await
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn output(&self) -> PathBuf {
        self.path().join("output")
    }

    pub(super) fn error(&self) -> PathBuf {
        self.path().join("error")
    }

    pub(super) fn progress(&self) -> PathBuf {
        self.path().join("progress")
    }

    pub(super) async fn read_output(&self) -> Written {
        read(&self.output(), MAX_OUTPUT_BYTES).await
    }

    pub(super) async fn read_error(&self) -> Written {
        read(&self.error(), MAX_ERROR_FILE_BYTES).await
    }

    /// Removes the folder without holding up the other attempts. A folder that is dropped instead is removed at once.
    pub(super) async fn remove(self) {
        let removed = in_background(move || {
            drop(self);
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "an attempt's temporary folder could not be removed");
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.folder.take().is_some_and(|folder| folder.close().is_err()) {
            self.leftovers.take_away(&self.path);
        }
    }
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

async fn read(path: &Path, most: usize) -> Written {
    match try_read(path, most).await {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Written::Nothing,
        Err(error) => Written::Unreadable(error.to_string()),
    }
}

async fn try_read(path: &Path, most: usize) -> io::Result<Written> {
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let Some(Part { bytes, .. }) = file::read_patiently(path, bound).await? else { return Ok(Written::Nothing) };
    if bytes.len() > most {
        return Ok(Written::TooMuch);
    }
    let bytes = without_mark(bytes);
    Ok(if bytes.trim_ascii().is_empty() { Written::Nothing } else { Written::Bytes(bytes) })
}

/// The bytes without the byte order mark that some systems put before a text.
fn without_mark(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    bytes
}
