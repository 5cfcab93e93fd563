//! Reports of agents: what has become of an attempt.

use serde_json::Value;

use super::step::Step;
use super::{Command, Rejection, again, control, lease, loss, time};
use crate::depth::is_too_deep;
use crate::ids::AgentId;
use crate::limits::{CLOCKS_DIFFER_MS, MAX_VALUE_DEPTH};
use crate::retry::FailedAttempt;
use crate::run::{
    ActionAt, ActionStatus, CancelCause, CheckpointError, ClaimedBy, ErrorInfo, EventKind, Outcome, Progress,
    RunStatus, check_checkpoint,
};
use crate::sabotage::{Bug, sabotaged};
use crate::time::{Millis, Timestamp};

/// Who performed an attempt, and since when; absent where nobody reported it.
pub(super) type By = (Option<AgentId>, Option<Timestamp>);

/// An agent has performed the attempt for a while.
pub(super) fn started(
    step: &mut Step<'_>,
    of: ActionAt,
    agent: &AgentId,
    started_at: Timestamp,
) -> Result<(), Rejection> {
    check_open(step, of)?;
    let state = step.state(of.action);
    match state.status {
        ActionStatus::Queued if step.at(of.action) == of => {
            let by = ClaimedBy::default();
            step.emit(EventKind::ActionStarted { of, agent: agent.clone(), started_at, by });
        }
        ActionStatus::Running if step.at(of.action) == of && state.agent.as_ref() == Some(agent) => {}
        ActionStatus::Queued | ActionStatus::Running | ActionStatus::Waiting | ActionStatus::RetryWaiting => {
            return Err(Rejection::Stale);
        }
        ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Skipped
        | ActionStatus::Cancelled => return Err(Rejection::Settled),
    }
    if step.is_stopping(of.action) {
        step.stop(of.action);
    }
    Ok(())
}

/// The attempt has come further. Of reports that overtook each other, the one that was made last counts.
pub(super) fn progressed(
    step: &mut Step<'_>,
    of: ActionAt,
    number: u32,
    progress: &Progress,
    checkpoint: Option<&Value>,
) -> Result<(), Rejection> {
    check_open(step, of)?;
    let state = step.state(of.action);
    if state.status.is_settled() {
        return Err(Rejection::Settled);
    }
    if state.status != ActionStatus::Running || step.at(of.action) != of {
        return Err(Rejection::Stale);
    }
    if number == 0 || number > state.progress_number {
        let refused = checkpointed(step, of, number, checkpoint).err();
        let message = refused.map(|why| why.to_string()).or_else(|| progress.message.clone());
        let progress = Progress { message, ..progress.clone() };
        let says_nothing = progress == Progress::default();
        if !says_nothing && step.state(of.action).progress.as_ref() != Some(&progress) {
            step.emit(EventKind::ActionProgressed { of, number, progress });
        }
    }
    if step.is_stopping(of.action) {
        step.stop(of.action);
    }
    Ok(())
}

/// Keeps where the work can be taken up, if that is within its limits.
pub(super) fn checkpointed(
    step: &mut Step<'_>,
    of: ActionAt,
    number: u32,
    checkpoint: Option<&Value>,
) -> Result<(), CheckpointError> {
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    check_checkpoint(checkpoint)?;
    if step.state(of.action).checkpoint.as_ref() != Some(checkpoint) {
        step.emit(EventKind::ActionCheckpointed { of, number, checkpoint: checkpoint.clone() });
    }
    Ok(())
}

/// The attempt has ended. The first report of the newest attempt and fence counts; once an agent is known to perform it,
/// of that agent: a message that its queue delivered twice may have been begun by two under one fence.
pub(super) fn completed(
    step: &mut Step<'_>,
    of: ActionAt,
    (agent, started_at): (&AgentId, Timestamp),
    outcome: &Outcome,
    checkpoint: Option<&Value>,
) -> Result<(), Rejection> {
    let of = if sabotaged(Bug::OldFence) { ActionAt { fence: step.state(of.action).fence, ..of } } else { of };
    if loss::is_alive(step, of) {
        return Ok(());
    }
    let state = step.state(of.action);
    let is_newest = step.at(of.action) == of;
    let is_owner = state.agent.as_ref() == Some(agent) || sabotaged(Bug::OldFence) || sabotaged(Bug::OfAnotherAgent);
    match state.status {
        ActionStatus::Queued if is_newest => {}
        ActionStatus::Running if is_newest && is_owner => {}
        ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Cancelled
        | ActionStatus::RetryWaiting
            if is_newest =>
        {
            again::of_action(step, of.action);
            return Ok(());
        }
        ActionStatus::Queued | ActionStatus::Running | ActionStatus::Waiting | ActionStatus::RetryWaiting => {
            return Err(Rejection::Stale);
        }
        ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Skipped
        | ActionStatus::Cancelled => return Err(Rejection::Settled),
    }
    loss::survived(step, of);
    let by = (Some(agent.clone()), Some(started_at));
    if !matches!(outcome, Outcome::Succeeded { .. }) {
        // One that is too large was refused where it was saved.
        let _kept = checkpointed(step, of, 0, checkpoint);
    }
    match outcome {
        Outcome::Succeeded { output } if is_too_deep(output) => {
            let message = format!("the output is nested more than {MAX_VALUE_DEPTH} levels deep");
            attempt_failed(step, of, by, ErrorInfo::new("output.too_deep", message), false);
        }
        Outcome::Succeeded { output } => {
            let (agent, started_at) = by;
            step.emit(EventKind::ActionSucceeded { of, agent, started_at, output: output.clone() });
        }
        Outcome::Failed { error } => attempt_failed(step, of, by, error.clone(), false),
        Outcome::TimedOut { error } => {
            if met_deadline(step, of, started_at) {
                control::cancel(step, CancelCause::Deadline, "the run's deadline passed")?;
            }
            attempt_failed(step, of, by, error.clone(), true);
        }
        Outcome::Cancelled if step.is_stopping(of.action) => step.cancel(of, Some(agent)),
        Outcome::Cancelled => {
            let error = ErrorInfo::new("stopped", "the attempt was stopped although nobody had cancelled it");
            attempt_failed(step, of, by, error, false);
        }
    }
    step.follow();
    Ok(())
}

/// No agent could perform the attempt's message.
pub(super) fn dead_lettered(step: &mut Step<'_>, of: ActionAt, copy: u32, reason: &str) -> Result<(), Rejection> {
    let state = step.state(of.action);
    if state.status.is_settled() {
        again::of_action(step, of.action);
        return Ok(());
    }
    if !state.status.is_in_flight() || state.attempt != of.attempt {
        return Err(Rejection::Stale);
    }
    let was_sent_again = state.status == ActionStatus::Queued && of.fence < state.fence;
    if was_sent_again || lease::holds(step, of.action) || !loss::is_by_its_message(state, of, copy) {
        // It is with somebody by another message, or by none; or it waits in another.
        return Err(Rejection::Stale);
    }
    let of = step.at(of.action);
    step.fail(of, (None, None), ErrorInfo::new("dead_letter", reason), false);
    step.follow();
    Ok(())
}

/// Whether an attempt that took too long did so by its run's deadline rather than by its own timeout: its agent keeps both,
/// and may be faster than the wake that ends the run.
fn met_deadline(step: &Step<'_>, of: ActionAt, started_at: Timestamp) -> bool {
    let is_open = matches!(step.run.status, RunStatus::Running | RunStatus::Paused);
    let own = step.action(of.action).timeout.map(|timeout| started_at.plus(timeout));
    let is_it = |deadline: Timestamp| {
        deadline <= step.now.plus(Millis(CLOCKS_DIFFER_MS)) && own.is_none_or(|own| deadline <= own)
    };
    is_open && step.run.deadline.is_some_and(is_it)
}

/// An attempt failed: another is due later, or the action has failed. What is not to go on is not tried again.
pub(super) fn attempt_failed(step: &mut Step<'_>, of: ActionAt, by: By, error: ErrorInfo, timed_out: bool) {
    let failed = failed_attempt(step, of, &error);
    let next = step
        .action(of.action)
        .retry
        .next_attempt(&failed, step.now)
        .filter(|_| !step.is_stopping(of.action) || sabotaged(Bug::RetryInEnding));
    let Some(retry_at) = next else {
        step.fail(of, by, error, timed_out);
        return;
    };
    let (agent, started_at) = by;
    step.emit(EventKind::ActionRetrying { of, agent, started_at, error, retry_at });
    time::wake_at(step, retry_at);
}

/// The attempt as the action's policy looks at it.
pub(super) fn failed_attempt<'e>(step: &Step<'_>, of: ActionAt, error: &'e ErrorInfo) -> FailedAttempt<'e> {
    let state = step.state(of.action);
    FailedAttempt {
        run: step.run.id,
        action: of.action,
        attempt: of.attempt,
        spent: if sabotaged(Bug::CountRedeliveries) { of.fence } else { of.attempt - state.attempt_base },
        kind: &error.kind,
        first_queued_at: state.first_queued_at.unwrap_or(step.now),
    }
}

/// Nothing but a repeated end of an attempt is heard once the run has ended; who still performs is told to stop.
pub(super) fn check_open(step: &Step<'_>, of: ActionAt) -> Result<(), Rejection> {
    if !step.run.status.is_final() {
        return Ok(());
    }
    Err(if step.at(of.action) == of { Rejection::RunEnded } else { Rejection::Stale })
}

impl Command {
    /// The command that a refused report is answered with: its agent stops what it performs in vain.
    pub fn answer_to(rejection: Rejection, agent: &AgentId, of: ActionAt) -> Option<Self> {
        match rejection {
            Rejection::RunEnded | Rejection::Stale | Rejection::Settled => {
                Some(Self::Stop { agent: agent.clone(), of })
            }
            Rejection::RunStatus(_) | Rejection::Redelivered | Rejection::UnknownAction => None,
        }
    }
}
