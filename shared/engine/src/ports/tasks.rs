//! Tasks: their versions, and what their schedules are about.

use async_trait::async_trait;
use serde_json::Value;
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::schedule::TaskRecord;
use windlass_domain::time::{Millis, Timestamp};

use super::{PortError, Records};

/// A version of a definition, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVersion {
    /// Its number.
    pub version: TaskVersion,
    /// The definition, as JSON.
    pub source: Value,
    /// When it was written.
    pub created_at: Timestamp,
}

/// A version of a task in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRecord {
    /// Its number.
    pub version: TaskVersion,
    /// When it was written.
    pub created_at: Timestamp,
}

/// What became of a definition that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutTask {
    /// The version that now is the newest.
    pub version: TaskVersion,
    /// Whether this put made it; a definition that equals the newest version makes none.
    pub created: bool,
}

/// A task that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct DueTask {
    /// Its record.
    pub record: TaskRecord,
    /// The due time that has come.
    pub due: Timestamp,
}

/// Tasks and their versions. [`Records`] reads and writes a record that exists, deleted ones included.
#[async_trait]
pub trait Tasks: Records<TaskRecord> {
    /// Writes a definition as the task's newest version, unless it equals (as JSON) the newest one there is;
    /// brings back a deleted task. `next_due` becomes that of the record.
    async fn put(
        &self,
        name: &TaskName,
        source: &Value,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutTask, PortError>;

    /// One version of a task; versions never change. The newest is never deleted, and neither is one that a run has.
    async fn version(&self, name: &TaskName, version: TaskVersion) -> Result<Option<StoredVersion>, PortError>;

    /// Deletes the versions that no run has, and that a newer one replaced longer ago than `default`. A host that
    /// keeps every version leaves this as it is.
    async fn expire_versions(&self, _default: Millis) -> Result<(), PortError> {
        Ok(())
    }

    /// Up to `most` versions of a task that are below that number, the newest first. A host reads no definition for it.
    async fn versions(
        &self,
        name: &TaskName,
        below: Option<TaskVersion>,
        most: usize,
    ) -> Result<Vec<VersionRecord>, PortError>;

    /// Up to `most` tasks that are not deleted, by name, after that one.
    async fn list(&self, after: Option<&TaskName>, most: usize) -> Result<Vec<TaskRecord>, PortError>;

    /// Up to `most` tasks that are not deleted and whose `next_due` has come.
    ///
    /// For the engine's own [`crate::scheduler::Scheduler`] alone. A host whose time is kept by a service
    /// ([`super::Schedules`]) runs no such loop, keeps no index of due times, and leaves this as it is: it finds none.
    async fn due(&self, _now: Timestamp, _most: usize) -> Result<Vec<DueTask>, PortError> {
        Ok(Vec::new())
    }

    /// The earliest `next_due` of all tasks; for the engine's own scheduler alone, as [`Tasks::due`] is.
    async fn earliest_due(&self) -> Result<Option<Timestamp>, PortError> {
        Ok(None)
    }
}
