//! Joins: whether an action's trigger holds.

use super::fact::SkipReason;
use super::state::Run;
use crate::attempt::ActionStatus;
use crate::definition::{Definition, Trigger};
use crate::ids::ActionIndex;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Not yet.
    Wait,
    /// It never will.
    Never,
    /// Yes.
    Go,
}

/// The readiness that one settled need decides alone; none: the other needs decide too.
fn verdict_of_one(trigger: Trigger, definition: &Definition, run: &Run, need: ActionIndex) -> Option<Readiness> {
    let status = run.action(need).status;
    if !status.is_settled() {
        return None;
    }
    let allowed = definition.action(need).allow_failure;
    // In a run that goes on, a cancelled action was killed, and that is a failure to the actions that need it.
    let is_fault = status.is_failure() || status == ActionStatus::Cancelled;
    let good = status == ActionStatus::Succeeded || is_fault && allowed;
    match trigger {
        Trigger::AllSucceeded if !good => Some(Readiness::Never),
        Trigger::AnySucceeded if status == ActionStatus::Succeeded => Some(Readiness::Go),
        Trigger::AnyFailed if is_fault => Some(Readiness::Go),
        Trigger::NoneFailed if is_fault && !allowed => Some(Readiness::Never),
        Trigger::AllSucceeded | Trigger::AnySucceeded | Trigger::AnyFailed | Trigger::NoneFailed | Trigger::AllDone => {
            None
        }
    }
}

/// The readiness of an action when every need is settled and none has decided it alone.
fn verdict_of_all(trigger: Trigger, needs: usize) -> Readiness {
    match trigger {
        Trigger::AllSucceeded | Trigger::AllDone | Trigger::NoneFailed => Readiness::Go,
        Trigger::AnySucceeded | Trigger::AnyFailed if needs == 0 => Readiness::Go,
        Trigger::AnySucceeded | Trigger::AnyFailed => Readiness::Never,
    }
}

/// Whether the action's trigger holds. `settled` is the need that has just been settled, if it is known: what it
/// says alone was said by each need before it in its turn, so the rest is only asked whether it is settled. That is
/// asked from the last on, for needs are mostly settled in order: a wide join costs little until it fires.
pub(super) fn readiness(
    definition: &Definition,
    run: &Run,
    action: ActionIndex,
    settled: Option<ActionIndex>,
) -> Readiness {
    let trigger = definition.action(action).trigger;
    let needs = &definition.action(action).needs;
    let alone = match settled {
        Some(need) => verdict_of_one(trigger, definition, run, need),
        None => needs.iter().find_map(|need| verdict_of_one(trigger, definition, run, *need)),
    };
    if let Some(verdict) = alone {
        return verdict;
    }
    if needs.iter().rev().any(|need| !run.action(*need).status.is_settled()) {
        return Readiness::Wait;
    }
    let decided = needs.iter().find_map(|need| verdict_of_one(trigger, definition, run, *need));
    decided.unwrap_or_else(|| verdict_of_all(trigger, needs.len()))
}

/// Why an action was skipped: if its trigger could still hold, its condition was false.
pub(crate) fn skip_reason(definition: &Definition, run: &Run, action: ActionIndex) -> SkipReason {
    match readiness(definition, run, action, None) {
        Readiness::Never => SkipReason::Trigger,
        Readiness::Wait | Readiness::Go => SkipReason::Condition,
    }
}
