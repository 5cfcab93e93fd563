//! The graph: what may start, what never will, and when all is done.

use super::command::{Command, first_issue, perform};
use super::draft::Draft;
use super::fact::{FactKind, SkipReason};
use super::input::ActionAt;
use super::input::CancelCause;
use super::readiness::{Readiness, readiness};
use super::state::{Origin, RunStatus};
use super::wording::failure;
use super::work;
use crate::attempt::{ActionStatus, ErrorInfo};
use crate::ids::ActionIndex;

/// Lets everything follow from what was decided: dependents, room for others, the end of the run.
pub(super) fn follow(draft: &mut Draft<'_>) {
    loop {
        while let Some(settled) = draft.settled.pop_front() {
            for dependent in &draft.action(settled).dependents {
                look_at(draft, *dependent, Some(settled));
            }
        }
        fill_room(draft);
        if draft.settled.is_empty() {
            break;
        }
    }
    end_if_done(draft);
}

/// Goes on with what an earlier step may have left, ready actions before others, and lets everything follow.
pub(super) fn follow_all(draft: &mut Draft<'_>) {
    fill_room(draft);
    for action in draft.definition.indexes() {
        look_at(draft, action, None);
    }
    follow(draft);
}

/// Looks at a waiting action: it starts, is skipped, or waits on.
pub(super) fn look_at(draft: &mut Draft<'_>, action: ActionIndex, settled: Option<ActionIndex>) {
    let state = draft.state(action);
    if state.status != ActionStatus::Waiting || state.ready || !draft.run.status.goes_on() {
        return;
    }
    match readiness(draft.definition, &draft.run, action, settled) {
        Readiness::Wait => {}
        Readiness::Never => draft.emit(FactKind::ActionSkipped { action, reason: SkipReason::Trigger }),
        Readiness::Go if draft.leaves(action) => {}
        Readiness::Go => match work::condition(draft.definition, &draft.run, action, &mut draft.reading) {
            Ok(true) => admit(draft, action),
            Ok(false) => draft.emit(FactKind::ActionSkipped { action, reason: SkipReason::Condition }),
            Err(why) => draft.unevaluated(action, why),
        },
    }
}

/// Queues an action whose trigger holds, or keeps it ready until there is room.
fn admit(draft: &mut Draft<'_>, action: ActionIndex) {
    if has_room(draft) && !draft.leaves(action) {
        queue(draft, action);
    } else {
        draft.emit(FactKind::ActionReady { action });
    }
}

/// Whether one more may be queued. After the deadline nothing is, even if the wake that ends the run is late.
fn has_room(draft: &Draft<'_>) -> bool {
    let below_limit = draft.definition.max_parallel.is_none_or(|most| draft.run.in_flight < most);
    let has_time = draft.run.deadline.is_none_or(|deadline| draft.now < deadline);
    draft.run.status == RunStatus::Running && below_limit && has_time
}

fn queue(draft: &mut Draft<'_>, action: ActionIndex) {
    let before = draft.at(action);
    match work::render(draft.definition, &draft.run, action, &mut draft.reading) {
        Ok(work) => {
            let issue = first_issue(draft.definition, &draft.run, action);
            draft.emit(FactKind::ActionQueued { of: ActionAt { attempt: before.attempt + 1, ..before }, issue });
            let perform = perform(draft.definition, &draft.run, action, issue, work);
            draft.commands.push(Command::Perform(Box::new(perform)));
        }
        Err(why) => draft.unevaluated(action, why),
    }
}

/// Queues ready actions, in the author's order, while there is room.
fn fill_room(draft: &mut Draft<'_>) {
    while has_room(draft)
        && let Some(action) = draft.run.first_ready()
        && !draft.leaves(action)
    {
        queue(draft, action);
    }
}

/// Ends the run when every action is settled.
fn end_if_done(draft: &mut Draft<'_>) {
    if draft.run.open > 0 || draft.run.status.is_final() {
        return;
    }
    let (status, output, error) = verdict(draft);
    draft.emit(FactKind::RunFinished { status, output, error });
    if matches!(draft.run.origin, Origin::Schedule { .. }) {
        draft.commands.push(Command::Ended);
    }
}

type Verdict = (RunStatus, Option<serde_json::Value>, Option<ErrorInfo>);

fn verdict(draft: &mut Draft<'_>) -> Verdict {
    if let Some(cancellation) = &draft.run.cancellation {
        let (status, kind) = match cancellation.cause {
            CancelCause::Deadline => (RunStatus::TimedOut, "deadline"),
            CancelCause::Request | CancelCause::Overlap => (RunStatus::Cancelled, "cancelled"),
        };
        return (status, None, Some(ErrorInfo::new(kind, cancellation.reason.clone())));
    }
    if draft.run.failed > 0 {
        return (RunStatus::Failed, None, Some(failure(draft)));
    }
    let well = if draft.run.faults > 0 { RunStatus::SucceededWithFaults } else { RunStatus::Succeeded };
    match work::output(draft.definition, &draft.run, &mut draft.reading) {
        Ok(output) => (well, output, None),
        Err(why) => (RunStatus::Failed, None, Some(why.into())),
    }
}
