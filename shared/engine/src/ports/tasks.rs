//! Tasks: their versions, and what their schedules are about.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::time::Timestamp;

use super::PortError;

/// What changes about a task: its newest version and its schedule's place. Written conditionally on its revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The task's name.
    pub name: TaskName,
    /// The number of writes of this record.
    pub revision: u64,
    /// The newest version; runs that name none are of this one.
    pub version: TaskVersion,
    /// It has been deleted: it starts no runs, and its open runs go on.
    #[serde(default)]
    pub deleted: bool,
    /// When the newest version was written.
    pub updated_at: Timestamp,
    /// The next due time of its schedule; absent: it has none, or none is left. Only the engine's own scheduler moves
    /// it on: where a service keeps the time, it stays as it was put, and what is shown is computed.
    #[serde(default)]
    pub next_due: Option<Timestamp>,
    /// The due time that had the last turn, under any policy but `allow`. Its run, whose id is derived from it, may
    /// have ended.
    #[serde(default)]
    pub active: Option<Timestamp>,
    /// Due times that wait for their turn, the earliest first.
    #[serde(default)]
    pub waiting: Vec<Timestamp>,
    /// Due times that were passed over, the earliest first: the newest of them, see
    /// [`windlass_domain::overlap::Turns::passed_over`].
    #[serde(default)]
    pub passed_over: Vec<Timestamp>,
}

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

/// Tasks and their versions.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Writes a definition as the task's newest version, unless it equals (as JSON) the newest one there is;
    /// brings back a deleted task. `next_due` becomes that of the record.
    async fn put(
        &self,
        name: &TaskName,
        source: &Value,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutTask, PortError>;

    /// The record of a task, deleted ones included.
    async fn get(&self, name: &TaskName) -> Result<Option<TaskRecord>, PortError>;

    /// One version of a task; versions never change and are never deleted.
    async fn version(&self, name: &TaskName, version: TaskVersion) -> Result<Option<StoredVersion>, PortError>;

    /// Writes the record, if the stored one has the revision that `record` was read with; the stored one has the next.
    async fn update(&self, record: &TaskRecord) -> Result<(), PortError>;

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
