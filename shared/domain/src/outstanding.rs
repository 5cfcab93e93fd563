//! What inputs led to, read from the record: events to publish and messages to send again. It decides nothing.
//!
//! Every part of the record is stamped with the commit that changed it last, and with what led to that change. So what an input
//! led to can be told as long as nothing else has followed it. This serves inputs that come again, the sweeper, and the
//! history that a host without a log of events shows ([`crate::history`]).

use crate::attempt::{ActionStatus, Fate, Kill};
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::limits::{CANCEL_GRACE_MS, MAX_DELAY_MS};
use crate::run::{
    ActionAt, CANCELLED, Cancellation, Command, Fact, FactKind, Origin, Phase, Run, RunStatus, Source, Stop, resend,
    skip_reason,
};
use crate::time::{Millis, Timestamp};

/// What is to be published and sent again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outstanding {
    /// Facts whose events are to be published.
    pub facts: Vec<Fact>,
    /// What is to be sent.
    pub commands: Vec<Command>,
}

/// What an input about that source led to, in commits up to `committed`, as far as it still stands.
pub fn of_source(definition: &Definition, run: &Run, source: Source, committed: u64, now: Timestamp) -> Outstanding {
    let is_committed = |revision: u64| (1..=committed).contains(&revision);
    let mut found = Outstanding::default();
    if matches!(source, Source::Start | Source::Sweep | Source::Retry) && is_committed(run.start_revision) {
        found.facts.extend(of_start(run));
        found.commands.extend(run.deadline.and_then(|at| wake(None, at, now)));
    }
    for action in definition.indexes() {
        let state = run.action(action);
        let is_of_kill = |_: &&Kill| source == Source::Action(action);
        if let Some(kill) = kill_of(run, action).filter(is_of_kill).filter(|kill| is_committed(kill.revision)) {
            found.facts.push(of_kill(run, action, kill));
            let grace = kill.at.plus(Millis(CANCEL_GRACE_MS));
            found.commands.extend(stop(definition, run, action).into_iter().chain(wake(Some(action), grace, now)));
        }
        if source == Source::Unserved && state.unserved.is_some_and(|unserved| is_committed(unserved.revision)) {
            found.facts.extend(of_unserved(definition, run, action));
        }
        if state.source == source.seen_by(action) && is_committed(state.revision) {
            found.facts.extend(of_action(definition, run, action));
            found.commands.extend(send_of(definition, run, action, now));
        }
    }
    let is_of_cancellation = |why: &&Cancellation| why.source == source && is_committed(why.revision);
    found.facts.extend(run.cancellation.as_ref().filter(is_of_cancellation).map(of_cancellation));
    if run.status_source == source && is_committed(run.status_revision) {
        found.facts.extend(of_status(run));
        found.commands.extend(sends_of_status(definition, run, now));
    }
    found
}

/// What is told of the newest attempt: how it ended, or that it began or was queued.
pub fn of_action(definition: &Definition, run: &Run, action: ActionIndex) -> Option<Fact> {
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
            (settled_at, FactKind::ActionSucceeded { of, by, output: state.output.unwrap_or_default() })
        }
        (ActionStatus::Failed, Some(error)) => (settled_at, FactKind::ActionFailed { of, by, error, allowed }),
        (ActionStatus::TimedOut, Some(error)) => (settled_at, FactKind::ActionTimedOut { of, by, error, allowed }),
        (ActionStatus::RetryWaiting, Some(error)) => {
            // When the attempt failed is not kept, but its policy gives the same delay again.
            let delay = definition.action(action).retry.delay(&run.failed_attempt(action, &error.kind));
            let retry_at = state.retry_at?;
            let failed_at = Timestamp::from_millis(retry_at.as_millis().saturating_sub_unsigned(delay.0));
            (Some(failed_at), FactKind::ActionRetrying { of, by, error, retry_at })
        }
        // In an earlier life of the run, as far as can be told: it would be told as news of this one.
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

fn send_of(definition: &Definition, run: &Run, action: ActionIndex, now: Timestamp) -> Option<Command> {
    let state = run.action(action);
    if state.status == ActionStatus::RetryWaiting {
        return wake(Some(action), state.retry_at?, now);
    }
    // No agent is to begin it any more; if none answers it, time ends it.
    let is_stopping = run.status.phase() == Phase::Ending || state.kill.is_some();
    if is_stopping { None } else { resend(definition, run, action, now) }
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
    let since = run.action(action).unserved?.since;
    let pool = definition.action(action).pool.clone();
    Some(Fact::told(since, FactKind::ActionUnserved { of: at(run, action), pool, since }))
}

pub(crate) fn of_cancellation(why: &Cancellation) -> Fact {
    let (cause, reason, caller) = (why.cause, why.reason.clone(), why.caller.clone());
    Fact::told(why.at, FactKind::RunCancelling { cause, reason, caller })
}

/// What the run's status tells beside its start and its cancellation.
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

fn sends_of_status(definition: &Definition, run: &Run, now: Timestamp) -> Vec<Command> {
    match run.status.phase() {
        Phase::Ending => {
            let grace = run.cancellation.as_ref().map(|why| why.at.plus(Millis(CANCEL_GRACE_MS)));
            let stops = definition.indexes().filter_map(|action| stop(definition, run, action));
            stops.chain(grace.and_then(|at| wake(None, at, now))).collect()
        }
        Phase::Ended if matches!(run.origin, Origin::Schedule { .. }) => vec![Command::Ended],
        Phase::Open | Phase::Ended => Vec::new(),
    }
}

/// Tells the owner of an attempt that is not to go on to stop.
fn stop(definition: &Definition, run: &Run, action: ActionIndex) -> Option<Command> {
    let is_performed = run.action(action).status == ActionStatus::Running;
    let stop = Stop::of_owner(definition, run, action, Fate::Report, CANCELLED).filter(|_| is_performed);
    Some(Command::Stop(Box::new(stop?)))
}

fn wake(action: Option<ActionIndex>, at: Timestamp, now: Timestamp) -> Option<Command> {
    (at.since(now).0 <= MAX_DELAY_MS).then_some(Command::Wake { action, at })
}

pub(crate) fn at(run: &Run, action: ActionIndex) -> ActionAt {
    ActionAt { action, attempt: run.action(action).attempt() }
}

#[cfg(test)]
mod tests;
