//! Folding one event into the record. No rule stands here: whether an event may come to be is decided in
//! [`crate::decide`].

use super::ActionAt;
use super::event::{ClaimedBy, Event, EventKind};
use super::record::{ActionState, ActionStatus, Cancellation, ErrorInfo, Kill, Run, RunStatus, Unserved};
use crate::ids::{ActionIndex, AgentId};
use crate::time::Timestamp;

/// Folds one event. The changed parts are stamped with the revision that the next commit will have.
pub fn apply(run: &mut Run, event: &Event) {
    let at = event.at;
    match &event.kind {
        EventKind::RunStarted { deadline } => {
            run.started_at = Some(at);
            run.deadline = *deadline;
            set_status(run, RunStatus::Running);
        }
        EventKind::RunPaused { number } => {
            run.pauses = *number;
            set_status(run, RunStatus::Paused);
        }
        EventKind::RunResumed { .. } => set_status(run, RunStatus::Running),
        EventKind::RunCancelling { cause, reason } => {
            run.cancellation = Some(Cancellation { at, cause: *cause, reason: reason.clone() });
            set_status(run, RunStatus::Cancelling);
        }
        EventKind::RunRetried { deadline, actions } => {
            run.started_at.get_or_insert(at);
            retry(run, *deadline, actions);
        }
        EventKind::RunFinished { status, output, error } => {
            run.finished_at = Some(at);
            run.output.clone_from(output);
            run.error.clone_from(error);
            set_status(run, *status);
        }
        EventKind::ActionReady { action } => make_ready(run, *action),
        EventKind::ActionQueued { of } => queue(run, *of, at),
        EventKind::ActionUnserved { of, since, .. } => {
            let revision = run.revision + 1;
            run.actions.get_mut(of.action).unserved = Some(Unserved { since: *since, revision });
        }
        EventKind::ActionStarted { of, agent, started_at, by } => start(run, *of, (agent, *started_at), *by),
        EventKind::ActionLeased { of, until } => run.actions.get_mut(of.action).leased_until = Some(*until),
        EventKind::ActionLapsed { of } => {
            wait_again(run, *of, at);
        }
        EventKind::ActionLost { of } => run.actions.get_mut(of.action).lost.push(of.fence),
        EventKind::ActionNotLost { of } => run.actions.get_mut(of.action).lost.retain(|fence| *fence != of.fence),
        EventKind::ActionProgressed { of, number, progress } => {
            reported(run, *of, *number).progress = Some(progress.clone());
        }
        EventKind::ActionCheckpointed { of, number, checkpoint } => {
            reported(run, *of, *number).checkpoint = Some(checkpoint.clone());
        }
        EventKind::ActionHandedBack { of } => wait_again(run, *of, at).handed_back = true,
        EventKind::ActionSucceeded { of, agent, started_at, output } => {
            let state = settle(run, of.action, ActionStatus::Succeeded, at);
            performed(state, agent.as_ref(), *started_at, None);
            state.output = Some(output.clone());
        }
        EventKind::ActionRetrying { of, agent, started_at, error, retry_at } => {
            land(run, of.action);
            let state = change(run, of.action, ActionStatus::RetryWaiting);
            performed(state, agent.as_ref(), *started_at, Some(error));
            state.retry_at = Some(*retry_at);
        }
        EventKind::ActionFailed { of, agent, started_at, error, allowed } => {
            count_failure(run, *allowed);
            let state = settle(run, of.action, ActionStatus::Failed, at);
            performed(state, agent.as_ref(), *started_at, Some(error));
        }
        EventKind::ActionTimedOut { of, agent, started_at, error, allowed } => {
            count_failure(run, *allowed);
            let state = settle(run, of.action, ActionStatus::TimedOut, at);
            performed(state, agent.as_ref(), *started_at, Some(error));
        }
        EventKind::ActionSkipped { action, .. } => {
            settle(run, *action, ActionStatus::Skipped, at);
        }
        EventKind::ActionCancelling { of, reason } => {
            let revision = run.revision + 1;
            run.actions.get_mut(of.action).kill = Some(Kill { at, reason: reason.clone(), revision });
        }
        EventKind::ActionCancelled { of, agent, error, allowed } => {
            cancel(run, (*of, at), agent.as_ref(), error.as_ref().map(|error| (error, *allowed)));
        }
    }
}

fn make_ready(run: &mut Run, action: ActionIndex) {
    run.ready_from = if run.ready == 0 { action.0 } else { run.ready_from.min(action.0) };
    run.ready += 1;
    let state = change(run, action, ActionStatus::Waiting);
    state.ready = true;
    state.retry_at = None;
}

fn start(run: &mut Run, of: ActionAt, (agent, started_at): (&AgentId, Timestamp), by: ClaimedBy) {
    let state = change(run, of.action, ActionStatus::Running);
    if state.fence != of.fence {
        state.fence = of.fence;
        state.progress_number = 0;
    }
    (state.copy, state.received) = (state.copy, state.received).max((by.copy, by.received));
    state.agent = Some(agent.clone());
    state.started_at = Some(started_at);
}

/// The attempt's agent has told of it, by its report of that number.
fn reported(run: &mut Run, of: ActionAt, number: u32) -> &mut ActionState {
    let state = run.actions.get_mut(of.action);
    state.progress_number = state.progress_number.max(number);
    state
}

/// The attempt has no owner any more.
fn wait_again(run: &mut Run, of: ActionAt, at: Timestamp) -> &mut ActionState {
    let state = change(run, of.action, ActionStatus::Queued);
    // Whatever else the agent sent under its fence is refused from here on.
    state.fence = of.fence + 1;
    state.progress_number = 0;
    state.queued_at = Some(at);
    state.started_at = None;
    state.agent = None;
    state
}

/// `killed`: with which error, and whether the action may fail; absent: with its run.
fn cancel(run: &mut Run, (of, at): (ActionAt, Timestamp), agent: Option<&AgentId>, killed: Option<(&ErrorInfo, bool)>) {
    let state = settle(run, of.action, ActionStatus::Cancelled, at);
    state.agent = agent.cloned();
    if let Some((error, allowed)) = killed {
        state.error = Some(error.clone());
        count_failure(run, allowed);
    }
}

fn set_status(run: &mut Run, status: RunStatus) {
    run.status = status;
    run.status_revision = run.revision + 1;
}

fn change(run: &mut Run, action: ActionIndex, status: ActionStatus) -> &mut ActionState {
    let revision = run.revision + 1;
    let state = run.actions.get_mut(action);
    state.status = status;
    state.unserved = None;
    state.handed_back = false;
    state.leased_until = None;
    state.revision = revision;
    state
}

/// An attempt that was queued or running is so no more.
fn land(run: &mut Run, action: ActionIndex) {
    if run.action(action).status.is_in_flight() {
        run.in_flight -= 1;
    }
}

/// An action that was ready is so no more.
fn unready(run: &mut Run, action: ActionIndex) {
    if !run.action(action).ready {
        return;
    }
    let is_first = run.first_ready() == Some(action);
    run.ready -= 1;
    run.actions.get_mut(action).ready = false;
    if run.ready == 0 {
        run.ready_from = 0;
    } else if is_first {
        run.ready_from = action.0 + 1;
    }
}

fn queue(run: &mut Run, of: ActionAt, at: Timestamp) {
    unready(run, of.action);
    if !run.action(of.action).status.is_in_flight() {
        run.in_flight += 1;
    }
    let state = change(run, of.action, ActionStatus::Queued);
    state.attempt = of.attempt;
    state.fence = of.fence;
    state.first_queued_at.get_or_insert(at);
    state.queued_at = Some(at);
    state.started_at = None;
    state.retry_at = None;
    state.agent = None;
    state.progress = None;
    state.progress_number = 0;
    (state.copy, state.received) = (0, 0);
}

fn settle(run: &mut Run, action: ActionIndex, status: ActionStatus, at: Timestamp) -> &mut ActionState {
    land(run, action);
    unready(run, action);
    run.open -= 1;
    let state = change(run, action, status);
    state.finished_at = Some(at);
    state.retry_at = None;
    state.checkpoint = None;
    (state.copy, state.received) = (0, 0);
    state.lost.clear();
    state.kill = state.kill.take().filter(|_| status == ActionStatus::Cancelled);
    state
}

fn performed(
    state: &mut ActionState,
    agent: Option<&AgentId>,
    started_at: Option<Timestamp>,
    error: Option<&ErrorInfo>,
) {
    state.agent = agent.cloned().or_else(|| state.agent.take());
    state.started_at = started_at.or(state.started_at);
    state.error = error.cloned();
}

fn count_failure(run: &mut Run, allowed: bool) {
    if allowed {
        run.faults += 1;
    } else {
        run.failed += 1;
    }
}

fn retry(run: &mut Run, deadline: Option<Timestamp>, actions: &[ActionIndex]) {
    run.deadline = deadline;
    run.finished_at = None;
    run.cancellation = None;
    run.output = None;
    run.error = None;
    run.retries += 1;
    run.failed = 0;
    run.faults = 0;
    set_status(run, RunStatus::Running);
    for action in actions {
        run.open += 1;
        let state = change(run, *action, ActionStatus::Waiting);
        *state = ActionState {
            attempt: state.attempt,
            attempt_base: state.attempt,
            fence: state.fence,
            revision: state.revision,
            ..ActionState::default()
        };
    }
}
