//! What time alone does: due retries, deadlines, waits that took too long, leases that run out, and the sweeper's second
//! look.

use super::Rejection;
use super::control;
use super::draft::Draft;
use super::ending;
use super::fact::{CancelCause, FactKind};
use super::graph;
use super::report::attempt_failed;
use super::state::{Phase, RunStatus};
use super::timers::{self, due_of, timeout_of};
use crate::attempt::{ActionState, ActionStatus, ErrorInfo, Fate};
use crate::ids::{ActionIndex, PoolName};
use crate::limits::{REISSUE_QUEUED_AFTER_MS, UNLEASED_MS};
use crate::outstanding;
use crate::time::Timestamp;

/// A timer has run down: of one action, or of the run as a whole.
pub(super) fn wake(draft: &mut Draft<'_>, action: Option<ActionIndex>) -> Result<(), Rejection> {
    let before = draft.facts.len();
    match action {
        Some(action) if draft.run.status.goes_on() => {
            draft.stands = Some(draft.state(action).revision);
            look_at(draft, action, true);
        }
        None => {
            draft.stands = draft.run.cancellation.as_ref().map(|_| draft.run.status_revision);
            look_at_run(draft)?;
        }
        Some(_) => return Ok(()),
    }
    graph::follow(draft);
    timers::set_wake(draft);
    if draft.facts.len() == before {
        timers::ask_again(draft, action);
    }
    Ok(())
}

/// The sweeper found the run. All that is due is done; with `since`, what may have been lost is sent again, too.
pub(super) fn sweep(draft: &mut Draft<'_>, at: Timestamp, since: Option<Timestamp>) -> Result<(), Rejection> {
    draft.stands = draft.run.swept.filter(|swept| swept.at == at).map(|swept| swept.revision);
    match draft.run.status.phase() {
        Phase::Open if draft.run.status == RunStatus::Submitted => control::start(draft),
        Phase::Open => {
            look_at_run(draft)?;
            if draft.run.status.goes_on() {
                for action in draft.definition.indexes() {
                    look_at(draft, action, false);
                }
                graph::follow(draft);
            }
        }
        Phase::Ending => {
            ending::force_all(draft);
            graph::follow(draft);
        }
        Phase::Ended => return Ok(()),
    }
    if let Some(since) = since.filter(|_| draft.run.status.goes_on()) {
        send_lost(draft, since);
    }
    if draft.facts.iter().any(|fact| fact.kind.is_public()) {
        draft.emit_before_end(FactKind::RunSwept { at });
    }
    if !draft.run.status.is_final() {
        timers::set_wake(draft);
    }
    Ok(())
}

/// What is due for the run as a whole.
fn look_at_run(draft: &mut Draft<'_>) -> Result<(), Rejection> {
    if draft.run.status.phase() == Phase::Ending {
        ending::force_all(draft);
    } else if draft.run.status.goes_on() && draft.run.deadline.is_some_and(|deadline| deadline <= draft.now) {
        ending::cancel(draft, CancelCause::Deadline, "the run's deadline passed")?;
    }
    Ok(())
}

/// What is due for one action. `by_timer`: its own timer was sent, so its last event was published before.
fn look_at(draft: &mut Draft<'_>, action: ActionIndex, by_timer: bool) {
    let state = draft.state(action);
    if let Some(at) = state.kill.as_ref().map(|kill| kill.at) {
        return ending::force(draft, action, draft.now.since(at));
    }
    let Some(due) = due_of(draft.definition, &draft.run, action, draft.now).filter(|due| *due <= draft.now) else {
        return;
    };
    match state.status {
        // Room is given when all that is due has been looked at, so that the author's order decides.
        ActionStatus::RetryWaiting => {
            if !by_timer {
                // The process manager that decided the retry may have died before it published that.
                draft.again.extend(outstanding::of_action(draft.definition, &draft.run, action));
            }
            draft.emit(FactKind::ActionReady { action });
        }
        ActionStatus::Queued => {
            let (by, error) = (state.owner.clone(), ErrorInfo::new("timeout.queue", untaken(draft, action, due)));
            attempt_failed(draft, action, by, error, true);
        }
        ActionStatus::Running => {
            let timeout = timeout_of(draft.definition, &draft.run, action).filter(|timeout| *timeout <= draft.now);
            let Some(timeout) = timeout else { return lapse(draft, action) };
            let by = state.owner.clone();
            let message = format!("its agent did not report until {timeout}, a minute after its timeout");
            draft.stop_owner(action, Fate::Leave, "the attempt has taken longer than its timeout");
            attempt_failed(draft, action, by, ErrorInfo::new("timeout.lost", message), true);
        }
        ActionStatus::Waiting
        | ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Skipped
        | ActionStatus::Cancelled => {}
    }
}

/// The owner's lease has run out, or it should have one by now: the attempt is sent again.
fn lapse(draft: &mut Draft<'_>, action: ActionIndex) {
    draft.stop_owner(action, Fate::Leave, "its lease has run out");
    draft.emit(FactKind::ActionLapsed { of: draft.at(action) });
    draft.resend(action);
}

/// Why no agent took a queued attempt in time, as far as is known.
fn untaken(draft: &Draft<'_>, action: ActionIndex, due: Timestamp) -> String {
    let pool = &draft.action(action).pool;
    match draft.state(action).unserved {
        Some(unserved) => {
            let since = unserved.since;
            format!("no agent has served the pool `{pool}` since {since}; none took the attempt until {due}")
        }
        None => format!("no agent took the attempt from the pool `{pool}` until {due}"),
    }
}

/// Sends again what may have been lost. A queued attempt is sent again when it has waited for 10 minutes, 20, 40 and so on:
/// a long queue is no loss. An attempt that has run for longer than a message may be hidden, and has no lease, has lost its
/// agent and its message.
fn send_lost(draft: &mut Draft<'_>, since: Timestamp) {
    let waited = |from: Timestamp, until: Timestamp| until.since(from).0;
    for action in draft.definition.indexes() {
        let state = draft.state(action);
        let from = state.waits_since().filter(|_| state.status == ActionStatus::Queued && !draft.is_stopping(action));
        if from.is_some_and(|from| doubled(REISSUE_QUEUED_AFTER_MS, waited(from, since), waited(from, draft.now))) {
            draft.again.extend(outstanding::of_action(draft.definition, &draft.run, action));
            draft.resend(action);
        } else if is_unleased(state, draft.now) {
            lapse(draft, action);
        }
    }
}

/// Whether the attempt has run for longer than a message may be hidden, and has no lease.
fn is_unleased(state: &ActionState, now: Timestamp) -> bool {
    let owner = state.owner.as_ref().filter(|owner| owner.until.is_none());
    let goes_on = state.status == ActionStatus::Running && state.kill.is_none();
    goes_on && owner.is_some_and(|owner| now.since(owner.since).0 >= UNLEASED_MS)
}

/// Whether `first`, or twice that, or four times and so on, lies after `before` and not after `until`.
fn doubled(first: u64, before: u64, until: u64) -> bool {
    let mut mark = first;
    while mark <= until {
        if mark > before {
            return true;
        }
        mark = mark.saturating_mul(2);
    }
    false
}

/// Tells of every attempt that waits in the pool that no agent serves it since then, once for its whole stay. A run that is
/// ending does not: what it has queued is cancelled in a moment.
pub(super) fn unserved(draft: &mut Draft<'_>, pool: &PoolName, since: Timestamp) {
    if !draft.run.status.goes_on() {
        return;
    }
    for action in draft.definition.indexes() {
        let state = draft.state(action);
        if state.status != ActionStatus::Queued || draft.action(action).pool != *pool {
            continue;
        }
        if let Some(unserved) = state.unserved {
            draft.stands = draft.stands.max(Some(unserved.revision));
            continue;
        }
        let since = state.queued_at.map_or(since, |queued_at| queued_at.max(since));
        let of = draft.at(action);
        draft.emit(FactKind::ActionUnserved { of, pool: pool.clone(), since });
    }
}
