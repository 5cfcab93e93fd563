//! Whether the store can be written, by its last writes.

use tokio::sync::watch;
use windlass_engine::ports::{ErrorClass, PortError};

use crate::error::{DAMAGED, LOCKED, NOT_SYNCED};

/// Whether the store takes writes.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    /// Why it refuses every write until it is opened again, once it does.
    pub(crate) broken: watch::Sender<Option<PortError>>,
    /// Why the last write failed, if it failed for a reason that would stop any write.
    pub(crate) failing: watch::Sender<Option<PortError>>,
}

impl Condition {
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.borrow().is_some()
    }

    pub(crate) fn breaks(&self) {
        self.failing.send_replace(Some(not_synced()));
        self.broken.send_replace(Some(not_synced()));
    }

    /// Another process that holds the lock is no fault.
    pub(crate) fn failed(&self, error: &PortError) {
        if error.code != LOCKED && !self.stays() {
            self.failing.send_replace(Some(error.clone()));
        }
    }

    pub(crate) fn wrote(&self) {
        if !self.stays() {
            self.failing.send_if_modified(|failing| failing.take().is_some());
        }
    }

    /// A damaged file stays damaged, though its sound parts can be written.
    pub(crate) fn stays(&self) -> bool {
        self.failing.borrow().as_ref().is_some_and(|error| error.code == DAMAGED || error.code == NOT_SYNCED)
    }
}

pub(crate) fn not_synced() -> PortError {
    PortError::new(
        ErrorClass::Retry,
        NOT_SYNCED,
        "sync the log to the disk: whether the write holds is known after a restart",
    )
}
