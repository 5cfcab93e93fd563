//! The graph: what may start, what never will, and when all is done.

use super::readiness::{Readiness, readiness};
use super::step::Step;
use super::{Command, Perform, loss, work};
use crate::ids::ActionIndex;
use crate::limits::CLAIM_BELOW_MS;
use crate::run::{
    ActionAt, ActionState, ActionStatus, CancelCause, ErrorInfo, EventKind, Origin, RunStatus, SkipReason,
};
use crate::time::Millis;

/// Looks at every action that needs the one that was settled.
pub(super) fn look_at_dependents(step: &mut Step<'_>, settled: ActionIndex) {
    if step.is_ending() {
        return;
    }
    for dependent in &step.action(settled).dependents {
        look_at(step, *dependent, Some(settled));
    }
}

/// Looks at a waiting action: it starts, is skipped, or waits on.
pub(super) fn look_at(step: &mut Step<'_>, action: ActionIndex, settled: Option<ActionIndex>) {
    let state = step.state(action);
    if state.status != ActionStatus::Waiting || state.ready {
        return;
    }
    match readiness(step.definition, &step.run, action, settled) {
        Readiness::Wait => {}
        Readiness::Never => step.emit(EventKind::ActionSkipped { action, reason: SkipReason::Trigger }),
        Readiness::Go => match work::condition(step.definition, &step.run, action) {
            Ok(true) => admit(step, action),
            Ok(false) => step.emit(EventKind::ActionSkipped { action, reason: SkipReason::Condition }),
            Err(error) => {
                let of = step.at(action);
                step.fail(of, (None, None), error, false);
            }
        },
    }
}

/// Queues an action whose trigger holds, or keeps it ready until there is room.
fn admit(step: &mut Step<'_>, action: ActionIndex) {
    if has_room(step) {
        queue(step, action);
    } else {
        step.emit(EventKind::ActionReady { action });
    }
}

/// Whether one more may be queued. After the deadline nothing is, even if the wake that ends the run is late.
fn has_room(step: &Step<'_>) -> bool {
    let below_limit = step.definition.max_parallel.is_none_or(|most| step.run.in_flight < most);
    let has_time = step.run.deadline.is_none_or(|deadline| step.now < deadline);
    step.run.status == RunStatus::Running && below_limit && has_time
}

fn queue(step: &mut Step<'_>, action: ActionIndex) {
    let before = step.at(action);
    let of = ActionAt { action, attempt: before.attempt + 1, fence: before.fence + 1 };
    match work::render(step.definition, &step.run, action) {
        Ok(work) => {
            step.emit(EventKind::ActionQueued { of });
            let perform = perform(step, of, work, must_claim(step, action));
            step.perform(perform);
        }
        // No attempt came of it: the failure is told of the one before, if there was one.
        Err(error) => step.fail(before, (None, None), error, false),
    }
}

/// Whether an attempt is claimed before it begins by whoever gets it, also if nobody had it before.
pub(super) fn must_claim(step: &Step<'_>, action: ActionIndex) -> bool {
    let is_short = step.action(action).queue_timeout.is_some_and(|most| most.0 < CLAIM_BELOW_MS);
    is_short || loss::is_suspect(step.state(action))
}

/// The command that carries an attempt to its pool.
pub(super) fn perform(step: &Step<'_>, of: ActionAt, work: crate::work::Work, claim: bool) -> Perform {
    let action = step.action(of.action);
    let state = step.state(of.action);
    Perform {
        of,
        pool: action.pool.clone(),
        work,
        timeout: action.timeout,
        queued_at: state.queued_at.unwrap_or(step.now),
        checkpoint: state.checkpoint.clone(),
        claim,
        copy: state.copy,
        delay: Millis::default(),
    }
}

/// Queues ready actions, in the author's order, while there is room.
pub(super) fn fill_room(step: &mut Step<'_>) {
    while has_room(step)
        && let Some(action) = step.run.first_ready()
    {
        queue(step, action);
    }
}

/// Ends the run when every action is settled.
pub(super) fn end_if_done(step: &mut Step<'_>) {
    if step.run.open > 0 || step.run.status.is_final() {
        return;
    }
    let (status, output, error) = verdict(step);
    step.emit(EventKind::RunFinished { status, output, error });
    if matches!(step.run.origin, Origin::Schedule { .. }) {
        step.commands.push(Command::Ended);
    }
}

type Verdict = (RunStatus, Option<serde_json::Value>, Option<ErrorInfo>);

fn verdict(step: &Step<'_>) -> Verdict {
    if let Some(cancellation) = &step.run.cancellation {
        let (status, kind) = match cancellation.cause {
            CancelCause::Deadline => (RunStatus::TimedOut, "deadline"),
            CancelCause::Request | CancelCause::Overlap => (RunStatus::Cancelled, "cancelled"),
        };
        return (status, None, Some(ErrorInfo::new(kind, cancellation.reason.clone())));
    }
    if step.run.failed > 0 {
        return (RunStatus::Failed, None, Some(failure(step)));
    }
    let well = if step.run.faults > 0 { RunStatus::SucceededWithFaults } else { RunStatus::Succeeded };
    match work::output(step.definition, &step.run) {
        Ok(output) => (well, output, None),
        Err(error) => (RunStatus::Failed, None, Some(error)),
    }
}

/// Names the actions that failed the run: the first few, and how many more there are.
fn failure(step: &Step<'_>) -> ErrorInfo {
    const NAMED: usize = 3;
    let is_fault = |state: &ActionState| state.status.is_failure() || state.status == ActionStatus::Cancelled;
    let failed = |action: &ActionIndex| is_fault(step.state(*action)) && !step.action(*action).allow_failure;
    let named: Vec<String> = step
        .definition
        .indexes()
        .filter(failed)
        .take(NAMED)
        .map(|action| {
            let kind = step.state(action).error.as_ref().map_or("unknown", |error| error.kind.as_str());
            format!("`{}` ({kind})", step.action(action).name)
        })
        .collect();
    let more = (step.run.failed as usize).saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    ErrorInfo::new("action.failed", format!("failed: {}{more}", named.join(", ")))
}
