//! What callers and schedules ask of a run: begin, end early, hold, go on, start over.

use super::change::Rejection;
use super::draft::Draft;
use super::ending;
use super::fact::FactKind;
use super::graph;
use super::input::CancelCause;
use super::source::Source;
use super::state::RunStatus;
use super::timers;
use crate::attempt::ActionStatus;
use crate::ids::ActionIndex;
use crate::outstanding;
use crate::time::Timestamp;
use crate::told;

/// Begins the run, or sends the start of a run again that has begun.
pub(super) fn start(draft: &mut Draft<'_>) {
    if draft.run.status != RunStatus::Submitted {
        if draft.run.needs_start_again() {
            let start =
                outstanding::of_source(draft.definition, &draft.run, Source::Start, draft.run.revision, draft.now);
            draft.again.extend(start.facts);
            draft.commands.extend(start.commands);
            draft.reading.wanted.extend(start.wanted);
        }
        return;
    }
    let deadline = deadline(draft);
    draft.emit(FactKind::RunStarted { deadline });
    if let Some(deadline) = deadline {
        timers::wake_at(draft, None, deadline);
    }
    graph::follow_all(draft);
    timers::set_wake(draft, None);
}

fn deadline(draft: &Draft<'_>) -> Option<Timestamp> {
    draft.definition.timeout.map(|timeout| draft.now.plus(timeout))
}

/// Whether a request was made by a caller that saw the run as it is. One that was made before has been answered since.
fn is_as_seen(seen: u32, is: u32) -> Result<bool, Rejection> {
    if seen > is { Err(Rejection::Stale) } else { Ok(seen == is) }
}

/// Cancels for a caller that saw the run when it had been retried that often.
pub(super) fn cancel_as_asked(
    draft: &mut Draft<'_>,
    cause: CancelCause,
    reason: &str,
    retries: u32,
) -> Result<(), Rejection> {
    if is_as_seen(retries, draft.run.retries)? { ending::cancel(draft, cause, reason) } else { Ok(()) }
}

/// Kills one action for a caller that saw the run when it had been retried that often.
pub(super) fn kill_as_asked(
    draft: &mut Draft<'_>,
    action: ActionIndex,
    reason: &str,
    retries: u32,
) -> Result<(), Rejection> {
    if is_as_seen(retries, draft.run.retries)? { ending::kill(draft, action, reason) } else { Ok(()) }
}

/// Pauses for a caller that saw the run when it had been paused and retried that often. Each pause is asked for by itself:
/// a request that comes again once the run goes on does not hold it a second time.
pub(super) fn pause(draft: &mut Draft<'_>, pauses: u32, retries: u32) -> Result<(), Rejection> {
    let is_new = is_as_seen(retries, draft.run.retries)? && is_as_seen(pauses, draft.run.pauses)?;
    if !is_new || draft.run.status == RunStatus::Paused {
        return Ok(());
    }
    if draft.run.status != RunStatus::Running {
        return Err(Rejection::of_status(draft.run.status));
    }
    draft.emit(FactKind::RunPaused { number: draft.run.pauses + 1, caller: draft.caller.clone() });
    Ok(())
}

/// Ends the pause that a caller saw when the run had been paused that often, and none that was begun since.
pub(super) fn resume(draft: &mut Draft<'_>, pauses: u32) -> Result<(), Rejection> {
    if !is_as_seen(pauses, draft.run.pauses)? || draft.run.status == RunStatus::Running {
        return Ok(());
    }
    if draft.run.status != RunStatus::Paused {
        return Err(Rejection::of_status(draft.run.status));
    }
    // The pause may not have been published yet.
    draft.again.extend(told::of_status(&draft.run));
    draft.emit(FactKind::RunResumed { number: draft.run.pauses, caller: draft.caller.clone() });
    graph::follow(draft);
    Ok(())
}

/// Starts over what did not succeed and all that needs it; what succeeded beside it stays.
pub(super) fn retry(draft: &mut Draft<'_>, retries: u32) -> Result<(), Rejection> {
    let status = draft.run.status;
    if !is_as_seen(retries, draft.run.retries)? || status == RunStatus::Running && draft.run.retries > 0 {
        return Ok(());
    }
    if !status.is_final() || status == RunStatus::Succeeded {
        return Err(Rejection::RunStatus(status));
    }
    // The end that is taken back may not have been published yet.
    draft.again.extend(told::of_status(&draft.run));
    let actions = unsuccessful(draft);
    let deadline = deadline(draft);
    draft.emit(FactKind::RunRetried { deadline, actions: actions.clone(), caller: draft.caller.clone() });
    if let Some(deadline) = deadline {
        timers::wake_at(draft, None, deadline);
    }
    for action in actions {
        graph::look_at(draft, action, None);
    }
    graph::follow(draft);
    Ok(())
}

/// The actions that failed, timed out or were cancelled, and all that need them, in the author's order.
fn unsuccessful(draft: &Draft<'_>) -> Vec<ActionIndex> {
    let mut chosen = vec![false; draft.run.actions.len()];
    let is_seed = |action: &ActionIndex| {
        let status = draft.state(*action).status;
        status.is_failure() || status == ActionStatus::Cancelled
    };
    let mut open: Vec<ActionIndex> = draft.definition.indexes().filter(is_seed).collect();
    while let Some(action) = open.pop() {
        if !std::mem::replace(&mut chosen[action.as_usize()], true) {
            open.extend(&draft.action(action).dependents);
        }
    }
    draft.definition.indexes().filter(|action| chosen[action.as_usize()]).collect()
}
