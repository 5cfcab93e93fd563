//! The facts that a record shows by itself: the last decisions about the run and about each of its actions.

use crate::attempt::{ActionStatus, Kill};
use crate::content::Place;
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::run::{ActionAt, Cancellation, Fact, FactKind, Run, RunStatus, skip_reason};
use crate::time::Timestamp;

/// The last fact of the newest attempt: how it ended, or that it began or was queued.
pub(crate) fn of_action(definition: &Definition, run: &Run, action: ActionIndex) -> Option<Fact> {
    let state = run.action(action).clone();
    let of = at(run, action);
    let allowed = definition.action(action).allow_failure;
    let (by, settled_at) = (state.owner, state.finished_at);
    let (at, kind) = match (state.status, state.error) {
        (ActionStatus::Queued, _) => (state.queued_at, FactKind::ActionQueued { of, issue: state.last.issue }),
        (ActionStatus::Running, _) => {
            let owner = by?;
            (Some(owner.since), FactKind::ActionStarted { of, delivery: state.last, owner, fence: state.fence })
        }
        (ActionStatus::Succeeded, _) => {
            let output = run.value(Place::Output(action)).cloned().unwrap_or_default();
            (settled_at, FactKind::ActionSucceeded { of, by, output })
        }
        (ActionStatus::Failed, Some(error)) => (settled_at, FactKind::ActionFailed { of, by, error, allowed }),
        (ActionStatus::TimedOut, Some(error)) => (settled_at, FactKind::ActionTimedOut { of, by, error, allowed }),
        (ActionStatus::RetryWaiting, Some(error)) => {
            // The record does not keep when the attempt failed, but its policy gives the same delay again.
            let delay = definition.action(action).retry.delay(&run.failed_attempt(action, &error.kind));
            let retry_at = state.retry_at?;
            let failed_at = Timestamp::from_millis(retry_at.as_millis().saturating_sub_unsigned(delay.0));
            (Some(failed_at), FactKind::ActionRetrying { of, by, error, retry_at })
        }
        // Probably skipped before the run was retried: the fact would pass for news of the retried run.
        (ActionStatus::Skipped, _) if run.retries > 0 && state.revision < run.status_revision => return None,
        (ActionStatus::Skipped, _) => {
            (settled_at, FactKind::ActionSkipped { action, reason: skip_reason(definition, run, action) })
        }
        (ActionStatus::Cancelled, error) => {
            let error = error.filter(|_| state.kill.is_some());
            let agent = by.map(|owner| owner.agent);
            (settled_at, FactKind::ActionCancelled { of, agent, error, allowed })
        }
        (ActionStatus::Waiting | ActionStatus::Failed | ActionStatus::TimedOut | ActionStatus::RetryWaiting, _) => {
            return None;
        }
    };
    Some(Fact::told(at?, kind))
}

/// The places whose values these facts tell and that are not loaded.
pub(crate) fn lacking<'a>(run: &'a Run, facts: impl IntoIterator<Item = &'a Fact>) -> impl Iterator<Item = Place> {
    let told = |fact: &Fact| {
        let FactKind::ActionSucceeded { of, .. } = &fact.kind else { return None };
        Some(Place::Output(of.action))
    };
    facts.into_iter().filter_map(told).filter(|place| run.lacks(*place))
}

/// The start of the run, or of its newest life.
pub(crate) fn of_start(run: &Run) -> Option<Fact> {
    let (at, deadline) = (run.started_at?, run.deadline);
    let retried = |caller| FactKind::RunRetried { deadline, actions: Vec::new(), caller };
    let kind = run.retried_by.clone().map_or(FactKind::RunStarted { deadline }, retried);
    Some(Fact::told(at, kind))
}

/// The kill of the action in this life of the run.
pub(crate) fn kill_of(run: &Run, action: ActionIndex) -> Option<&Kill> {
    run.action(action).kill.as_ref().filter(|kill| kill.revision >= run.start_revision)
}

pub(crate) fn of_kill(run: &Run, action: ActionIndex, kill: &Kill) -> Fact {
    let (reason, caller) = (kill.reason.clone(), kill.caller.clone());
    Fact::told(kill.at, FactKind::ActionCancelling { of: at(run, action), reason, caller })
}

pub(crate) fn of_unserved(definition: &Definition, run: &Run, action: ActionIndex) -> Option<Fact> {
    let (since, last) = (run.action(action).unserved?.since, run.action(action).last);
    let pool = definition.action(action).pool.clone();
    Some(Fact::told(since, FactKind::ActionUnserved { of: at(run, action), pool, since, last }))
}

pub(crate) fn of_cancellation(why: &Cancellation) -> Fact {
    let (cause, reason, caller) = (why.cause, why.reason.clone(), why.caller.clone());
    Fact::told(why.at, FactKind::RunCancelling { cause, reason, caller })
}

/// The fact of the run's status: its end, a pause or a resumption. Its start and its cancellation have their own.
pub(crate) fn of_status(run: &Run) -> Option<Fact> {
    if run.status.is_final() {
        let (status, output, error) = (run.status, run.output.clone(), run.error.clone());
        let at = run.finished_at.unwrap_or(run.submitted_at);
        return Some(Fact::told(at, FactKind::RunFinished { status, output, error }));
    }
    let (number, caller) = (run.pauses, run.status_caller.clone().unwrap_or_default());
    let is_start = run.status_revision == run.start_revision;
    let resumed = (run.status == RunStatus::Running && !is_start)
        .then(|| FactKind::RunResumed { number, caller: caller.clone() });
    let paused = (run.status == RunStatus::Paused).then_some(FactKind::RunPaused { number, caller });
    Some(Fact::told(run.submitted_at, paused.or(resumed)?))
}

pub(crate) fn at(run: &Run, action: ActionIndex) -> ActionAt {
    ActionAt { action, attempt: run.action(action).attempt() }
}
