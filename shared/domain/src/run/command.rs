//! The messages that a decision sends, once its facts are committed. Sending any of them twice does no harm.

use serde_json::Value;

use super::input::{ActionAt, Report};
use super::reading::Reading;
use super::state::Run;
use super::work;
use crate::attempt::{ActionState, ActionStatus, Fate, is_suspect, may_begin_unasked};
use crate::definition::Definition;
use crate::delivery::Delivery;
use crate::ids::{ActionIndex, AgentId, PoolName};
use crate::limits::{CLAIM_BELOW_MS, TOLD_WITHIN_MS};
use crate::time::{Millis, Timestamp};
use crate::work::Work;

/// Why an agent stops what it performs.
pub(crate) const CANCELLED: &str = "its run is being cancelled, or it alone was killed";

/// Something to send.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An attempt, to its pool.
    Perform(Box<Perform>),
    /// To the control queue of an agent: the attempt is its own.
    Confirm(Box<Confirm>),
    /// To the control queue of an agent: it stops an attempt, or does not begin it.
    Stop(Box<Stop>),
    /// A `Wake` for this run at that time, if it is less than [`crate::limits::MAX_DELAY_MS`] away; the due index has
    /// every later one.
    Wake {
        /// The action whose timer it is; none: the run's own.
        action: Option<ActionIndex>,
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
    /// Which of the attempt's messages: the first receipt of issue 0 may begin without asking.
    pub issue: u64,
    /// What programs compare.
    pub fence: u64,
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
    /// How many agents the action has cost.
    pub losses: usize,
    /// How long the message is held back.
    pub delay: Millis,
}

/// That an agent owns an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirm {
    /// Which agent.
    pub agent: AgentId,
    /// The agent's pool.
    pub pool: PoolName,
    /// The action.
    pub action: ActionIndex,
    /// The delivery that the agent claimed or renewed by.
    pub delivery: Delivery,
    /// The message that it named.
    pub message: u32,
    /// The number that the agent gave to its request.
    pub asked: u32,
    /// Until when it has the attempt without a message; none: as long as it keeps its message.
    pub until: Option<Timestamp>,
    /// Where the work can be taken up.
    pub checkpoint: Option<Value>,
    /// How many agents the action has cost.
    pub losses: usize,
    /// What programs compare.
    pub fence: u64,
}

/// That an agent stops an attempt, or does not begin it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stop {
    /// Which agent.
    pub agent: AgentId,
    /// The agent's pool.
    pub pool: PoolName,
    /// The action.
    pub action: ActionIndex,
    /// The delivery that is meant.
    pub delivery: Delivery,
    /// The message that is meant.
    pub message: u32,
    /// The number of the request that this answers; none: it answers none.
    pub asked: Option<u32>,
    /// How the agent treats its message.
    pub fate: Fate,
    /// Why, in words.
    pub reason: String,
}

impl Stop {
    /// For the agent that made a report: what it does with its message, and why. `asked`: the number of its request.
    pub(super) fn answering(of: &Report, pool: PoolName, asked: Option<u32>, fate: Fate, reason: &str) -> Self {
        let (agent, action, delivery, message) = (of.agent.clone(), of.action, of.delivery, of.message);
        Self { agent, pool, action, delivery, message, asked, fate, reason: reason.to_owned() }
    }

    /// For the owner of an attempt, if it has one.
    pub(crate) fn of_owner(
        definition: &Definition,
        run: &Run,
        action: ActionIndex,
        fate: Fate,
        reason: &str,
    ) -> Option<Self> {
        let state = run.action(action);
        let owner = state.owner.as_ref()?;
        let (agent, message, delivery) = (owner.agent.clone(), owner.message, state.last);
        let pool = definition.action(action).pool.clone();
        Some(Self { agent, pool, action, delivery, message, asked: None, fate, reason: reason.to_owned() })
    }
}

impl Confirm {
    /// For the agent that made a request of that number: the attempt is its own.
    pub(super) fn answering(
        of: &Report,
        pool: PoolName,
        asked: u32,
        until: Option<Timestamp>,
        state: &ActionState,
    ) -> Self {
        Self {
            agent: of.agent.clone(),
            pool,
            action: of.action,
            delivery: of.delivery,
            message: of.message,
            asked,
            until,
            checkpoint: state.checkpoint.clone(),
            losses: state.losses.len(),
            fence: state.fence,
        }
    }
}

/// The message that carries an attempt to its pool, as that issue.
pub(super) fn perform(definition: &Definition, run: &Run, action: ActionIndex, issue: u64, work: Work) -> Perform {
    let (author, state) = (definition.action(action), run.action(action));
    Perform {
        of: ActionAt { action, attempt: state.attempt() },
        issue,
        fence: state.fence,
        pool: author.pool.clone(),
        work,
        timeout: author.timeout,
        queued_at: state.queued_at.unwrap_or(run.submitted_at),
        checkpoint: state.checkpoint.clone(),
        losses: state.losses.len(),
        delay: Millis::default(),
    }
}

/// The issue of an attempt's first message. An attempt that has cost agents, or that may soon have waited too long, must be
/// claimed: its first message is issue 1.
pub(super) fn first_issue(definition: &Definition, run: &Run, action: ActionIndex) -> u64 {
    let is_short = definition.action(action).queue_timeout.is_some_and(|most| most.0 < CLAIM_BELOW_MS);
    u64::from(is_short || is_suspect(run.action(action)))
}

/// A queued attempt, sent again: it must be claimed. While an agent may still begin its first message without asking, the
/// new one is held back, so that this agent can say so before.
pub(crate) fn resend(
    definition: &Definition,
    run: &Run,
    action: ActionIndex,
    now: Timestamp,
    reading: &mut Reading,
) -> Option<Command> {
    let state = run.action(action);
    if state.status != ActionStatus::Queued {
        return None;
    }
    let waited = state.queued_at.map_or(0, |at| now.since(at).0);
    let mut perform = queued_as(definition, run, action, state.last.next_issue(waited), reading)?;
    if may_begin_unasked(state, now) {
        perform.delay = Millis(TOLD_WITHIN_MS.saturating_sub(waited));
    }
    Some(Command::Perform(Box::new(perform)))
}

/// The message of a queued attempt as that issue. What rendered once renders again: the record that it was rendered from has
/// not changed.
pub(super) fn queued_as(
    definition: &Definition,
    run: &Run,
    action: ActionIndex,
    issue: u64,
    reading: &mut Reading,
) -> Option<Perform> {
    let work = work::render(definition, run, action, reading).ok()?;
    Some(perform(definition, run, action, issue, work))
}
