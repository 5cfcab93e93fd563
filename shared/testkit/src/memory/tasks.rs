//! The tasks of the host.

use async_trait::async_trait;
use serde_json::Value;
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{DueTask, PortError, PutTask, Records, StoredVersion, TaskRecord, Tasks, VersionRecord};

use super::MemoryHost;

#[async_trait]
impl Records<TaskRecord> for MemoryHost {
    async fn load(&self, name: &TaskName) -> Result<Option<TaskRecord>, PortError> {
        Ok(self.state().tasks.get(name))
    }

    async fn commit(&self, before: &TaskRecord, after: &TaskRecord, _: &[PublicEvent]) -> Result<(), PortError> {
        self.write(|state, _| state.tasks.commit(before, after))
    }
}

#[async_trait]
impl Tasks for MemoryHost {
    async fn put(
        &self,
        name: &TaskName,
        source: &Value,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutTask, PortError> {
        Ok(self.write(|state, _| state.tasks.put(name, source, next_due, now)))
    }

    async fn version(&self, name: &TaskName, version: TaskVersion) -> Result<Option<StoredVersion>, PortError> {
        Ok(self.state().tasks.version(name, version))
    }

    async fn versions(
        &self,
        name: &TaskName,
        below: Option<TaskVersion>,
        most: usize,
    ) -> Result<Vec<VersionRecord>, PortError> {
        Ok(self.state().tasks.versions(name, below, most))
    }

    async fn list(&self, after: Option<&TaskName>, most: usize) -> Result<Vec<TaskRecord>, PortError> {
        let state = self.state();
        let later = state.tasks.live().filter(|record| after.is_none_or(|after| record.name > *after));
        Ok(later.take(most).cloned().collect())
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<DueTask>, PortError> {
        Ok(self.state().tasks.due(now, most))
    }

    async fn earliest_due(&self) -> Result<Option<Timestamp>, PortError> {
        Ok(self.state().tasks.live().filter_map(|record| record.next_due).min())
    }
}
