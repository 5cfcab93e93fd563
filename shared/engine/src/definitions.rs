//! Definitions, read once per version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use windlass_domain::definition::Definition;
use windlass_domain::ids::{TaskName, TaskVersion};

use crate::aside;
use crate::ports::{ErrorClass, PortError, Tasks};

/// Definitions in memory. A version never changes, so a definition that was read once stays true.
const MAX_CACHED: usize = 1024;

/// Compiled definitions by task and version.
pub struct Definitions {
    tasks: Arc<dyn Tasks>,
    cached: Mutex<HashMap<(TaskName, TaskVersion), Arc<Definition>>>,
}

impl Definitions {
    /// Definitions of the versions that `tasks` keeps.
    pub fn new(tasks: Arc<dyn Tasks>) -> Self {
        Self { tasks, cached: Mutex::default() }
    }

    /// The definition of one version. A version that is missing or unreadable is a bug: a run is pinned to a version
    /// that was checked when a caller put it.
    pub async fn get(&self, task: &TaskName, version: TaskVersion) -> Result<Arc<Definition>, PortError> {
        let key = (task.clone(), version);
        if let Some(found) = self.cached.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(found.clone());
        }
        let stored = self.tasks.version(task, version).await?.ok_or_else(|| {
            PortError::new(
                ErrorClass::Bug,
                "WL0701",
                format!("find version {version} of task `{task}`: it is not stored"),
            )
        })?;
        let definition = aside::long(|| Definition::from_source(&stored.source)).map_err(|faults| {
            PortError::new(
                ErrorClass::Bug,
                "WL0702",
                format!("read version {version} of task `{task}` as it is stored: {faults}"),
            )
        })?;
        let definition = Arc::new(definition);
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= MAX_CACHED {
            cached.clear();
        }
        cached.insert(key, definition.clone());
        Ok(definition)
    }
}
