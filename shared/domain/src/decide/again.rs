//! A repeated input: what its first time decided is found in the record and sent again.
//!
//! Whoever decided then may have died between its commit and its sends. Everything that one commit changed carries
//! its revision, so what it had to send can be told from the record, as long as nothing has been heard of it since.

use super::step::Step;
use super::{Command, graph, time, work};
use crate::ids::ActionIndex;
use crate::limits::TOLD_WITHIN_MS;
pub(super) use crate::run::STARTING_REVISION;
use crate::run::{ActionStatus, Event, EventKind, Kill, Origin, RunStatus, SkipReason};
use crate::sabotage::{Bug, sabotaged};
use crate::time::{Millis, Timestamp};

/// Repeats what the commit did that changed this action last.
pub(super) fn of_action(step: &mut Step<'_>, action: ActionIndex) {
    of_revision(step, step.state(action).revision);
}

/// Repeats what the commit of that revision did, as far as it still stands.
pub(super) fn of_revision(step: &mut Step<'_>, revision: u64) {
    if revision > step.run.revision || sabotaged(Bug::DropRepeats) {
        // Both came in one batch: what the first one sends has not been sent yet, and will be.
        return;
    }
    for action in step.definition.indexes() {
        if step.state(action).kill.as_ref().is_some_and(|kill| kill.revision == revision) {
            of_kill(step, action);
        }
        if step.state(action).revision == revision {
            repeat(step, action);
        }
    }
    if step.run.status_revision == revision {
        status(step);
    }
}

/// Repeats what the commit did that retried the run, or changed its status since.
pub(super) fn of_retry(step: &mut Step<'_>) {
    // Time or people may have moved the run on since, or the very same commit may have ended it.
    begun(step);
    of_revision(step, step.run.status_revision);
}

/// Repeats what the commit did that cancelled the run, or ended it since.
pub(super) fn of_cancel(step: &mut Step<'_>) {
    cancelling(step);
    of_revision(step, step.run.status_revision);
}

/// Tells again that the run was paused, as long as it is.
pub(super) fn of_pause(step: &mut Step<'_>) {
    let is_committed = step.run.status_revision <= step.run.revision;
    if is_committed && step.run.status == RunStatus::Paused && !sabotaged(Bug::DropRepeats) {
        publish(step, None, EventKind::RunPaused { number: step.run.pauses });
    }
}

/// Repeats what the commit did that resumed the run.
pub(super) fn of_resume(step: &mut Step<'_>) {
    let is_committed = step.run.status_revision <= step.run.revision;
    // A run that was retried since may have ended while it was paused, and then nobody has resumed it.
    let was_resumed = step.run.pauses > 0 && step.run.retries == 0;
    if is_committed && was_resumed && !sabotaged(Bug::DropRepeats) {
        publish(step, None, EventKind::RunResumed { number: step.run.pauses });
    }
    of_revision(step, step.run.status_revision);
}

/// Repeats whatever was decided since then, as far as it still stands.
pub(super) fn of_time(step: &mut Step<'_>, since: Timestamp) {
    if sabotaged(Bug::DropRepeats) {
        return;
    }
    for action in step.definition.indexes() {
        let state = step.state(action);
        let (status, queued_at) = (state.status, state.queued_at);
        let decided_at = if status.is_settled() { state.finished_at } else { queued_at };
        let is_committed = state.revision <= step.run.revision;
        let is_kill = |kill: &Kill| kill.revision <= step.run.revision && kill.at >= since;
        let was_killed = state.kill.as_ref().is_some_and(is_kill);
        if let Some(at) = queued_at.filter(|at| is_committed && status != ActionStatus::Queued && *at >= since) {
            // The attempt has come further since, and that it was queued may not have been told.
            let of = step.at(action);
            publish(step, Some(at), EventKind::ActionQueued { of });
        }
        if was_killed {
            of_kill(step, action);
        }
        if is_committed && decided_at.is_some_and(|at| at >= since) {
            repeat(step, action);
        }
    }
    if step.run.revision >= STARTING_REVISION && step.run.started_at.is_some_and(|at| at >= since) {
        begun(step);
    }
    let is_committed = step.run.status_revision <= step.run.revision;
    let cancelled_at = step.run.cancellation.as_ref().map(|why| why.at);
    if cancelled_at.is_some_and(|at| at >= since) {
        // Its very input, repeated, may be what has ended the run.
        cancelling(step);
    }
    let decided_at = [step.run.started_at, step.run.finished_at, cancelled_at];
    if is_committed && decided_at.iter().flatten().any(|at| *at >= since) {
        status(step);
    }
}

/// Tells again that somebody killed the action, and tells its agent, if that is not done.
pub(super) fn of_kill(step: &mut Step<'_>, action: ActionIndex) {
    let of = step.at(action);
    let Some(Kill { at, reason, revision }) = step.state(action).kill.clone() else { return };
    if revision > step.run.revision {
        return;
    }
    publish(step, Some(at), EventKind::ActionCancelling { of, reason });
    if step.state(action).status == ActionStatus::Running {
        step.stop(action);
    }
}

/// Sends a queued attempt again. Whoever gets it must claim it, for the first message may have arrived; and whoever got
/// that may have begun without a claim: it is given the time to say so.
pub(super) fn of_queued(step: &mut Step<'_>, action: ActionIndex) {
    // What rendered once renders again: the record that it was rendered from has not changed.
    if let Ok(work) = work::render(step.definition, &step.run, action) {
        let mut perform = graph::perform(step, step.at(action), work, true);
        // Each one is another copy, later ones with greater numbers: of all that were sent, the first claim picks the one
        // that counts. Otherwise each redelivery of any of them would take the attempt from its owner. What is handed back
        // waits anew, under another fence.
        let waited = step.now.since(perform.queued_at).0;
        let number = waited.saturating_add(u64::from(perform.of.fence));
        perform.copy = perform.copy.saturating_add(u32::try_from(number).unwrap_or(u32::MAX));
        if !step.state(action).handed_back && !graph::must_claim(step, action) {
            perform.delay = Millis(TOLD_WITHIN_MS.saturating_sub(waited));
        }
        step.perform(perform);
    }
}

fn repeat(step: &mut Step<'_>, action: ActionIndex) {
    // What was handed back had been sent, for somebody had it; if it is to be sent again, that very input says so.
    if !step.state(action).handed_back {
        publish_action(step, action);
        send(step, action);
    }
}

fn send(step: &mut Step<'_>, action: ActionIndex) {
    let state = step.state(action);
    match state.status {
        // Nobody is to begin it any more; if no agent answers it, time ends it.
        ActionStatus::Queued if step.is_stopping(action) => {}
        ActionStatus::Queued => of_queued(step, action),
        ActionStatus::RetryWaiting => {
            let due = state.retry_at.unwrap_or(step.now);
            time::wake_at(step, due);
        }
        ActionStatus::Waiting
        | ActionStatus::Running
        | ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Skipped
        | ActionStatus::Cancelled => {}
    }
}

pub(super) fn publish_action(step: &mut Step<'_>, action: ActionIndex) {
    let of = step.at(action);
    let state = step.state(action).clone();
    if state.status == ActionStatus::Skipped && step.run.retries > 0 && state.revision < step.run.status_revision {
        // In an earlier life of the run, as far as can be told; it would be told as news of this one.
        return;
    }
    let allowed = step.action(action).allow_failure;
    let (agent, started_at) = (state.agent, state.started_at);
    let settled_at = state.finished_at;
    let (at, kind) = match (state.status, state.error) {
        (ActionStatus::Queued, _) => (state.queued_at, EventKind::ActionQueued { of }),
        (ActionStatus::Succeeded, _) => {
            let output = state.output.unwrap_or_default();
            (settled_at, EventKind::ActionSucceeded { of, agent, started_at, output })
        }
        (ActionStatus::Failed, Some(error)) => {
            (settled_at, EventKind::ActionFailed { of, agent, started_at, error, allowed })
        }
        (ActionStatus::TimedOut, Some(error)) => {
            (settled_at, EventKind::ActionTimedOut { of, agent, started_at, error, allowed })
        }
        (ActionStatus::RetryWaiting, Some(error)) => {
            let retry_at = state.retry_at.unwrap_or(step.now);
            (None, EventKind::ActionRetrying { of, agent, started_at, error, retry_at })
        }
        (ActionStatus::Skipped, _) => {
            (settled_at, EventKind::ActionSkipped { action, reason: skip_reason(step, action) })
        }
        (ActionStatus::Cancelled, error) => {
            let error = error.filter(|_| state.kill.is_some());
            (settled_at, EventKind::ActionCancelled { of, agent, error, allowed })
        }
        (
            ActionStatus::Waiting
            | ActionStatus::Running
            | ActionStatus::Failed
            | ActionStatus::TimedOut
            | ActionStatus::RetryWaiting,
            _,
        ) => return,
    };
    publish(step, at, kind);
}

/// Tells again that a queued attempt waits in a pool that nobody serves, if that was told.
pub(super) fn publish_unserved(step: &mut Step<'_>, action: ActionIndex) {
    let of = step.at(action);
    if let Some(unserved) = step.state(action).unserved {
        let pool = step.action(action).pool.clone();
        publish(step, Some(unserved.since), EventKind::ActionUnserved { of, pool, since: unserved.since });
    }
}

/// Why an action was skipped is told by its trigger: if that could still hold, it was the condition.
fn skip_reason(step: &Step<'_>, action: ActionIndex) -> SkipReason {
    match super::readiness::readiness(step.definition, &step.run, action, None) {
        super::readiness::Readiness::Never => SkipReason::Trigger,
        super::readiness::Readiness::Wait | super::readiness::Readiness::Go => SkipReason::Condition,
    }
}

pub(super) fn status(step: &mut Step<'_>) {
    let run = &step.run;
    match run.status {
        RunStatus::Running => begun(step),
        RunStatus::Cancelling => {
            cancelling(step);
            for action in step.definition.indexes() {
                if step.state(action).status == ActionStatus::Running {
                    step.stop(action);
                }
            }
        }
        RunStatus::Submitted | RunStatus::Paused => {}
        RunStatus::Succeeded
        | RunStatus::SucceededWithFaults
        | RunStatus::Failed
        | RunStatus::TimedOut
        | RunStatus::Cancelled => {
            if run.status_revision == STARTING_REVISION {
                begun(step);
            }
            cancelling(step);
            let run = &step.run;
            let (at, status) = (run.finished_at, run.status);
            let (output, error) = (run.output.clone(), run.error.clone());
            publish(step, at, EventKind::RunFinished { status, output, error });
            if matches!(step.run.origin, Origin::Schedule { .. }) {
                step.commands.push(Command::Ended);
            }
        }
    }
}

fn begun(step: &mut Step<'_>) {
    let (at, deadline) = (step.run.started_at, step.run.deadline);
    if step.run.retries > 0 {
        publish(step, None, EventKind::RunRetried { deadline, actions: Vec::new() });
    } else if at.is_some() {
        publish(step, at, EventKind::RunStarted { deadline });
    }
}

fn cancelling(step: &mut Step<'_>) {
    if let Some(why) = step.run.cancellation.clone() {
        publish(step, Some(why.at), EventKind::RunCancelling { cause: why.cause, reason: why.reason });
    }
}

fn publish(step: &mut Step<'_>, at: Option<Timestamp>, kind: EventKind) {
    let at = at.unwrap_or(step.now);
    step.again.push(Event { at, kind });
}
