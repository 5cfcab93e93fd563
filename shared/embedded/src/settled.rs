//! The tasks that this process knows to be on the disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use windlass_domain::ids::TaskName;
use windlass_engine::ports::TaskRecord;

/// How many tasks it keeps the revision of.
const MAX_SETTLED: usize = 10_000;

/// The revisions of tasks that this process knows to be on the disk. Each start of a run reads its task, and must not
/// wait for a sync each time.
#[derive(Default)]
pub(crate) struct SettledTasks(Mutex<HashMap<TaskName, u64>>);

impl SettledTasks {
    pub(crate) fn has(&self, record: &TaskRecord) -> bool {
        self.lock().get(&record.name) == Some(&record.revision)
    }

    pub(crate) fn put(&self, record: &TaskRecord) {
        let mut tasks = self.lock();
        if tasks.len() >= MAX_SETTLED {
            tasks.clear();
        }
        tasks.insert(record.name.clone(), record.revision);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskName, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
