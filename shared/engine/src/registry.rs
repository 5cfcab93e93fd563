//! The register of tasks: putting a definition, deleting a task, and when it is due.
//!
//! A put and a delete both write the task's record first, then its schedule. A crash in between leaves a schedule that
//! is behind the record, and repeating the call mends it. After a put, due times go on by the rule before, or are not
//! fired yet. After a delete, they are fired and start nothing, for a deleted task starts no run. The other order would
//! leave, after a delete, a task that every caller sees with its schedule and that is never due.

use std::sync::Arc;

use windlass_domain::definition::{Definition, Schedule};
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::ports::{ErrorClass, PortError, PutTask, ScheduleRefusal, TaskRecord};

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

/// A task in a list. An unreadable task hides no other.
#[derive(Debug, Clone)]
pub enum ListedTask {
    /// A task, and its newest version.
    Readable(RegisteredTask),
    /// A task whose newest version cannot be read, and why.
    Unreadable(TaskRecord, PortError),
}

impl ListedTask {
    /// Its record.
    pub fn record(&self) -> &TaskRecord {
        match self {
            Self::Readable(task) => &task.record,
            Self::Unreadable(record, _) => record,
        }
    }
}

/// Why a definition is not put.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The host cannot keep its schedule. Nothing was written.
    #[error(transparent)]
    Schedule(#[from] ScheduleRefusal),
    /// The host failed.
    #[error(transparent)]
    Port(#[from] PortError),
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

/// A task's newest version, by its record: it gives the schedule that the host must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newest {
    /// That of this version.
    Version(TaskVersion),
    /// None: it has been deleted.
    Deleted,
}

impl Newest {
    fn of(record: &TaskRecord) -> Self {
        if record.deleted { Self::Deleted } else { Self::Version(record.version) }
    }
}

impl Registry {
    /// The register of that host's tasks.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        Self { ports, definitions }
    }

    /// Makes the definition the task's newest version, unless it equals the newest there is.
    ///
    /// A schedule that has not changed keeps its place: putting the same file again forgets no due time missed while
    /// the host was down.
    pub async fn put(&self, definition: &Definition) -> Result<PutTask, PutError> {
        let schedule = definition.schedule.as_ref();
        schedule.map_or(Ok(()), |schedule| self.ports.schedules.check(schedule))?;
        let now = self.ports.clock.now();
        let next_due = match self.kept_place(definition, now).await? {
            Some(place) => Some(place),
            None => schedule.and_then(|schedule| schedule.next_after(now)),
        };
        let put = self.ports.tasks.put(&definition.task, &definition.source, next_due, now).await?;
        self.keep_schedule(&definition.task, Newest::Version(put.version), schedule.cloned()).await?;
        Ok(put)
    }

    /// Has the host fire by the task's record, also when callers write the record at the same time. The caller that
    /// writes the schedule last reads the record afterwards, and writes again if the record has changed.
    async fn keep_schedule(
        &self,
        name: &TaskName,
        mut newest: Newest,
        mut schedule: Option<Schedule>,
    ) -> Result<(), PortError> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            match &schedule {
                Some(schedule) => self.ports.schedules.put(name, schedule, self.ports.clock.now()).await?,
                None => self.ports.schedules.remove(name).await?,
            }
            let Some(record) = self.ports.tasks.load(name).await? else { return Ok(()) };
            let found = Newest::of(&record);
            if found == newest {
                return Ok(());
            }
            schedule = match found {
                Newest::Deleted => None,
                Newest::Version(version) => self.definitions.get(name, version).await?.schedule.clone(),
            };
            newest = found;
        }
        Err(PortError::conflict())
    }

    /// The stored next due time, if it was computed by the definition's schedule, and by no clock that was ahead.
    async fn kept_place(&self, definition: &Definition, now: Timestamp) -> Result<Option<Timestamp>, PortError> {
        let Some(record) = self.ports.tasks.load(&definition.task).await? else {
            return Ok(None);
        };
        let (false, Some(place)) = (record.deleted, record.next_due) else {
            return Ok(None);
        };
        let stored = self.ports.tasks.version(&record.name, record.version).await?;
        let same = stored.is_some_and(|stored| stored.source.get("schedule") == definition.source.get("schedule"));
        let is_ahead = definition.schedule.as_ref().is_some_and(|schedule| record.put_back(schedule, now).is_some());
        Ok((same && !is_ahead).then_some(place))
    }

    /// A task and its newest version, from its record; deleted tasks are included.
    pub async fn get(&self, name: &TaskName) -> Result<Option<RegisteredTask>, PortError> {
        match self.ports.tasks.load(name).await? {
            Some(record) => self.registered(record).await.map(Some),
            None => Ok(None),
        }
    }

    /// Up to `most` tasks that are not deleted, by name, after that one.
    pub async fn list(&self, after: Option<&TaskName>, most: usize) -> Result<Vec<ListedTask>, PortError> {
        let records = self.ports.tasks.list(after, most).await?;
        let mut tasks = Vec::with_capacity(records.len());
        for record in records {
            tasks.push(match self.definitions.get(&record.name, record.version).await {
                Ok(definition) => ListedTask::Readable(RegisteredTask { record, definition }),
                Err(error) if error.class == ErrorClass::Bug => ListedTask::Unreadable(record, error),
                Err(error) => return Err(error),
            });
        }
        Ok(tasks)
    }

    async fn registered(&self, record: TaskRecord) -> Result<RegisteredTask, PortError> {
        let definition = self.definitions.get(&record.name, record.version).await?;
        Ok(RegisteredTask { record, definition })
    }

    /// Deletes a task: it starts no runs and is never due; its open runs go on, its versions stay. A second deletion
    /// only completes one that a crash interrupted.
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
        let record = self.ports.tasks.load(name).await?;
        let record = record.ok_or_else(|| DeleteError::UnknownTask(name.clone()))?;
        if !record.deleted {
            let revision = record.revision + 1;
            let deleted = TaskRecord { deleted: true, next_due: None, waiting: Vec::new(), revision, ..record.clone() };
            self.ports.tasks.commit(&record, &deleted, &[]).await?;
        }
        Ok(self.keep_schedule(name, Newest::Deleted, None).await?)
    }

    /// The next due times of a definition's schedule, at most `count`; none without a schedule.
    pub fn upcoming(&self, definition: &Definition, count: usize) -> Vec<Timestamp> {
        let now = self.ports.clock.now();
        definition.schedule.as_ref().map(|schedule| schedule.upcoming(now, count)).unwrap_or_default()
    }
}
