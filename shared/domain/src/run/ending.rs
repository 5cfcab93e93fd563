//! Ending early: a whole run, or one action that a caller killed while the rest of its run goes on.
//!
//! Both keep the same time. An action that is not queued yet ends at once. The process manager tells the agent of a
//! running action to stop. The agent that receives a queued action reports it as cancelled. An action that no agent
//! reports ends after a grace.

use super::change::Rejection;
use super::command::CANCELLED;
use super::draft::Draft;
use super::fact::FactKind;
use super::graph;
use super::input::CancelCause;
use super::state::RunStatus;
use super::timers;
use crate::attempt::{ActionStatus, Fate};
use crate::ids::ActionIndex;
use crate::limits::{CANCEL_FORCE_MS, CANCEL_GRACE_MS};
use crate::time::Millis;

/// Cancels the run, if it has not ended.
pub(super) fn cancel(draft: &mut Draft<'_>, cause: CancelCause, reason: &str) -> Result<(), Rejection> {
    if matches!(draft.run.status, RunStatus::Cancelling | RunStatus::Cancelled) {
        return Ok(());
    }
    if draft.run.status.is_final() {
        return Err(Rejection::RunEnded);
    }
    let caller = draft.caller.clone();
    draft.emit(FactKind::RunCancelling { cause, reason: reason.to_owned(), caller });
    for action in draft.definition.indexes() {
        let status = draft.state(action).status;
        if status == ActionStatus::Running {
            draft.stop_owner(action, Fate::Report, CANCELLED);
        } else if !status.is_in_flight() && !status.is_settled() {
            draft.cancel(action, None);
        }
    }
    if draft.run.open > 0 {
        timers::wake_at(draft, None, draft.now.plus(Millis(CANCEL_GRACE_MS)));
    }
    graph::follow(draft);
    Ok(())
}

/// Kills one action of a run that goes on.
pub(super) fn kill(draft: &mut Draft<'_>, action: ActionIndex, reason: &str) -> Result<(), Rejection> {
    let status = draft.state(action).status;
    if draft.state(action).kill.is_some() {
        return if status.is_in_flight() || status == ActionStatus::Cancelled {
            Ok(())
        } else {
            Err(Rejection::Settled)
        };
    }
    if !draft.run.status.goes_on() {
        return Err(Rejection::of_status(draft.run.status));
    }
    if status.is_settled() {
        return Err(Rejection::Settled);
    }
    let (of, caller) = (draft.at(action), draft.caller.clone());
    draft.emit(FactKind::ActionCancelling { of, reason: reason.to_owned(), caller });
    if status.is_in_flight() {
        if status == ActionStatus::Running {
            draft.stop_owner(action, Fate::Report, CANCELLED);
        }
        timers::wake_at(draft, Some(action), draft.now.plus(Millis(CANCEL_GRACE_MS)));
    } else {
        draft.cancel(action, None);
    }
    graph::follow(draft);
    Ok(())
}

/// Ends an action that was cancelled so long ago, if no agent can report it any more. That is so for a queued attempt
/// after the grace, and for a running one once its agent has lost its right to it. Until then the owner of a running
/// attempt gets another stop.
pub(super) fn force(draft: &mut Draft<'_>, action: ActionIndex, waited: Millis) {
    let is_leased = draft.state(action).leased_until(draft.now).is_some();
    let status = draft.state(action).status;
    let most = if status == ActionStatus::Queued { CANCEL_GRACE_MS } else { CANCEL_FORCE_MS };
    if status.is_in_flight() && waited.0 >= most && (status == ActionStatus::Queued || !is_leased) {
        draft.cancel(action, None);
    } else if status == ActionStatus::Running {
        draft.stop_owner(action, Fate::Report, CANCELLED);
    }
}

/// Ends what a cancelled run still waits for.
pub(super) fn force_all(draft: &mut Draft<'_>) {
    let Some(waited) = draft.run.cancellation.as_ref().map(|since| draft.now.since(since.at)) else { return };
    for action in draft.definition.indexes() {
        force(draft, action, waited);
    }
}
