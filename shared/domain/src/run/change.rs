//! The result of a decision.

use super::command::Command;
use super::fact::Fact;
use super::state::{Run, RunStatus};

/// The effect of an input on a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The run with the facts folded in.
    pub run: Run,
    /// The facts that were decided, in order; empty: the input changes nothing.
    pub facts: Vec<Fact>,
    /// Facts of earlier commits whose events are published again. They are not folded.
    pub again: Vec<Fact>,
    /// The messages that the caller sends once it has committed the facts.
    pub commands: Vec<Command>,
    /// The values that its expressions have visited and made: at most [`crate::limits::MAX_STEP_WORK`], but for what a sweep
    /// resends of one instant.
    pub evaluated: u64,
    /// Whether the input was accepted. A refusal may send, too.
    pub answer: Result<(), Rejection>,
}

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
    /// The report is of a pool whose agents did not send it.
    #[error("the report came from another pool than the action's own")]
    Forbidden,
}

impl Rejection {
    /// Why a run of that status does not take a request.
    pub(super) const fn of_status(status: RunStatus) -> Self {
        if status.is_final() { Self::RunEnded } else { Self::RunStatus(status) }
    }
}
