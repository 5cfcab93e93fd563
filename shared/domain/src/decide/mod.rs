//! Decisions: what an input does to a run, and what is to be sent because of it.
//!
//! [`decide`] is the whole rule book: one match on (state, input). It reads no clock and draws no chance, and it may
//! be asked the same thing twice: a repeated input changes nothing and gives the commands of its first time again,
//! for the process that decided then may have died before it sent them.

mod again;
mod control;
mod graph;
mod history;
mod kill;
mod lease;
mod loss;
mod pool;
mod readiness;
mod report;
mod step;
mod time;
mod work;

use serde_json::Value;

use crate::definition::Definition;
use crate::ids::{ActionIndex, AgentId, PoolName};
use crate::run::{ActionAt, ClaimedBy, Event, Input, Run, RunStatus};
use crate::time::{Millis, Timestamp};
use crate::work::Work;

pub use history::{Placed, history};
use step::Step;

/// What an input does to a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What has been decided, in order; empty: the input changes nothing.
    pub events: Vec<Event>,
    /// Events of an earlier decision, to be published again because its input came again. They are not folded.
    pub again: Vec<Event>,
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
    /// Where the attempt before it said that the work can be taken up.
    pub checkpoint: Option<Value>,
    /// The attempt may already be with an agent: whoever gets this message must claim it first.
    pub claim: bool,
    /// The copy of the attempt's message that counts.
    pub copy: u32,
    /// How long the message is held back.
    pub delay: Millis,
}

/// Why an input is refused. The record stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The run has ended.
    #[error("the run has ended")]
    RunEnded,
    /// The run is not in a status in which this can be done.
    #[error("the run is {}", .0.as_str())]
    RunStatus(RunStatus),
    /// The report is of an attempt that is not the newest, or of an agent whose claim was taken over; or the request
    /// is of a life of the run that is not this one.
    #[error("the report is of an attempt or a fence that has been replaced")]
    Stale,
    /// The attempt's message has been delivered to another agent since.
    #[error("the attempt's message has been delivered to another agent since")]
    Redelivered,
    /// The action has ended.
    #[error("the action has ended")]
    Settled,
    /// The definition has no such action.
    #[error("the definition has no such action")]
    UnknownAction,
}

/// Decides what an input does to a run at `now`.
pub fn decide(definition: &Definition, run: &Run, input: &Input, now: Timestamp) -> Result<Decision, Rejection> {
    let mut step = Step::new(definition, run, now);
    match input {
        Input::Start => control::start(&mut step),
        Input::Cancel { reason, cause, retries } => control::cancel_as_asked(&mut step, *cause, reason, *retries)?,
        Input::Kill { action, reason, retries } => {
            check_action(run, *action)?;
            kill::kill(&mut step, *action, reason, *retries)?;
        }
        Input::Pause { pauses, retries } => control::pause_as_asked(&mut step, *pauses, *retries)?,
        Input::Resume { pauses } => control::resume_as_asked(&mut step, *pauses)?,
        Input::Retry { retries } => control::retry(&mut step, *retries)?,
        Input::Wake => time::wake(&mut step)?,
        Input::Sweep { since } => time::sweep(&mut step, *since)?,
        Input::Unserved { pool, since } => pool::unserved(&mut step, pool, *since),
        Input::Started { of, agent, started_at } => {
            check_action(run, of.action)?;
            report::started(&mut step, *of, agent, *started_at)?;
        }
        Input::Claim { of, agent, received, copy, again } => {
            check_action(run, of.action)?;
            loss::claim(&mut step, *of, agent, ClaimedBy { copy: *copy, received: *received }, *again)?;
        }
        Input::Renewed { of, agent, started_at } => {
            check_action(run, of.action)?;
            lease::renew(&mut step, *of, agent, *started_at)?;
        }
        Input::Progressed { of, number, progress, checkpoint } => {
            check_action(run, of.action)?;
            report::progressed(&mut step, *of, *number, progress, checkpoint.as_ref())?;
        }
        Input::HandedBack { of, agent, copy, checkpoint } => {
            check_action(run, of.action)?;
            loss::handed_back(&mut step, *of, (agent, *copy), checkpoint.as_ref())?;
        }
        Input::Completed { of, agent, started_at, outcome, checkpoint } => {
            check_action(run, of.action)?;
            report::completed(&mut step, *of, (agent, *started_at), outcome, checkpoint.as_ref())?;
        }
        Input::DeadLettered { of, copy, reason } => {
            check_action(run, of.action)?;
            report::dead_lettered(&mut step, *of, *copy, reason)?;
        }
    }
    Ok(step.into_decision())
}

/// Sends again what the run may not have sent since `since`: for an input that was delivered before, whose first handler
/// may have died between its commit and its sends. It decides nothing.
///
/// A repeated input mostly tells by itself what it led to; one that left no trace of its own (a wake, a report of an
/// attempt that has been replaced since) does not, and this finds it by its time.
pub fn repeat(definition: &Definition, run: &Run, since: Timestamp, now: Timestamp) -> Decision {
    let mut step = Step::new(definition, run, now);
    again::of_time(&mut step, since);
    step.into_decision()
}

fn check_action(run: &Run, action: ActionIndex) -> Result<(), Rejection> {
    if action.as_usize() < run.actions.len() { Ok(()) } else { Err(Rejection::UnknownAction) }
}
