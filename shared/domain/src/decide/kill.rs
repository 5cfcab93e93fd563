//! One action that somebody wants to end, while the rest of its run goes on.
//!
//! It is a cancellation of that action alone, and keeps the same time: what has not been queued ends at once, what runs is
//! told to stop, what is queued is answered by whoever receives it, and what nobody answers is ended after a grace.

use super::step::Step;
use super::{Rejection, again, control, lease, time};
use crate::ids::ActionIndex;
use crate::limits::{CANCEL_FORCE_MS, CANCEL_GRACE_MS};
use crate::run::{ActionStatus, EventKind, RunStatus};
use crate::time::{Millis, Timestamp};

/// Kills the action for somebody who saw the run when it had been retried that often.
pub(super) fn kill(step: &mut Step<'_>, action: ActionIndex, reason: &str, retries: u32) -> Result<(), Rejection> {
    if !control::is_of_this_life(step, retries)? {
        return Ok(());
    }
    let state = step.state(action);
    let (status, is_killed) = (state.status, state.kill.is_some());
    if is_killed && (status.is_in_flight() || status == ActionStatus::Cancelled) {
        repeat(step, action);
        return Ok(());
    }
    match step.run.status {
        RunStatus::Running | RunStatus::Paused if status.is_settled() => return Err(Rejection::Settled),
        RunStatus::Running | RunStatus::Paused => {}
        RunStatus::Submitted | RunStatus::Cancelling => return Err(Rejection::RunStatus(step.run.status)),
        RunStatus::Succeeded
        | RunStatus::SucceededWithFaults
        | RunStatus::Failed
        | RunStatus::TimedOut
        | RunStatus::Cancelled => return Err(Rejection::RunEnded),
    }
    let of = step.at(action);
    step.emit(EventKind::ActionCancelling { of, reason: reason.to_owned() });
    if status.is_in_flight() {
        step.stop(action);
        time::wake_at(step, step.now.plus(Millis(CANCEL_GRACE_MS)));
    } else {
        step.cancel(of, None);
    }
    step.follow();
    Ok(())
}

/// Sends again what the kill sent, as far as it still stands.
fn repeat(step: &mut Step<'_>, action: ActionIndex) {
    again::of_kill(step, action);
    let state = step.state(action);
    if state.status.is_settled() {
        again::of_action(step, action);
    } else if let Some(at) = state.kill.as_ref().map(|kill| kill.at) {
        time::wake_at(step, at.plus(Millis(CANCEL_GRACE_MS)));
    }
}

/// When a killed action that is still in flight is looked at next; none of any other.
pub(super) fn due(step: &Step<'_>, action: ActionIndex) -> Option<Timestamp> {
    let state = step.state(action);
    let since = state.kill.as_ref().filter(|_| state.status.is_in_flight())?.at;
    lease::end(step, action).into_iter().chain([next_look(since, step.now)]).min()
}

/// When a run that is being cancelled since then is looked at next.
pub(super) fn next_look_at_run(step: &Step<'_>, since: Timestamp) -> Option<Timestamp> {
    let leases = step.definition.indexes().filter_map(|action| lease::end(step, action));
    leases.chain([next_look(since, step.now)]).min()
}

/// What was cancelled is looked at once a grace, so also at the very instant at which it is forced.
fn next_look(since: Timestamp, now: Timestamp) -> Timestamp {
    const _: () = assert!(CANCEL_FORCE_MS.is_multiple_of(CANCEL_GRACE_MS));
    let rounds = now.since(since).0 / CANCEL_GRACE_MS + 1;
    since.plus(Millis(rounds.saturating_mul(CANCEL_GRACE_MS)))
}

/// Ends an action that was cancelled so long ago, if nobody can answer it any more: a queued attempt after the grace, a
/// running one after its agent must have lost its lease. Until then its agent is told again.
pub(super) fn force(step: &mut Step<'_>, action: ActionIndex, waited: Millis) {
    let of = step.at(action);
    match step.state(action).status {
        ActionStatus::Queued if waited.0 >= CANCEL_GRACE_MS => step.cancel(of, None),
        ActionStatus::Running if waited.0 >= CANCEL_FORCE_MS && !lease::holds(step, action) => step.cancel(of, None),
        ActionStatus::Running => step.stop(action),
        ActionStatus::Queued
        | ActionStatus::Waiting
        | ActionStatus::RetryWaiting
        | ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Skipped
        | ActionStatus::Cancelled => {}
    }
}
