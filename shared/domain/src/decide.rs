//! Decisions: what an input does to a run, and what is to be sent because of it.

use crate::definition::Definition;
use crate::ids::{AgentId, PoolName};
use crate::run::{ActionAt, Event, Input, Run};
use crate::time::{Millis, Timestamp};
use crate::work::Work;

/// What an input does to a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What has been decided, in order; empty: the input changes nothing.
    pub events: Vec<Event>,
    /// What is to be sent once the events are committed.
    pub commands: Vec<Command>,
    /// The run with the events folded in.
    pub run: Run,
}

/// Something to send. Sending it twice does no harm.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An attempt, to its pool.
    Perform(Box<Perform>),
    /// Stop an attempt, to the control queue of the agent that reported it.
    Stop {
        /// Who performs it.
        agent: AgentId,
        /// Which.
        of: ActionAt,
    },
    /// A `Wake` for this run at that time, if it is less than [`crate::limits::MAX_DELAY_MS`] away; the due index
    /// has every later one.
    Wake {
        /// When.
        at: Timestamp,
    },
    /// The run has ended: the task's next due time may have its turn.
    Ended,
}

/// An attempt to be performed.
#[derive(Debug, Clone, PartialEq)]
pub struct Perform {
    /// Which.
    pub of: ActionAt,
    /// Where.
    pub pool: PoolName,
    /// What.
    pub work: Work,
    /// How long it may take.
    pub timeout: Option<Millis>,
    /// When the attempt was queued.
    pub queued_at: Timestamp,
    /// The attempt may already be with an agent: whoever gets this message must claim it first.
    pub claim: bool,
}

/// Why an input is refused. The record stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The run has ended.
    #[error("the run has ended")]
    RunEnded,
    /// The run is not in a status in which this can be done.
    #[error("the run is {}", .0.as_str())]
    RunStatus(crate::run::RunStatus),
    /// The report is of an attempt that is not the newest, or of an agent whose claim was taken over.
    #[error("the report is of an attempt or a fence that has been replaced")]
    Stale,
    /// The action has ended.
    #[error("the action has ended")]
    Settled,
    /// The definition has no such action.
    #[error("the definition has no such action")]
    UnknownAction,
}

/// Decides what an input does to a run at `now`.
pub fn decide(_definition: &Definition, _run: &Run, _input: &Input, _now: Timestamp) -> Result<Decision, Rejection> {
    Err(Rejection::RunEnded)
}
