//! The status of a run as the file has it.

use windlass_domain::run::RunStatus;

/// A status as it is stored: its place in the order of a run's life. These numbers never change.
pub(crate) fn status_number(status: RunStatus) -> i64 {
    match status {
        RunStatus::Submitted => 0,
        RunStatus::Running => 1,
        RunStatus::Paused => 2,
        RunStatus::Cancelling => 3,
        RunStatus::Succeeded => 4,
        RunStatus::SucceededWithFaults => 5,
        RunStatus::Failed => 6,
        RunStatus::TimedOut => 7,
        RunStatus::Cancelled => 8,
    }
}
