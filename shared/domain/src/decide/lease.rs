//! Attempts that last for longer than a queue hides their message: the record says who has them.
//!
//! The agent renews its lease, and has no message to extend. Once nobody has renewed it, the run's own timer ends it, and
//! the attempt is sent again.

use super::step::Step;
use super::{Rejection, again, loss, report, time};
use crate::ids::{ActionIndex, AgentId};
use crate::limits::{CLOCKS_DIFFER_MS, LEASE_MS, MAX_LOSSES, UNLEASED_MS};
use crate::run::{ActionAt, ActionState, ActionStatus, EventKind};
use crate::sabotage::{Bug, sabotaged};
use crate::time::{Millis, Timestamp};

/// The agent keeps the attempt for a while from now, unless it is not to go on. The attempt may be one that was never
/// reported as started.
pub(super) fn renew(
    step: &mut Step<'_>,
    of: ActionAt,
    agent: &AgentId,
    started_at: Timestamp,
) -> Result<(), Rejection> {
    report::started(step, of, agent, started_at)?;
    if step.is_stopping(of.action) {
        // Who is refused is told to stop.
        return Err(Rejection::Stale);
    }
    // It has performed it for hours.
    loss::survived(step, of);
    let until = step.now.plus(Millis(LEASE_MS + CLOCKS_DIFFER_MS));
    if step.state(of.action).leased_until < Some(until) {
        step.emit(EventKind::ActionLeased { of, until });
    }
    time::put_off_wake(step);
    Ok(())
}

/// Whether its agent may still perform it: nobody else is to have it, whatever becomes of the run.
pub(super) fn holds(step: &Step<'_>, action: ActionIndex) -> bool {
    end(step, action).is_some()
}

/// When the lease ends that holds up whoever would end the attempt.
pub(super) fn end(step: &Step<'_>, action: ActionIndex) -> Option<Timestamp> {
    step.state(action).leased_until.filter(|until| step.now < *until)
}

/// When the attempt's lease runs out, if it has one.
pub(super) fn due(step: &Step<'_>, action: ActionIndex) -> Option<Timestamp> {
    step.state(action).leased_until.filter(|_| !sabotaged(Bug::LeaseForEver))
}

/// Whether the attempt has run for longer than a message may be hidden, and has no lease: its agent was lost, and its
/// message too, or has waited for long.
pub(super) fn is_unowned(state: &ActionState, now: Timestamp) -> bool {
    // Whatever clock its agent went by.
    let runs_for = state.started_at.max(state.queued_at).map_or(0, |since| now.since(since).0);
    let goes_on = state.status == ActionStatus::Running && state.kill.is_none();
    goes_on && state.leased_until.is_none() && runs_for >= UNLEASED_MS
}

/// Nobody has renewed the lease, or has one: its agent was lost, and the attempt is sent again.
pub(super) fn lapse(step: &mut Step<'_>, action: ActionIndex) {
    debug_assert_eq!(step.state(action).status, ActionStatus::Running, "only what runs has an owner");
    let of = step.at(action);
    step.emit(EventKind::ActionLost { of });
    loss::stop_owner(step, of);
    if step.state(action).lost.len() >= MAX_LOSSES {
        loss::give_up(step, of);
        return;
    }
    step.emit(EventKind::ActionLapsed { of });
    again::of_queued(step, action);
}
