//! What time alone does: due retries, deadlines, waits that took too long, leases that run out, and the sweeper's second
//! look.

use super::change::Rejection;
use super::control;
use super::draft::Draft;
use super::ending;
use super::fact::FactKind;
use super::graph;
use super::input::CancelCause;
use super::report::attempt_failed;
use super::state::{Phase, RunStatus};
use super::timers::{self, due_of, timeout_of};
use super::wording::untaken;
use crate::attempt::{ActionStatus, ErrorInfo, Fate};
use crate::ids::{ActionIndex, PoolName};
use crate::time::Timestamp;

/// A timer has run down: of one action, or of the run as a whole.
pub(super) fn wake(draft: &mut Draft<'_>, action: Option<ActionIndex>) -> Result<(), Rejection> {
    let before = draft.facts.len();
    match action {
        Some(action) if draft.run.status.goes_on() => look_at(draft, action),
        None => look_at_run(draft)?,
        // This very timer may have ended the run.
        Some(_) => return Ok(()),
    }
    graph::follow_all(draft);
    if draft.facts.len() == before {
        timers::ask_again(draft, action);
    }
    let is_done = action.is_some() || draft.run.status.phase() == Phase::Ending;
    if is_done {
        timers::set_wake(draft, action);
    }
    Ok(())
}

/// The sweeper found the run: all that is due by now is done, and what may have been lost is sent again.
pub(super) fn sweep(draft: &mut Draft<'_>) -> Result<(), Rejection> {
    match draft.run.status.phase() {
        Phase::Open if draft.run.status == RunStatus::Submitted => control::start(draft),
        Phase::Open => {
            look_at_run(draft)?;
            look_at_due(draft);
            graph::follow_all(draft);
        }
        Phase::Ending => {
            ending::force_all(draft);
            graph::follow(draft);
        }
        Phase::Ended => return Ok(()),
    }
    timers::set_wake(draft, None);
    Ok(())
}

/// Does what is due for the run as a whole: its deadline, or the forced end of a cancelled run.
fn look_at_run(draft: &mut Draft<'_>) -> Result<(), Rejection> {
    if draft.run.status.phase() == Phase::Ending {
        ending::force_all(draft);
    } else if draft.run.status.goes_on() && draft.run.deadline.is_some_and(|deadline| deadline <= draft.now) {
        ending::cancel(draft, CancelCause::Deadline, "the run's deadline passed")?;
    }
    Ok(())
}

/// Does what is due, the earliest first. Once this step has evaluated enough, the next sweep goes on from there.
fn look_at_due(draft: &mut Draft<'_>) {
    let handled = timers::handled_until(&draft.run, draft.now);
    let due = |action| Some((due_of(draft.definition, &draft.run, action, handled)?, action));
    let goes_on = draft.run.status.goes_on();
    let mut due: Vec<_> = draft.definition.indexes().filter(|_| goes_on).filter_map(due).collect();
    due.sort_unstable();
    for of_instant in due.chunk_by(|one, next| one.0 == next.0) {
        if draft.is_spent() {
            draft.due_left = of_instant.first().map(|one| one.0);
            break;
        }
        for (_, action) in of_instant {
            look_at(draft, *action);
        }
    }
}

/// Does what is due for one action.
fn look_at(draft: &mut Draft<'_>, action: ActionIndex) {
    let state = draft.state(action);
    if let Some(at) = state.kill.as_ref().map(|kill| kill.at) {
        return ending::force(draft, action, draft.now.since(at));
    }
    let handled = timers::handled_until(&draft.run, draft.now);
    let Some(due) = due_of(draft.definition, &draft.run, action, handled).filter(|due| *due <= draft.now) else {
        return;
    };
    if state.status == ActionStatus::RetryWaiting {
        draft.tell_again(action);
        // Room is given when all that is due has been looked at, so that the author's order decides.
        draft.emit(FactKind::ActionReady { action });
    } else if state.status == ActionStatus::Running {
        overdue(draft, action);
    } else if waits_too_long(draft, action) {
        let (by, error) = (state.owner.clone(), ErrorInfo::new("timeout.queue", untaken(draft, action, due)));
        draft.tell_again(action);
        attempt_failed(draft, action, by, error, true);
    } else {
        // Its message may be lost, too.
        draft.tell_again(action);
        draft.resend(action);
    }
}

/// An attempt with an owner has gone on for too long: by its own timeout, or without a lease.
fn overdue(draft: &mut Draft<'_>, action: ActionIndex) {
    let timeout = timeout_of(draft.definition, &draft.run, action).filter(|timeout| *timeout <= draft.now);
    let Some(timeout) = timeout else { return lapse(draft, action) };
    let by = draft.state(action).owner.clone();
    let message = format!("its agent did not report until {timeout}, a minute after its timeout");
    draft.stop_owner(action, Fate::Leave, "the attempt has taken longer than its timeout");
    attempt_failed(draft, action, by, ErrorInfo::new("timeout.lost", message), true);
}

/// The owner's lease has run out, or it should have one by now: the attempt is sent again.
fn lapse(draft: &mut Draft<'_>, action: ActionIndex) {
    draft.stop_owner(action, Fate::Leave, "its lease has run out");
    draft.emit(FactKind::ActionLapsed { of: draft.at(action) });
    draft.resend(action);
}

/// Whether a queued attempt that no agent has had has waited for as long as it may.
fn waits_too_long(draft: &Draft<'_>, action: ActionIndex) -> bool {
    let most = draft.action(action).queue_timeout.filter(|_| draft.state(action).is_untaken());
    let since = draft.state(action).waits_since();
    most.zip(since).is_some_and(|(most, since)| since.plus(most) <= draft.now)
}

/// Tells of every attempt that waits in the pool that no agent serves it since then, once for its whole stay. A run that is
/// ending does not: what it has queued is cancelled in a moment.
pub(super) fn unserved(draft: &mut Draft<'_>, pool: &PoolName, since: Timestamp) {
    if !draft.run.status.goes_on() {
        return;
    }
    for action in draft.definition.indexes() {
        let state = draft.state(action);
        if state.status != ActionStatus::Queued || state.unserved.is_some() || draft.action(action).pool != *pool {
            continue;
        }
        let since = state.waits_since().map_or(since, |waits_since| waits_since.max(since.min(draft.now)));
        let (of, last) = (draft.at(action), state.last);
        draft.emit(FactKind::ActionUnserved { of, pool: pool.clone(), since, last });
    }
}
