//! Folding one fact into the record. No rule stands here: whether a fact may come to be is decided in
//! [`super::table`](super::decide).

use serde_json::Value;

use super::fact::{Fact, FactKind};
use super::input::{ActionAt, CancelCause};
use super::source::Source;
use super::state::{Cancellation, Run, RunStatus};
use crate::attempt::{ActionState, ActionStatus, ErrorInfo, Kill, Owner, Unserved};
use crate::caller::Caller;
use crate::delivery::Delivery;
use crate::ids::{ActionIndex, AgentId};
use crate::time::Timestamp;

/// The stamp of a change: when it was decided, in which commit, and its source.
#[derive(Clone, Copy)]
struct Stamp {
    at: Timestamp,
    revision: u64,
    source: Source,
}

/// Folds one fact. The changed parts are stamped with the revision that the next commit will have, and with its source.
pub fn apply(run: &mut Run, fact: &Fact) {
    let stamp = Stamp { at: fact.at, revision: run.revision + 1, source: fact.source };
    match &fact.kind {
        FactKind::RunStarted { deadline } => start(run, stamp, *deadline),
        FactKind::RunPaused { number, caller } => {
            run.pauses = *number;
            set_status(run, stamp, RunStatus::Paused, Some(caller));
        }
        FactKind::RunResumed { caller, .. } => set_status(run, stamp, RunStatus::Running, Some(caller)),
        FactKind::RunCancelling { cause, reason, caller } => end_early(run, stamp, *cause, (reason, caller)),
        FactKind::RunRetried { deadline, actions, caller } => retry(run, stamp, (*deadline, actions), caller),
        FactKind::RunFinished { status, output, error } => {
            (run.finished_at, run.output, run.error) = (Some(stamp.at), output.clone(), error.clone());
            set_status(run, stamp, *status, None);
        }
        FactKind::ActionReady { action } => make_ready(run, stamp, *action),
        FactKind::ActionQueued { of, issue } => queue(run, stamp, *of, *issue),
        FactKind::ActionUnserved { of, since, .. } => {
            run.actions.get_mut(of.action).unserved = Some(Unserved { since: *since, revision: stamp.revision });
        }
        FactKind::ActionStarted { of, delivery, owner, fence } => own(run, stamp, (*of, *delivery), owner, *fence),
        FactKind::ActionLeased { of, until, renewal } => lease(run, *of, *until, *renewal),
        FactKind::ActionLapsed { of } => lapse(run, stamp, of.action),
        FactKind::ActionLost { of, delivery } => run.actions.get_mut(of.action).losses.push(*delivery),
        FactKind::ActionNotLost { of, delivery } => {
            run.actions.get_mut(of.action).losses.retain(|lost| lost != delivery);
        }
        FactKind::ActionProgressed { of, number, progress, .. } => {
            reported(run, *of, *number).progress = Some(progress.clone());
        }
        FactKind::ActionCheckpointed { of, number, checkpoint } => {
            reported(run, *of, *number).checkpoint = Some(checkpoint.clone());
        }
        FactKind::ActionHandedBack { of, issue } => hand_back(run, stamp, *of, *issue),
        FactKind::ActionSucceeded { of, by, output } => succeed(run, stamp, of.action, (by.as_ref(), output)),
        FactKind::ActionRetrying { of, by, error, retry_at } => {
            wait_for_retry(run, stamp, *of, *retry_at);
            performed(run.actions.get_mut(of.action), by.as_ref(), Some(error));
        }
        FactKind::ActionFailed { of, by, error, allowed } => {
            fail(run, stamp, *of, by.as_ref(), (error, *allowed), ActionStatus::Failed);
        }
        FactKind::ActionTimedOut { of, by, error, allowed } => {
            fail(run, stamp, *of, by.as_ref(), (error, *allowed), ActionStatus::TimedOut);
        }
        FactKind::ActionSkipped { action, .. } => {
            settle(run, stamp, *action, ActionStatus::Skipped);
        }
        FactKind::ActionCancelling { of, reason, caller } => {
            run.actions.get_mut(of.action).kill = Some(killed(stamp, reason, caller));
        }
        FactKind::ActionCancelled { of, agent, error, allowed } => {
            cancel(run, stamp, *of, agent.as_ref(), error.as_ref().map(|error| (error, *allowed)));
        }
    }
}

fn start(run: &mut Run, stamp: Stamp, deadline: Option<Timestamp>) {
    (run.started_at, run.deadline, run.start_revision) = (Some(stamp.at), deadline, stamp.revision);
    set_status(run, stamp, RunStatus::Running, None);
}

fn end_early(run: &mut Run, stamp: Stamp, cause: CancelCause, (reason, caller): (&str, &Caller)) {
    let (Stamp { at, revision, source }, reason, caller) = (stamp, reason.to_owned(), caller.clone());
    run.cancellation = Some(Cancellation { at, cause, reason, caller, revision, source });
    set_status(run, stamp, RunStatus::Cancelling, None);
}

fn killed(stamp: Stamp, reason: &str, caller: &Caller) -> Kill {
    Kill { at: stamp.at, reason: reason.to_owned(), caller: caller.clone(), revision: stamp.revision }
}

fn lease(run: &mut Run, of: ActionAt, until: Timestamp, renewal: u32) {
    if let Some(owner) = &mut run.actions.get_mut(of.action).owner {
        (owner.until, owner.renewal) = (Some(until), owner.renewal.max(renewal));
    }
}

fn wait_for_retry(run: &mut Run, stamp: Stamp, of: ActionAt, retry_at: Timestamp) {
    land(run, of.action);
    change(run, stamp, of.action, ActionStatus::RetryWaiting).retry_at = Some(retry_at);
}

fn make_ready(run: &mut Run, stamp: Stamp, action: ActionIndex) {
    run.ready_from = if run.ready == 0 { action.0 } else { run.ready_from.min(action.0) };
    run.ready += 1;
    let state = change(run, stamp, action, ActionStatus::Waiting);
    state.ready = true;
    state.retry_at = None;
}

/// The agent of that delivery has the attempt.
fn own(run: &mut Run, stamp: Stamp, (of, delivery): (ActionAt, Delivery), owner: &Owner, fence: u64) {
    let state = change(run, stamp, of.action, ActionStatus::Running);
    if state.last != delivery {
        state.progress_number = 0;
    }
    (state.last, state.fence, state.owner) = (delivery, fence, Some(owner.clone()));
}

/// The attempt waits in its pool again, from now on. Its owner is still named: its end counts as long as no other agent is
/// confirmed.
fn lapse(run: &mut Run, stamp: Stamp, action: ActionIndex) {
    let state = change(run, stamp, action, ActionStatus::Queued);
    if let Some(owner) = &mut state.owner {
        owner.until = Some(stamp.at);
    }
}

fn hand_back(run: &mut Run, stamp: Stamp, of: ActionAt, issue: u64) {
    let state = change(run, stamp, of.action, ActionStatus::Queued);
    state.last = Delivery::new(of.attempt, issue, 0);
    state.fence += 1;
    state.progress_number = 0;
    state.queued_at = Some(stamp.at);
    state.owner = None;
}

/// The attempt's agent has told of it, by its report of that number.
fn reported(run: &mut Run, of: ActionAt, number: u32) -> &mut ActionState {
    let state = run.actions.get_mut(of.action);
    state.progress_number = state.progress_number.max(number);
    state
}

fn succeed(run: &mut Run, stamp: Stamp, action: ActionIndex, (by, output): (Option<&Owner>, &Value)) {
    let output = run.values.hold(output.clone());
    let state = settle(run, stamp, action, ActionStatus::Succeeded);
    performed(state, by, None);
    state.output = Some(output);
}

fn fail(
    run: &mut Run,
    stamp: Stamp,
    of: ActionAt,
    by: Option<&Owner>,
    (error, allowed): (&ErrorInfo, bool),
    status: ActionStatus,
) {
    count_failure(run, allowed);
    let state = settle(run, stamp, of.action, status);
    performed(state, by, Some(error));
}

/// `killed`: with which error, and whether the action may fail; absent: with its run.
fn cancel(run: &mut Run, stamp: Stamp, of: ActionAt, agent: Option<&AgentId>, killed: Option<(&ErrorInfo, bool)>) {
    let state = settle(run, stamp, of.action, ActionStatus::Cancelled);
    let began = |agent: &AgentId| {
        let own = state.owner.clone().filter(|owner| owner.agent == *agent);
        own.unwrap_or_else(|| Owner::of_end(agent.clone(), stamp.at))
    };
    state.owner = agent.map(began);
    if let Some((error, allowed)) = killed {
        state.error = Some(error.clone());
        count_failure(run, allowed);
    }
}

fn set_status(run: &mut Run, stamp: Stamp, status: RunStatus, caller: Option<&Caller>) {
    run.status = status;
    (run.status_revision, run.status_source) = (stamp.revision, stamp.source);
    run.status_caller = caller.cloned();
}

fn change(run: &mut Run, stamp: Stamp, action: ActionIndex, status: ActionStatus) -> &mut ActionState {
    let state = run.actions.get_mut(action);
    state.status = status;
    state.unserved = None;
    (state.revision, state.source) = (stamp.revision, stamp.source.seen_by(action));
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

fn queue(run: &mut Run, stamp: Stamp, of: ActionAt, issue: u64) {
    unready(run, of.action);
    if !run.action(of.action).status.is_in_flight() {
        run.in_flight += 1;
    }
    let state = change(run, stamp, of.action, ActionStatus::Queued);
    state.last = Delivery::new(of.attempt, issue, 0);
    state.fence += 1;
    state.first_queued_at.get_or_insert(stamp.at);
    state.queued_at = Some(stamp.at);
    state.retry_at = None;
    state.owner = None;
    state.progress = None;
    state.progress_number = 0;
}

fn settle(run: &mut Run, stamp: Stamp, action: ActionIndex, status: ActionStatus) -> &mut ActionState {
    land(run, action);
    unready(run, action);
    run.open -= 1;
    let state = change(run, stamp, action, status);
    state.finished_at = Some(stamp.at);
    state.retry_at = None;
    state.checkpoint = None;
    state.losses.clear();
    state.owner = state.owner.take().map(Owner::ended);
    state
}

fn performed(state: &mut ActionState, by: Option<&Owner>, error: Option<&ErrorInfo>) {
    if let Some(owner) = by {
        state.owner = Some(owner.clone().ended());
    }
    state.error = error.cloned();
}

fn count_failure(run: &mut Run, allowed: bool) {
    if allowed {
        run.faults += 1;
    } else {
        run.failed += 1;
    }
}

fn retry(run: &mut Run, stamp: Stamp, (deadline, actions): (Option<Timestamp>, &[ActionIndex]), caller: &Caller) {
    run.retried_by = Some(caller.clone());
    set_status(run, stamp, RunStatus::Running, Some(caller));
    run.started_at.get_or_insert(stamp.at);
    run.start_revision = stamp.revision;
    run.deadline = deadline;
    run.finished_at = None;
    run.cancellation = None;
    run.output = None;
    run.error = None;
    run.retries += 1;
    run.failed = 0;
    run.faults = 0;
    for action in actions {
        run.open += 1;
        let state = change(run, stamp, *action, ActionStatus::Waiting);
        *state = ActionState {
            last: Delivery::none_of(state.attempt()),
            attempt_base: state.attempt(),
            fence: state.fence,
            revision: state.revision,
            source: state.source,
            ..ActionState::default()
        };
    }
}
