//! Tasks, their versions, and their schedules' places, as the host keeps them.

use std::collections::BTreeMap;

use serde_json::Value;
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{DueTask, PortError, PutTask, StoredVersion, TaskRecord, VersionRecord};

#[derive(Default)]
pub(super) struct TaskTable {
    records: BTreeMap<TaskName, TaskRecord>,
    versions: BTreeMap<(TaskName, TaskVersion), StoredVersion>,
}

impl TaskTable {
    pub(super) fn put(
        &mut self,
        name: &TaskName,
        source: &Value,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> PutTask {
        let record = self.records.entry(name.clone()).or_insert_with(|| TaskRecord {
            name: name.clone(),
            revision: 0,
            version: 0,
            deleted: false,
            updated_at: now,
            next_due: None,
            active: None,
            waiting: Vec::new(),
            passed_over: Vec::new(),
        });
        let newest = self.versions.get(&(name.clone(), record.version));
        let created = newest.is_none_or(|newest| newest.source != *source);
        if created {
            record.version += 1;
            record.updated_at = now;
            let stored = StoredVersion { version: record.version, source: source.clone(), created_at: now };
            self.versions.insert((name.clone(), record.version), stored);
        }
        record.deleted = false;
        record.next_due = next_due;
        record.revision += 1;
        PutTask { version: record.version, created }
    }

    pub(super) fn get(&self, name: &TaskName) -> Option<TaskRecord> {
        self.records.get(name).cloned()
    }

    pub(super) fn versions(&self, name: &TaskName, below: Option<TaskVersion>, most: usize) -> Vec<VersionRecord> {
        let all = self.versions.range((name.clone(), 0)..(name.clone(), below.unwrap_or(TaskVersion::MAX)));
        let listed = |stored: &StoredVersion| VersionRecord { version: stored.version, created_at: stored.created_at };
        all.rev().take(most).map(|(_, stored)| listed(stored)).collect()
    }

    pub(super) fn version(&self, name: &TaskName, version: TaskVersion) -> Option<StoredVersion> {
        self.versions.get(&(name.clone(), version)).cloned()
    }

    pub(super) fn commit(&mut self, before: &TaskRecord, after: &TaskRecord) -> Result<(), PortError> {
        let stored = self.records.get_mut(&before.name).filter(|stored| stored.revision == before.revision);
        *stored.ok_or_else(PortError::conflict)? = after.clone();
        Ok(())
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &TaskRecord> {
        self.records.values().filter(|record| !record.deleted)
    }

    pub(super) fn due(&self, now: Timestamp, most: usize) -> Vec<DueTask> {
        let due = self.live().filter_map(|record| record.next_due.filter(|due| *due <= now).map(|due| (due, record)));
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(due, _)| *due);
        due.into_iter().take(most).map(|(due, record)| DueTask { record: record.clone(), due }).collect()
    }
}
