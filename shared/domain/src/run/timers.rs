//! When time alone changes a run, and how it is asked for.
//!
//! A timer is a delayed message if it is near, and in any case the record's `wake_at`, by which the sweeper finds the run.

use super::command::Command;
use super::draft::Draft;
use super::state::{Phase, Run, RunStatus};
use crate::attempt::ActionStatus;
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::limits::{CANCEL_FORCE_MS, CANCEL_GRACE_MS, MAX_DELAY_MS, TIMEOUT_MARGIN_MS};
use crate::time::{Millis, Timestamp};

/// A timer that comes so much too early is asked for again: the clocks of two process managers differ by that at most.
const EARLY_MS: u64 = 2000;

/// Asks to be woken at that time.
pub(super) fn wake_at(draft: &mut Draft<'_>, action: Option<ActionIndex>, at: Timestamp) {
    if at.since(draft.now).0 <= MAX_DELAY_MS {
        draft.commands.push(Command::Wake { action, at });
    }
}

/// When time alone changes an action of a run that is not ending.
pub(super) fn due_of(definition: &Definition, run: &Run, action: ActionIndex, now: Timestamp) -> Option<Timestamp> {
    let state = run.action(action);
    if let Some(kill) = state.kill.as_ref().filter(|_| state.status.is_in_flight()) {
        return state.leased_until(now).into_iter().chain([next_look(kill.at, now)]).min();
    }
    match state.status {
        ActionStatus::RetryWaiting => state.retry_at,
        ActionStatus::Queued => Some(state.waits_since()?.plus(definition.action(action).queue_timeout?)),
        ActionStatus::Running => {
            let lease = state.owner.as_ref().and_then(|owner| owner.until);
            timeout_of(definition, run, action).into_iter().chain(lease).min()
        }
        ActionStatus::Waiting
        | ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Skipped
        | ActionStatus::Cancelled => None,
    }
}

/// When an attempt that runs has taken so long that its agent must have ended it: by the process manager's own clock.
pub(super) fn timeout_of(definition: &Definition, run: &Run, action: ActionIndex) -> Option<Timestamp> {
    let timeout = definition.action(action).timeout?;
    Some(run.action(action).owner.as_ref()?.since.plus(timeout).plus(Millis(TIMEOUT_MARGIN_MS)))
}

/// What was cancelled is looked at once a grace, so also at the very instant at which it is forced.
fn next_look(since: Timestamp, now: Timestamp) -> Timestamp {
    const _: () = assert!(CANCEL_FORCE_MS.is_multiple_of(CANCEL_GRACE_MS));
    let rounds = now.since(since).0 / CANCEL_GRACE_MS + 1;
    since.plus(Millis(rounds.saturating_mul(CANCEL_GRACE_MS)))
}

/// Keeps `wake_at` no later than the earliest instant at which time alone changes the run. Only what was touched is looked
/// at, so it may be earlier: the sweep that then comes for nothing sets it right.
pub(super) fn keep_wake(draft: &mut Draft<'_>) {
    let kept = draft.run.wake_at;
    draft.run.wake_at = match draft.run.status.phase() {
        Phase::Ended => None,
        Phase::Open if draft.run.status == RunStatus::Submitted => None,
        Phase::Open => {
            let touched = draft.facts.iter().filter_map(|fact| fact.kind.about());
            let due = touched.filter_map(|of| due_of(draft.definition, &draft.run, of.action, draft.now));
            due.chain(draft.run.deadline).chain(kept).min()
        }
        // What is overdue stays so: a run whose agents report all the time is ended all the same.
        Phase::Ending => earliest(draft).into_iter().chain(kept).min(),
    };
}

/// Sets `wake_at` to the exact instant after a timer was put off, unless the run is overdue: then it stays so.
pub(super) fn put_off_wake(draft: &mut Draft<'_>) {
    let is_overdue = draft.run.wake_at.is_some_and(|at| at <= draft.now);
    if draft.run.status.phase() == Phase::Open && !is_overdue {
        set_wake(draft);
    }
}

/// Sets `wake_at` to the exact instant.
pub(super) fn set_wake(draft: &mut Draft<'_>) {
    draft.run.wake_at = earliest(draft);
    draft.is_wake_set = true;
}

/// Asks again for a timer that came a little too early.
pub(super) fn ask_again(draft: &mut Draft<'_>, action: Option<ActionIndex>) {
    let due = match action {
        Some(action) => due_of(draft.definition, &draft.run, action, draft.now),
        None if draft.run.status.phase() == Phase::Ending => earliest(draft),
        None => draft.run.deadline,
    };
    if let Some(at) = due.filter(|at| *at > draft.now && at.since(draft.now).0 <= EARLY_MS) {
        wake_at(draft, action, at);
    }
}

fn earliest(draft: &Draft<'_>) -> Option<Timestamp> {
    let (definition, run, now) = (draft.definition, &draft.run, draft.now);
    match run.status.phase() {
        Phase::Open if run.status.goes_on() => {
            definition.indexes().filter_map(|action| due_of(definition, run, action, now)).chain(run.deadline).min()
        }
        Phase::Ending => {
            let leases = definition.indexes().filter_map(|action| run.action(action).leased_until(now));
            leases.chain([next_look(run.cancellation.as_ref()?.at, now)]).min()
        }
        Phase::Open | Phase::Ended => None,
    }
}
