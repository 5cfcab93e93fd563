//! The thread that syncs the log, so that commits survive a power cut.
//!
//! A commit is visible to every reader before it is on the disk. So a reader waits here too if its answer leaves the
//! process ([`crate::store::Store::read_settled`]): until the data that it read is on the disk. A power cut would
//! otherwise take back an answer that a caller already has. The log is one file for all processes, so one sync covers
//! the commits of each of them.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rusqlite::Connection;
use tokio::sync::oneshot;
use windlass_engine::ports::PortError;

use crate::condition::{Condition, not_synced};
use crate::database::data_version;
use crate::meter::{Meter, add};

/// Syncs the log. A test has a disk of its own.
pub(crate) type SyncLog = Box<dyn FnMut() -> std::io::Result<()> + Send>;

/// A writer or reader that waits until all commits are on the disk.
pub(crate) trait Unsynced: Send {
    /// Answers: `fate` says whether the sync succeeded.
    fn answer(self: Box<Self>, fate: Result<(), PortError>);
}

/// A reader.
impl Unsynced for oneshot::Sender<Result<(), PortError>> {
    fn answer(self: Box<Self>, fate: Result<(), PortError>) {
        // The reader may have gone.
        drop(self.send(fate));
    }
}

/// The work of the thread.
pub(crate) struct Syncer {
    sync_log: SyncLog,
    /// Sees whether any process has committed.
    connection: Connection,
    /// The version of the file's content that the last sync covered.
    covered: Option<i64>,
    meter: Arc<Meter>,
    condition: Arc<Condition>,
}

impl Syncer {
    pub(crate) fn new(sync_log: SyncLog, connection: Connection, meter: Arc<Meter>, condition: Arc<Condition>) -> Self {
        Self { sync_log, connection, covered: None, meter, condition }
    }

    pub(crate) fn run(mut self, to_sync: &Receiver<Vec<Box<dyn Unsynced>>>) {
        while let Ok(mut waiting) = to_sync.recv() {
            while let Ok(more) = to_sync.try_recv() {
                waiting.extend(more);
            }
            let fate = self.sync();
            for one in waiting {
                one.answer(fate.clone());
            }
        }
    }

    /// After a failed sync the contents of the disk are unknown, and a second sync may succeed without having written
    /// them. From then on the store refuses everything, until a process opens it again and reads the disk.
    fn sync(&mut self) -> Result<(), PortError> {
        if let Some(why) = self.condition.why_broken() {
            return Err(why);
        }
        // Read before the sync, because the sync may not cover a commit that comes meanwhile.
        let version = data_version(&self.connection);
        if version.is_some() && version == self.covered {
            return Ok(());
        }
        add(&self.meter.syncs, 1);
        (self.sync_log)().map_err(|error| {
            tracing::error!(error = %error, "failed to sync the log; the store refuses writes until it is restarted");
            self.condition.breaks(&not_synced());
            not_synced()
        })?;
        self.covered = version;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
