//! What people and schedules ask of a run: begin, end early, hold, go on, start over.

use std::cmp::Ordering;

use super::step::Step;
use super::{Rejection, again, graph, time};
use crate::ids::ActionIndex;
use crate::limits::CANCEL_GRACE_MS;
use crate::run::{ActionStatus, CancelCause, EventKind, RunStatus};
use crate::time::{Millis, Timestamp};

pub(super) fn start(step: &mut Step<'_>) {
    if step.run.status != RunStatus::Submitted {
        again::of_revision(step, again::STARTING_REVISION);
        return;
    }
    let deadline = deadline(step);
    step.emit(EventKind::RunStarted { deadline });
    if let Some(deadline) = deadline {
        time::wake_at(step, deadline);
    }
    for action in step.definition.indexes() {
        if step.action(action).needs.is_empty() {
            graph::look_at(step, action, None);
        }
    }
    step.follow();
}

fn deadline(step: &Step<'_>) -> Option<Timestamp> {
    step.definition.timeout.map(|timeout| step.now.plus(timeout))
}

/// Whether a request is of this life of the run: each retry begins another. One that was made before the newest retry
/// has been answered, and whoever retried since knew what they did.
pub(super) fn is_of_this_life(step: &Step<'_>, retries: u32) -> Result<bool, Rejection> {
    match retries.cmp(&step.run.retries) {
        Ordering::Less => Ok(false),
        Ordering::Equal => Ok(true),
        Ordering::Greater => Err(Rejection::Stale),
    }
}

/// Cancels for somebody who saw the run when it had been retried that often.
pub(super) fn cancel_as_asked(
    step: &mut Step<'_>,
    cause: CancelCause,
    reason: &str,
    retries: u32,
) -> Result<(), Rejection> {
    if is_of_this_life(step, retries)? { cancel(step, cause, reason) } else { Ok(()) }
}

pub(super) fn cancel(step: &mut Step<'_>, cause: CancelCause, reason: &str) -> Result<(), Rejection> {
    match step.run.status {
        RunStatus::Submitted | RunStatus::Running | RunStatus::Paused => {}
        // A run that had nothing in flight was cancelled and ended by one commit.
        RunStatus::Cancelling | RunStatus::Cancelled => {
            again::of_cancel(step);
            return Ok(());
        }
        RunStatus::Succeeded | RunStatus::SucceededWithFaults | RunStatus::Failed | RunStatus::TimedOut => {
            return Err(Rejection::RunEnded);
        }
    }
    step.emit(EventKind::RunCancelling { cause, reason: reason.to_owned() });
    for action in step.definition.indexes() {
        match step.state(action).status {
            ActionStatus::Waiting | ActionStatus::RetryWaiting => {
                let of = step.at(action);
                step.cancel(of, None);
            }
            ActionStatus::Running => step.stop(action),
            ActionStatus::Queued
            | ActionStatus::Succeeded
            | ActionStatus::Failed
            | ActionStatus::TimedOut
            | ActionStatus::Skipped
            | ActionStatus::Cancelled => {}
        }
    }
    if step.run.open > 0 {
        time::wake_at(step, step.now.plus(Millis(CANCEL_GRACE_MS)));
    }
    step.follow();
    Ok(())
}

/// Pauses for somebody who saw the run when it had been paused and retried that often. Each pause is asked for by
/// itself: what comes again once the run goes on does not hold it a second time.
pub(super) fn pause_as_asked(step: &mut Step<'_>, pauses: u32, retries: u32) -> Result<(), Rejection> {
    if !is_of_this_life(step, retries)? {
        return Ok(());
    }
    match pauses.cmp(&step.run.pauses) {
        Ordering::Less => {
            if pauses + 1 == step.run.pauses {
                again::of_pause(step);
            }
            Ok(())
        }
        Ordering::Equal => pause(step),
        Ordering::Greater => Err(Rejection::Stale),
    }
}

fn pause(step: &mut Step<'_>) -> Result<(), Rejection> {
    match step.run.status {
        RunStatus::Running => step.emit(EventKind::RunPaused { number: step.run.pauses + 1 }),
        RunStatus::Paused => {}
        RunStatus::Submitted | RunStatus::Cancelling => return Err(Rejection::RunStatus(step.run.status)),
        RunStatus::Succeeded
        | RunStatus::SucceededWithFaults
        | RunStatus::Failed
        | RunStatus::TimedOut
        | RunStatus::Cancelled => return Err(Rejection::RunEnded),
    }
    Ok(())
}

/// Ends the pause that somebody saw when the run had been paused that often, and none that was begun since.
pub(super) fn resume_as_asked(step: &mut Step<'_>, pauses: u32) -> Result<(), Rejection> {
    match pauses.cmp(&step.run.pauses) {
        Ordering::Less => Ok(()),
        Ordering::Equal => resume(step),
        Ordering::Greater => Err(Rejection::Stale),
    }
}

fn resume(step: &mut Step<'_>) -> Result<(), Rejection> {
    match step.run.status {
        RunStatus::Paused => {
            step.emit(EventKind::RunResumed { number: step.run.pauses });
            step.follow();
        }
        RunStatus::Running => again::of_resume(step),
        RunStatus::Submitted | RunStatus::Cancelling => return Err(Rejection::RunStatus(step.run.status)),
        RunStatus::Succeeded
        | RunStatus::SucceededWithFaults
        | RunStatus::Failed
        | RunStatus::TimedOut
        | RunStatus::Cancelled => return Err(Rejection::RunEnded),
    }
    Ok(())
}

/// Starts over what did not succeed and all that needs it; what succeeded beside it stays.
pub(super) fn retry(step: &mut Step<'_>, retries: u32) -> Result<(), Rejection> {
    if !is_of_this_life(step, retries)? {
        if retries + 1 == step.run.retries {
            again::of_retry(step);
        }
        return Ok(());
    }
    match step.run.status {
        RunStatus::SucceededWithFaults | RunStatus::Failed | RunStatus::TimedOut | RunStatus::Cancelled => {}
        RunStatus::Running if step.run.retries > 0 => {
            again::of_retry(step);
            return Ok(());
        }
        RunStatus::Submitted
        | RunStatus::Running
        | RunStatus::Paused
        | RunStatus::Cancelling
        | RunStatus::Succeeded => return Err(Rejection::RunStatus(step.run.status)),
    }
    let actions = unsuccessful(step);
    let deadline = deadline(step);
    step.emit(EventKind::RunRetried { deadline, actions: actions.clone() });
    if let Some(deadline) = deadline {
        time::wake_at(step, deadline);
    }
    for action in actions {
        graph::look_at(step, action, None);
    }
    step.follow();
    Ok(())
}

/// The actions that failed, timed out or were cancelled, and all that need them, in the author's order.
fn unsuccessful(step: &Step<'_>) -> Vec<ActionIndex> {
    let mut chosen = vec![false; step.run.actions.len()];
    let is_seed = |action: &ActionIndex| {
        let status = step.state(*action).status;
        status.is_failure() || status == ActionStatus::Cancelled
    };
    let mut open: Vec<ActionIndex> = step.definition.indexes().filter(is_seed).collect();
    while let Some(action) = open.pop() {
        if !std::mem::replace(&mut chosen[action.as_usize()], true) {
            open.extend(&step.action(action).dependents);
        }
    }
    step.definition.indexes().filter(|action| chosen[action.as_usize()]).collect()
}
