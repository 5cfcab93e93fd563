//! Who fires due times.

use async_trait::async_trait;
use windlass_domain::definition::Schedule;
use windlass_domain::ids::TaskName;
use windlass_domain::time::Timestamp;

use super::PortError;

/// Why a host cannot keep a schedule that the definition's rules allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleRefusal {
    /// A stable code with a page in `docs/errors`, such as `WL0340`.
    pub code: &'static str,
    /// The place in the definition, such as `schedule.every`.
    pub path: &'static str,
    /// The rule that the host cannot keep, and why, in words for the author.
    pub message: String,
    /// What would mend it.
    pub help: Option<String>,
}

/// Has due times fired: for each, at least one due message of its task reaches the inbox.
///
/// A host whose time is kept by a service (`EventBridge` Scheduler) has one schedule there for each task. A host that
/// runs the engine's own [`crate::scheduler::Scheduler`] keeps every schedule, and has nothing to do here: that loop
/// reads [`super::Tasks::due`].
#[async_trait]
pub trait Schedules: Send + Sync {
    /// Whether the host can keep that schedule; asked before anything is written.
    fn check(&self, schedule: &Schedule) -> Result<(), ScheduleRefusal>;

    /// Fires the schedule's due times that are later than `now`, and none of the schedule that the task had before.
    /// Putting the same schedule again changes nothing.
    async fn put(&self, task: &TaskName, schedule: &Schedule, now: Timestamp) -> Result<(), PortError>;

    /// Fires nothing more for the task; it is no error if it had no schedule.
    async fn remove(&self, task: &TaskName) -> Result<(), PortError>;
}

/// For hosts that run the engine's own scheduler: it keeps every schedule.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnScheduler;

#[async_trait]
impl Schedules for OwnScheduler {
    fn check(&self, _: &Schedule) -> Result<(), ScheduleRefusal> {
        Ok(())
    }

    async fn put(&self, _: &TaskName, _: &Schedule, _: Timestamp) -> Result<(), PortError> {
        Ok(())
    }

    async fn remove(&self, _: &TaskName) -> Result<(), PortError> {
        Ok(())
    }
}
