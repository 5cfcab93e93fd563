//! What time alone does: due retries, deadlines, waits that took too long, and the sweeper's second look.

use super::report::attempt_failed;
use super::step::Step;
use super::{Command, Rejection, again, control, kill, lease};
use crate::ids::ActionIndex;
use crate::limits::{MAX_DELAY_MS, REISSUE_QUEUED_AFTER_MS, RESTART_AFTER_MS, TIMEOUT_MARGIN_MS};
use crate::run::{ActionStatus, CancelCause, ErrorInfo, EventKind, RunStatus};
use crate::sabotage::{Bug, sabotaged};
use crate::time::{Millis, Timestamp};

/// A retry that is begun so much after it was due was not woken by the message that was sent for it.
const LATE_WAKE_MS: u64 = 5_000;

/// Does everything that is due by now.
pub(super) fn wake(step: &mut Step<'_>) -> Result<(), Rejection> {
    match step.run.status {
        RunStatus::Running | RunStatus::Paused => {
            if step.run.deadline.is_some_and(|deadline| deadline <= step.now) {
                return control::cancel(step, CancelCause::Deadline, "the run's deadline passed");
            }
            for action in step.definition.indexes() {
                let killed_at = step.state(action).kill.as_ref().map(|kill| kill.at);
                match killed_at {
                    Some(at) => kill::force(step, action, step.now.since(at)),
                    None => wake_action(step, action),
                }
            }
        }
        RunStatus::Cancelling => force(step),
        RunStatus::Submitted
        | RunStatus::Succeeded
        | RunStatus::SucceededWithFaults
        | RunStatus::Failed
        | RunStatus::TimedOut
        | RunStatus::Cancelled => return Ok(()),
    }
    step.follow();
    refresh_wake(step);
    Ok(())
}

fn wake_action(step: &mut Step<'_>, action: ActionIndex) {
    let Some(due) = due_of(step, action).filter(|due| *due <= step.now) else {
        return;
    };
    let state = step.state(action);
    let (of, by) = (step.at(action), (state.agent.clone(), state.started_at));
    match state.status {
        // Room is given when all that is due has been looked at, so that the author's order decides.
        ActionStatus::RetryWaiting => {
            // Its own wake was not sent, or is late: whoever decided the retry may not have told of it either.
            if step.now.since(due).0 >= LATE_WAKE_MS {
                again::publish_action(step, action);
            }
            step.emit(EventKind::ActionReady { action });
        }
        ActionStatus::Queued => {
            let message = untaken(step, action, due);
            attempt_failed(step, of, by, ErrorInfo::new("timeout.queue", message), true);
        }
        ActionStatus::Running => {
            let Some(timeout) = timeout_of(step, action).filter(|timeout| *timeout <= step.now) else {
                return lease::lapse(step, action);
            };
            let message = format!("its agent did not report until {timeout}, a minute after its timeout");
            step.stop(action);
            attempt_failed(step, of, by, ErrorInfo::new("timeout.lost", message), true);
        }
        ActionStatus::Waiting
        | ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Skipped
        | ActionStatus::Cancelled => {}
    }
}

/// Why nobody took a queued attempt in time, as far as is known.
fn untaken(step: &Step<'_>, action: ActionIndex, due: Timestamp) -> String {
    let pool = &step.action(action).pool;
    match step.state(action).unserved {
        Some(unserved) => {
            format!(
                "no agent has served the pool `{pool}` since {}; nobody took the attempt until {due}",
                unserved.since
            )
        }
        None => format!("no agent took the attempt from the pool `{pool}` until {due}"),
    }
}

/// When time alone changes an action of a run that is not ending.
fn due_of(step: &Step<'_>, action: ActionIndex) -> Option<Timestamp> {
    let state = step.state(action);
    if state.kill.is_some() {
        return kill::due(step, action);
    }
    match state.status {
        ActionStatus::RetryWaiting => state.retry_at,
        ActionStatus::Queued => Some(state.queued_at?.plus(step.action(action).queue_timeout?)),
        ActionStatus::Running => timeout_of(step, action).into_iter().chain(lease::due(step, action)).min(),
        ActionStatus::Waiting
        | ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Skipped
        | ActionStatus::Cancelled => None,
    }
}

/// When an attempt that runs has taken so long that its agent must have ended it.
fn timeout_of(step: &Step<'_>, action: ActionIndex) -> Option<Timestamp> {
    let timeout = step.action(action).timeout?;
    Some(step.state(action).started_at?.plus(timeout).plus(Millis(TIMEOUT_MARGIN_MS)))
}

/// Ends what a cancelled run still waits for.
fn force(step: &mut Step<'_>) {
    let Some(waited) = step.run.cancellation.as_ref().map(|since| step.now.since(since.at)) else {
        return;
    };
    for action in step.definition.indexes() {
        kill::force(step, action, waited);
    }
}

/// A second look at a run that has not changed for a while: what may have been lost is sent again. A queued attempt
/// is sent again when it has waited for 10 minutes, 20, 40 and so on: a long queue is no loss. One of the run's start is
/// after 2 minutes, 4, 8, because whoever recorded that may have died before it sent all of it; and if nothing was heard
/// of the run since, what else its start led to is sent again with it.
pub(super) fn sweep(step: &mut Step<'_>, since: Timestamp) -> Result<(), Rejection> {
    if step.run.status == RunStatus::Submitted {
        control::start(step);
        return Ok(());
    }
    let is_unheard_of = step.run.is_unheard_of();
    wake(step)?;
    if !matches!(step.run.status, RunStatus::Running | RunStatus::Paused) {
        return Ok(());
    }
    let waited = |from: Option<Timestamp>, until: Timestamp| from.map_or(0, |from| until.since(from).0);
    if is_unheard_of {
        let from = step.run.started_at;
        if doubled(RESTART_AFTER_MS, waited(from, since), waited(from, step.now)) {
            again::of_revision(step, again::STARTING_REVISION);
        }
        return Ok(());
    }
    for action in step.definition.indexes() {
        let state = step.state(action);
        let from = state.queued_at.filter(|_| state.status == ActionStatus::Queued);
        // Others of the start may have been heard of, or the run paused before any was: this one still may never have been sent.
        let is_of_start = state.revision <= again::STARTING_REVISION;
        let first = if is_of_start { RESTART_AFTER_MS } else { REISSUE_QUEUED_AFTER_MS };
        if doubled(first, waited(from, since), waited(from, step.now)) {
            again::of_queued(step, action);
        } else if lease::is_unowned(state, step.now) {
            lease::lapse(step, action);
            refresh_wake(step);
        }
    }
    Ok(())
}

/// Whether `first`, or twice that, or four times and so on, lies after `before` and not after `until`.
fn doubled(first: u64, before: u64, until: u64) -> bool {
    let mut mark = first;
    while mark <= until {
        if mark > before {
            return true;
        }
        mark = mark.saturating_mul(2);
    }
    false
}

/// Asks to be woken at that time: by a delayed message if it is near, by the due index in any case.
pub(super) fn wake_at(step: &mut Step<'_>, at: Timestamp) {
    if at.since(step.now).0 <= MAX_DELAY_MS {
        step.commands.push(Command::Wake { at });
    }
}

/// Keeps `wake_at` no later than the earliest instant at which time alone changes the run: only what was touched is
/// looked at, so it may be earlier, and the wake that then comes for nothing sets it right.
pub(super) fn keep_wake(step: &mut Step<'_>, touched: impl Iterator<Item = ActionIndex>) {
    step.run.wake_at = match step.run.status {
        RunStatus::Running | RunStatus::Paused if sabotaged(Bug::TimerInQueue) => None,
        RunStatus::Running | RunStatus::Paused => {
            let actions = touched.filter_map(|action| due_of(step, action));
            actions.chain(step.run.deadline).chain(step.run.wake_at).min()
        }
        // What is overdue stays so: a run whose agents report all the time is ended all the same.
        RunStatus::Cancelling => earliest(step).into_iter().chain(step.run.wake_at).min(),
        RunStatus::Submitted
        | RunStatus::Succeeded
        | RunStatus::SucceededWithFaults
        | RunStatus::Failed
        | RunStatus::TimedOut
        | RunStatus::Cancelled => None,
    };
}

/// Sets `wake_at` to the exact instant after a timer was put off, unless the run is to be woken already: that stays so.
pub(super) fn put_off_wake(step: &mut Step<'_>) {
    let is_overdue = step.run.wake_at.is_some_and(|at| at <= step.now);
    if !step.is_ending() && !is_overdue {
        set_wake(step);
    }
}

fn set_wake(step: &mut Step<'_>) {
    step.run.wake_at = earliest(step);
    step.woken = true;
}

/// Sets `wake_at` to the exact instant, and asks again for a wake that came a little early.
fn refresh_wake(step: &mut Step<'_>) {
    const EARLY_MS: u64 = 2000;
    set_wake(step);
    if let Some(at) = step.run.wake_at
        && at > step.now
        && at.since(step.now).0 <= EARLY_MS
    {
        wake_at(step, at);
    }
}

fn earliest(step: &Step<'_>) -> Option<Timestamp> {
    match step.run.status {
        RunStatus::Running | RunStatus::Paused => {
            let actions = step.definition.indexes().filter_map(|action| due_of(step, action));
            actions.chain(step.run.deadline).min()
        }
        RunStatus::Cancelling => kill::next_look_at_run(step, step.run.cancellation.as_ref()?.at),
        RunStatus::Submitted
        | RunStatus::Succeeded
        | RunStatus::SucceededWithFaults
        | RunStatus::Failed
        | RunStatus::TimedOut
        | RunStatus::Cancelled => None,
    }
}
