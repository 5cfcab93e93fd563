//! The register of tasks: putting a definition, deleting a task, and when it is due.

use std::sync::Arc;

use windlass_domain::definition::Definition;
use windlass_domain::ids::TaskName;
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::ports::{PortError, PutTask, TaskRecord};

/// Attempts to write a task's record while others write it too.
const MAX_WRITE_ATTEMPTS: u32 = 8;

/// Puts, shows and deletes tasks.
#[derive(Clone)]
pub struct Registry {
    ports: Ports,
    definitions: Arc<Definitions>,
}

/// A task and its newest version.
#[derive(Debug, Clone)]
pub struct RegisteredTask {
    /// Its record.
    pub record: TaskRecord,
    /// The definition of its newest version.
    pub definition: Arc<Definition>,
}

/// Why a task is not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is no such task.
    #[error("there is no task `{0}`")]
    UnknownTask(TaskName),
    /// The host failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Registry {
    /// The register of that host's tasks.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        Self { ports, definitions }
    }

    /// Makes the definition the task's newest version, unless it equals the newest there is.
    ///
    /// A schedule that has not changed keeps its place: a due time that was missed while the host was down is not
    /// forgotten because somebody applies the same file again.
    pub async fn put(&self, definition: &Definition) -> Result<PutTask, PortError> {
        let now = self.ports.clock.now();
        let next_due = match self.kept_place(definition).await? {
            Some(place) => Some(place),
            None => definition.schedule.as_ref().and_then(|schedule| schedule.next_after(now)),
        };
        self.ports.tasks.put(&definition.task, &definition.source, next_due, now).await
    }

    /// The stored next due time, if the definition's schedule is the one that it was computed by.
    async fn kept_place(&self, definition: &Definition) -> Result<Option<Timestamp>, PortError> {
        let Some(record) = self.ports.tasks.get(&definition.task).await? else {
            return Ok(None);
        };
        let (false, Some(place)) = (record.deleted, record.next_due) else {
            return Ok(None);
        };
        let stored = self.ports.tasks.version(&record.name, record.version).await?;
        let same = stored.is_some_and(|stored| stored.source.get("schedule") == definition.source.get("schedule"));
        Ok(same.then_some(place))
    }

    /// A task and its newest version; deleted ones are told by their record.
    pub async fn get(&self, name: &TaskName) -> Result<Option<RegisteredTask>, PortError> {
        match self.ports.tasks.get(name).await? {
            Some(record) => self.registered(record).await.map(Some),
            None => Ok(None),
        }
    }

    /// Up to `most` tasks that are not deleted, by name, after that one.
    pub async fn list(&self, after: Option<&TaskName>, most: usize) -> Result<Vec<RegisteredTask>, PortError> {
        let records = self.ports.tasks.list(after, most).await?;
        let mut tasks = Vec::with_capacity(records.len());
        for record in records {
            tasks.push(self.registered(record).await?);
        }
        Ok(tasks)
    }

    async fn registered(&self, record: TaskRecord) -> Result<RegisteredTask, PortError> {
        let definition = self.definitions.get(&record.name, record.version).await?;
        Ok(RegisteredTask { record, definition })
    }

    /// Deletes a task: it starts no runs and is never due; its open runs go on, its versions stay. Deleting it again
    /// changes nothing.
    pub async fn delete(&self, name: &TaskName) -> Result<(), DeleteError> {
        let mut backoff = Backoff::of_conflicts();
        for _ in 1..MAX_WRITE_ATTEMPTS {
            match self.try_delete(name).await {
                Err(DeleteError::Port(error)) if error.is_conflict() => backoff.wait().await,
                done => return done,
            }
        }
        self.try_delete(name).await
    }

    async fn try_delete(&self, name: &TaskName) -> Result<(), DeleteError> {
        let record = self.ports.tasks.get(name).await?;
        let record = record.ok_or_else(|| DeleteError::UnknownTask(name.clone()))?;
        if record.deleted {
            return Ok(());
        }
        let deleted = TaskRecord { deleted: true, next_due: None, waiting: Vec::new(), ..record };
        Ok(self.ports.tasks.update(&deleted).await?)
    }

    /// The next due times of a definition's schedule, at most `count`; none without a schedule.
    pub fn upcoming(&self, definition: &Definition, count: usize) -> Vec<Timestamp> {
        let now = self.ports.clock.now();
        definition.schedule.as_ref().map(|schedule| schedule.upcoming(now, count)).unwrap_or_default()
    }
}
