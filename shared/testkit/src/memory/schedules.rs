//! Schedules in memory. The host fires none: a test runs the engine's own scheduler, or sends due messages itself.

use async_trait::async_trait;
use windlass_domain::definition::Schedule;
use windlass_domain::ids::TaskName;
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{PortError, ScheduleRefusal, Schedules};

use super::MemoryHost;

#[async_trait]
impl Schedules for MemoryHost {
    fn check(&self, _: &Schedule) -> Result<(), ScheduleRefusal> {
        Ok(())
    }

    async fn put(&self, task: &TaskName, schedule: &Schedule, _: Timestamp) -> Result<(), PortError> {
        self.write(|state, _| state.schedules.insert(task.clone(), schedule.clone()));
        Ok(())
    }

    async fn remove(&self, task: &TaskName) -> Result<(), PortError> {
        self.write(|state, _| state.schedules.remove(task));
        Ok(())
    }
}
