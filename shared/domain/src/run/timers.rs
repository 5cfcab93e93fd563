//! When time alone changes a run, and how it is asked for.
//!
//! A timer is a delayed message if it is near, and in any case the record's `wake_at`, by which the sweeper finds the run.

use super::command::Command;
use super::draft::Draft;
use super::state::{Phase, Run};
use crate::attempt::ActionStatus;
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::limits::{
    CANCEL_FORCE_MS, CANCEL_GRACE_MS, MAX_DELAY_MS, REISSUE_QUEUED_AFTER_MS, TIMEOUT_MARGIN_MS, UNLEASED_MS,
};
use crate::time::{Millis, Timestamp};

/// A timer that comes so much too early is asked for again: the clocks of two process managers differ by that at most.
const EARLY_MS: u64 = 2000;

/// Asks to be woken at that time.
pub(super) fn wake_at(draft: &mut Draft<'_>, action: Option<ActionIndex>, at: Timestamp) {
    if at.since(draft.now).0 <= MAX_DELAY_MS {
        draft.commands.push(Command::Wake { action, at });
    }
}

/// When time alone changes an action of a run that is not ending. Of the marks at which a queued attempt is sent again, the
/// first one after `handled` counts.
pub(super) fn due_of(definition: &Definition, run: &Run, action: ActionIndex, handled: Timestamp) -> Option<Timestamp> {
    let state = run.action(action);
    if let Some(kill) = state.kill.as_ref().filter(|_| state.status.is_in_flight()) {
        return state.leased_until(handled).into_iter().chain([next_look(kill.at, handled)]).min();
    }
    if state.status == ActionStatus::Queued {
        let since = state.waits_since()?;
        let most = definition.action(action).queue_timeout.filter(|_| state.is_untaken());
        let given_up = most.map(|most| since.plus(most));
        return given_up.into_iter().chain([next_mark(since, handled)]).min();
    }
    if state.status == ActionStatus::Running {
        let owner = state.owner.as_ref()?;
        let lapses = owner.until.unwrap_or(owner.since.plus(Millis(UNLEASED_MS)));
        return timeout_of(definition, run, action).into_iter().chain([lapses]).min();
    }
    state.retry_at
}

/// The first time after `handled` at which an attempt that waits since then is sent again: after 10 minutes, 20, 40 and so
/// on. A long queue is no loss.
pub(crate) fn next_mark(since: Timestamp, handled: Timestamp) -> Timestamp {
    let waited = handled.since(since).0;
    let mut mark = REISSUE_QUEUED_AFTER_MS;
    while mark <= waited {
        mark = mark.saturating_mul(2);
    }
    since.plus(Millis(mark))
}

/// When an attempt that runs has taken so long that its agent must have ended it: by the process manager's own clock.
pub(super) fn timeout_of(definition: &Definition, run: &Run, action: ActionIndex) -> Option<Timestamp> {
    let timeout = definition.action(action).timeout?;
    Some(run.action(action).owner.as_ref()?.since.plus(timeout).plus(Millis(TIMEOUT_MARGIN_MS)))
}

/// The sweeper looks at a cancelled run or action once a grace, so also at the very instant at which it is forced.
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
        Phase::Open => {
            let touched = draft.facts.iter().filter_map(|fact| fact.kind.about());
            let due = touched.filter_map(|of| due_of(draft.definition, &draft.run, of.action, draft.now));
            due.chain(draft.run.deadline).chain(kept).chain(draft.left_since()).min()
        }
        // A mark that has passed stays: a cancelled run ends even if its agents report all the time.
        Phase::Ending => earliest(draft, None).into_iter().chain(kept).min(),
    };
}

/// Sets `wake_at` to the exact instant, when all that was due has been done; or, with an action, all that was due of that
/// one. What is due of the others stays due.
pub(super) fn set_wake(draft: &mut Draft<'_>, done: Option<ActionIndex>) {
    draft.run.wake_at = earliest(draft, done);
    draft.is_wake_set = true;
}

/// Asks again for a timer that came a little too early.
pub(super) fn ask_again(draft: &mut Draft<'_>, action: Option<ActionIndex>) {
    let due = match action {
        Some(action) => due_of(draft.definition, &draft.run, action, draft.now),
        None if draft.run.status.phase() == Phase::Ending => earliest(draft, None),
        None => draft.run.deadline,
    };
    if let Some(at) = due.filter(|at| *at > draft.now && at.since(draft.now).0 <= EARLY_MS) {
        wake_at(draft, action, at);
    }
}

/// Until when all marks of the run have been looked at: none is earlier than `wake_at`.
pub(super) fn handled_until(run: &Run, now: Timestamp) -> Timestamp {
    run.wake_at.map_or(now, |at| now.min(Timestamp::from_millis(at.as_millis().saturating_sub(1))))
}

fn earliest(draft: &Draft<'_>, done: Option<ActionIndex>) -> Option<Timestamp> {
    let (definition, run, now) = (draft.definition, &draft.run, draft.now);
    let before = handled_until(run, now);
    let handled = |action| if done.is_none_or(|done| done == action) { now } else { before };
    match run.status.phase() {
        Phase::Open => {
            let due = |action| due_of(definition, run, action, handled(action));
            definition.indexes().filter_map(due).chain(run.deadline).chain(draft.left_since()).min()
        }
        // Nothing of a run that is ending has a mark of its own.
        Phase::Ending => {
            let leases = definition.indexes().filter_map(|action| run.action(action).leased_until(now));
            leases.chain([next_look(run.cancellation.as_ref()?.at, now)]).min()
        }
        Phase::Ended => None,
    }
}
