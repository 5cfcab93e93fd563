//! Attempts that pass from one agent to the next: claims, hand-backs, and agents that were lost.
//!
//! A claim of a redelivered message says that whoever had it does not have it any more. If that agent handed it back,
//! it says so itself, before or after the claim; if nobody ever says so, the agent was lost, and maybe because of the
//! very attempt. An action that costs too many agents is poison, and is not begun again.

use serde_json::Value;

use super::report::{check_open, checkpointed};
use super::step::Step;
use super::{Command, Rejection, again, lease};
use crate::ids::{ActionIndex, AgentId};
use crate::limits::{CHECK_AFTER_MS, CLOCKS_DIFFER_MS, MAX_LOSSES, SUSPECT_LOSSES};
use crate::run::{ActionAt, ActionState, ActionStatus, ClaimedBy, ErrorInfo, EventKind};
use crate::sabotage::{Bug, sabotaged};

/// An agent holds a message that another may have held before. It gets a higher fence, or, if the action is not to go
/// on, it ends here. Another message of an attempt that runs is refused: the one by which it was claimed comes again if
/// need be. One that is asked `again` is answered as it was.
pub(super) fn claim(
    step: &mut Step<'_>,
    of: ActionAt,
    agent: &AgentId,
    by: ClaimedBy,
    again: bool,
) -> Result<(), Rejection> {
    let redelivered = by.received > 1;
    let state = step.state(of.action);
    if (redelivered || again) && state.status.is_settled() && of.attempt > 0 && state.attempt == of.attempt {
        // The action may have been ended by the claim of that message, and it was not told.
        again::of_action(step, of.action);
        return Ok(());
    }
    check_open(step, of)?;
    let state = step.state(of.action);
    if state.status.is_settled() {
        return Err(Rejection::Settled);
    }
    let claimed = ClaimedBy { copy: state.copy, received: state.received };
    let is_its = state.status == ActionStatus::Running && state.agent.as_ref() == Some(agent);
    let is_repeated = again && is_its && by == claimed;
    let is_another_owners = state.status == ActionStatus::Running && !redelivered && !is_repeated;
    let may_claim = state.status.is_in_flight() && !is_another_owners;
    if !may_claim || state.attempt != of.attempt || !is_by_its_message(state, of, by.copy) {
        return Err(Rejection::Stale);
    }
    if lease::holds(step, of.action) {
        // Its agent needs no message: whichever this is, it is of no use any more.
        return Err(Rejection::Stale);
    }
    if by <= claimed && !is_repeated && !sabotaged(Bug::LateClaim) {
        // A claim that took long, of a message that has been delivered again since, and claimed: who has it now goes on.
        return Err(Rejection::Redelivered);
    }
    if step.is_stopping(of.action) {
        if !redelivered && is_fresh(step, of.action) {
            return Err(Rejection::Stale);
        }
        let of = step.at(of.action);
        step.cancel(of, Some(agent));
        step.follow();
        return Ok(());
    }
    if is_repeated {
        return Ok(());
    }
    let of = step.at(of.action);
    if step.state(of.action).is_lost_by_claim(agent, redelivered) {
        step.emit(EventKind::ActionLost { of });
        if step.state(of.action).lost.len() >= MAX_LOSSES {
            give_up(step, of);
            return Ok(());
        }
    }
    stop_owner(step, of);
    let of = ActionAt { fence: of.fence + u32::from(!sabotaged(Bug::SameFence)), ..of };
    step.emit(EventKind::ActionStarted { of, agent: agent.clone(), started_at: step.now, by });
    Ok(())
}

/// Whether that copy is the message that counts, so that an attempt which has several has one owner. A copy is good only
/// as long as nobody has the message that it was sent beside; from its first claim on, it alone is. What was handed back has
/// a fence of nobody since.
pub(super) fn is_by_its_message(state: &ActionState, of: ActionAt, copy: u32) -> bool {
    let owned = state.fence - u32::from(state.handed_back);
    let is_newer = copy > state.copy && of.fence >= owned && state.status == ActionStatus::Queued;
    of.fence <= state.fence && (copy == state.copy || is_newer)
}

/// Whether another message of the attempt, its first, may still be begun by whoever gets it, without a look at the record:
/// the action must not end before, and its run with it.
fn is_fresh(step: &Step<'_>, action: ActionIndex) -> bool {
    let state = step.state(action);
    let waited = state.queued_at.map_or(0, |at| step.now.since(at).0);
    let may_be_its_first = state.status == ActionStatus::Queued && !state.handed_back;
    may_be_its_first && waited <= CHECK_AFTER_MS + CLOCKS_DIFFER_MS
}

/// Whoever had it may live all the same, cut off or asleep: it is told to stop when it can be told.
pub(super) fn stop_owner(step: &mut Step<'_>, of: ActionAt) {
    if step.state(of.action).status == ActionStatus::Running
        && let Some(agent) = step.state(of.action).agent.clone()
    {
        step.commands.push(Command::Stop { agent, of });
    }
}

pub(super) fn give_up(step: &mut Step<'_>, of: ActionAt) {
    let state = step.state(of.action);
    let times = state.lost.len();
    let last = state.agent.as_ref().map_or_else(String::new, |agent| format!("; the last one was `{agent}`"));
    let message = format!("{times} agents were lost one after the other while they performed it{last}");
    let by = (state.agent.clone(), state.started_at);
    step.fail(of, by, ErrorInfo::new("poison", message), false);
    step.follow();
}

/// Whether the action is to be begun with fewer others, by an agent that has looked at its record.
pub(super) fn is_suspect(state: &ActionState) -> bool {
    state.lost.len() >= SUSPECT_LOSSES
}

/// An agent came to the end of an attempt, or has performed it for hours: those that were lost before it may have been lost for
/// any reason.
pub(super) fn survived(step: &mut Step<'_>, of: ActionAt) {
    for fence in step.state(of.action).lost.clone() {
        step.emit(EventKind::ActionNotLost { of: ActionAt { fence, ..of } });
    }
}

/// Whether the report is of an owner that was taken for lost: it is not, only its attempt is with another.
pub(super) fn is_alive(step: &mut Step<'_>, of: ActionAt) -> bool {
    let state = step.state(of.action);
    let is_alive = state.attempt == of.attempt && state.lost.contains(&of.fence);
    if is_alive {
        step.emit(EventKind::ActionNotLost { of });
    }
    is_alive
}

/// The attempt's agent has stopped it and gives it back: the attempt waits in its pool again, and none is spent; or, if
/// it is not to go on, the action ends here. Known only after the next agent's claim, it says that nobody was lost. The
/// attempt is sent again: if it has a message all the same, the first claim picks the one that counts.
pub(super) fn handed_back(
    step: &mut Step<'_>,
    of: ActionAt,
    (agent, copy): (&AgentId, u32),
    checkpoint: Option<&Value>,
) -> Result<(), Rejection> {
    check_open(step, of)?;
    let state = step.state(of.action);
    if state.status.is_settled() {
        return Err(Rejection::Settled);
    }
    if !state.status.is_in_flight() || state.attempt != of.attempt || of.fence > state.fence {
        return Err(Rejection::Stale);
    }
    if of.fence < state.fence {
        let is_committed = state.revision <= step.run.revision;
        let is_unclaimed = state.handed_back && of.fence + 1 == state.fence && is_committed;
        is_alive(step, of);
        if is_unclaimed {
            // Whoever decided it first may have died before it sent the attempt.
            again::of_queued(step, of.action);
        }
        return Ok(());
    }
    if state.agent.as_ref().is_some_and(|holder| holder != agent) {
        return Err(Rejection::Stale);
    }
    if step.is_stopping(of.action) {
        if copy > 0 && is_fresh(step, of.action) {
            return Err(Rejection::Stale);
        }
        // It has been stopped, and nobody is to begin it again.
        step.cancel(of, Some(agent));
        step.follow();
        return Ok(());
    }
    // One that is too large was refused where it was saved.
    let _kept = checkpointed(step, of, 0, checkpoint);
    step.emit(EventKind::ActionHandedBack { of });
    again::of_queued(step, of.action);
    Ok(())
}
