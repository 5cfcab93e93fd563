//! Whether the store can be used, by its last writes and reads.

use std::path::Path;

use tokio::sync::watch;
use windlass_engine::ports::{ErrorClass, PortError};

use crate::error::{DAMAGED, IO, LOCKED, NOT_SYNCED, PANICKED, TAKEN_AWAY};

/// Whether the store takes writes.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    /// Why it refuses every write until it is opened again, once it does.
    pub(crate) broken: watch::Sender<Option<PortError>>,
    /// Why the last write failed, if it failed for a reason that would stop any write.
    pub(crate) failing: watch::Sender<Option<PortError>>,
}

impl Condition {
    /// Why it takes nothing further, once it does not.
    pub(crate) fn why_broken(&self) -> Option<PortError> {
        self.broken.borrow().clone()
    }

    /// From here on it takes nothing further. The first reason stays.
    pub(crate) fn breaks(&self, why: &PortError) {
        self.failing.send_if_modified(|failing| {
            let is_first = self.why_broken().is_none();
            if is_first {
                *failing = Some(why.clone());
            }
            is_first
        });
        self.broken.send_if_modified(|broken| {
            let is_first = broken.is_none();
            broken.get_or_insert_with(|| why.clone());
            is_first
        });
    }

    /// Another process that holds the lock is no fault.
    pub(crate) fn failed(&self, error: &PortError) {
        if error.code != LOCKED && !self.stays() {
            self.failing.send_replace(Some(error.clone()));
        }
    }

    /// A read that meets a damaged file, or a disk that can not be read, says as much of the store as a write. A bad request of
    /// a caller does not.
    pub(crate) fn failed_to_read(&self, error: &PortError) {
        if [DAMAGED, IO].contains(&error.code) {
            self.failed(error);
        }
    }

    pub(crate) fn wrote(&self) {
        if !self.stays() {
            self.failing.send_if_modified(|failing| failing.take().is_some());
        }
    }

    /// A damaged file stays damaged, though its sound parts can be written.
    pub(crate) fn stays(&self) -> bool {
        self.why_broken().is_some() || self.failing.borrow().as_ref().is_some_and(|error| error.code == DAMAGED)
    }
}

pub(crate) fn taken_away(path: &Path) -> PortError {
    let path = path.display();
    PortError::new(ErrorClass::Retry, TAKEN_AWAY, format!("use the store: {path} was removed or replaced under it"))
}

pub(crate) fn panicked(thread: &str) -> PortError {
    PortError::new(
        ErrorClass::Retry,
        PANICKED,
        format!("use the store: its thread {thread} has failed by a fault of this program"),
    )
}

pub(crate) fn not_synced() -> PortError {
    PortError::new(
        ErrorClass::Retry,
        NOT_SYNCED,
        "sync the log to the disk: whether the write holds is known after a restart",
    )
}
