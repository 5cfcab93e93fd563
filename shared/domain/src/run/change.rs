//! The effect of an input on a run, and why a run refuses one.

use super::state::{Run, RunStatus};
use crate::aggregate;

/// The effect of an input on a run.
pub type Change = aggregate::Change<Run>;

/// Why an input is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The run has ended.
    #[error("the run has ended")]
    RunEnded,
    /// The run is not in a status in which this can be done.
    #[error("the run is {}", .0.as_str())]
    RunStatus(RunStatus),
    /// The report is of an attempt or a delivery that another has replaced; or the request is of another life of the run.
    #[error("another attempt or delivery has replaced it")]
    Stale,
    /// The action has ended.
    #[error("the action has ended")]
    Settled,
    /// The definition has no such action.
    #[error("the definition has no such action")]
    UnknownAction,
}

impl Rejection {
    /// Why a run of that status does not take a request.
    pub(super) const fn of_status(status: RunStatus) -> Self {
        if status.is_final() { Self::RunEnded } else { Self::RunStatus(status) }
    }
}
