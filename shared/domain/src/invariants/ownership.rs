//! Who has an attempt: the rules of deliveries, told once more and plainly.
//!
//! Each function says whether one fact about an attempt may follow from the inputs. `run` is the record as it stood
//! before that fact.

use super::given::Step;
use crate::attempt::{ActionState, ActionStatus};
use crate::delivery::Delivery;
use crate::limits::{CLOCKS_DIFFER_MS, LEASE_MS, MAX_LOSSES, UNLEASED_MS, VISIBILITY_MS};
use crate::run::{ActionAt, Fact, FactKind, Input, Report, Run, RunStatus};
use crate::time::{Millis, Timestamp};

/// Whether that is the newest attempt of its action.
pub(super) fn is_newest(run: &Run, of: ActionAt) -> bool {
    run.action(of.action).last.attempt == of.attempt
}

/// Whether a completion, a hand-back or a progress report counts.
fn counts(state: &ActionState, of: &Report) -> bool {
    let is_of_it = state.status.is_in_flight() && of.delivery.attempt == state.last.attempt;
    let is_entitled = match &state.owner {
        Some(owner) => of.delivery == state.last && owner.agent == of.agent,
        None => of.delivery >= state.last,
    };
    is_of_it && is_entitled
}

/// Whether an agent that began without asking becomes the owner by its first word.
fn becomes_owner(state: &ActionState, of: &Report) -> bool {
    state.owner.is_none() && counts(state, of)
}

/// Whether a claim may make its agent the owner.
fn may_be_confirmed(state: &ActionState, of: &Report, now: Timestamp) -> bool {
    let is_of_it = state.status.is_in_flight() && of.delivery.attempt == state.last.attempt;
    let is_free = state.owner.as_ref().is_none_or(|owner| match owner.until {
        Some(until) => until <= now || state.status == ActionStatus::Queued,
        // Its message has been received again, so its agent may have died.
        None => owner.message == of.message && of.delivery.issue == state.last.issue,
    });
    is_of_it && is_free && of.delivery > state.last
}

fn is_stopping(run: &Run, of: ActionAt) -> bool {
    run.status == RunStatus::Cancelling || run.action(of.action).kill.is_some()
}

/// Whether an attempt, or an action without one, may end by this fact.
pub(super) fn ends(step: &Step<'_>, run: &Run, of: ActionAt, fact: &Fact) -> bool {
    let state = run.action(of.action);
    let (now, stops) = (step.given.now, is_stopping(run, of));
    let is_cancelled = matches!(fact.kind, FactKind::ActionCancelled { .. });
    let is_failed = matches!(fact.kind, FactKind::ActionFailed { .. });
    if !is_newest(run, of) || state.status.is_settled() {
        return false;
    }
    if !state.status.is_in_flight() {
        return is_cancelled || is_failed;
    }
    let reports = step.reports_of(of.action);
    match step.given.input {
        Input::Completed { .. } => reports.iter().any(|report| counts(state, report)),
        Input::HandedBack { .. } => is_cancelled && stops && reports.iter().any(|report| counts(state, report)),
        Input::Claim { .. } => {
            let is_poison = is_failed && !stops && state.losses.len() == MAX_LOSSES;
            let is_confirmed = reports.iter().any(|report| may_be_confirmed(state, report, now));
            is_confirmed && (is_cancelled && stops || is_poison)
        }
        Input::DeadLettered { action, delivery, message, .. } => {
            let is_owners = state
                .owner
                .as_ref()
                .is_none_or(|owner| owner.message == *message && owner.until.is_none_or(|until| until <= now));
            let is_it = (delivery.attempt, delivery.issue) == (state.last.attempt, state.last.issue);
            *action == of.action && is_failed && is_owners && is_it
        }
        // By time.
        Input::Wake { .. } | Input::Sweep => !is_failed && is_cancelled == stops,
        Input::Start
        | Input::Started { .. }
        | Input::Renewed { .. }
        | Input::Progressed { .. }
        | Input::Unserved { .. }
        | Input::Cancel { .. }
        | Input::Kill { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Retry { .. } => false,
    }
}

/// Whether an agent becomes the owner by this fact.
pub(super) fn owns(step: &Step<'_>, run: &Run, of: ActionAt, fact: &Fact) -> bool {
    let FactKind::ActionStarted { delivery, owner, fence, .. } = &fact.kind else { return false };
    let state = run.action(of.action);
    let reports = step.reports_of(of.action);
    let is_its =
        |report: &&Report| (*delivery, &owner.agent, owner.message) == (report.delivery, &report.agent, report.message);
    let Some(report) = reports.iter().find(is_its) else { return false };
    let is_new = owner.until.is_none() && owner.since == step.given.now && owner.renewal == 0;
    let is_entitled = match step.given.input {
        Input::Claim { .. } => {
            let is_loss = |fact: &&Fact| matches!(&fact.kind, FactKind::ActionLost { of: lost, .. } if *lost == of);
            let counted = step.change.facts.iter().filter(is_loss).count();
            let expected = usize::from(expected_loss(step.before.action(of.action), report).is_some());
            let is_counted = reports.len() > 1 || counted == expected;
            let is_confirmed = may_be_confirmed(state, report, step.given.now) && !is_stopping(run, of);
            is_confirmed && *fence == state.fence + 1 && is_counted
        }
        Input::Started { .. } | Input::Renewed { .. } | Input::Progressed { .. } => {
            becomes_owner(state, report) && *fence == state.fence
        }
        Input::Start
        | Input::HandedBack { .. }
        | Input::Completed { .. }
        | Input::DeadLettered { .. }
        | Input::Unserved { .. }
        | Input::Cancel { .. }
        | Input::Kill { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Retry { .. }
        | Input::Wake { .. }
        | Input::Sweep => false,
    };
    is_newest(run, of) && is_new && is_entitled
}

/// The delivery whose agent a confirmed claim displaces: the owner, or an agent that may have begun without asking.
fn expected_loss(before: &ActionState, claim: &Report) -> Option<Delivery> {
    match &before.owner {
        Some(owner) => (owner.agent != claim.agent).then_some(before.last),
        None if claim.delivery.issue == 0 && claim.delivery.receive > 1 => {
            Some(Delivery { receive: claim.delivery.receive - 1, ..claim.delivery })
        }
        None => None,
    }
}

/// Whether an agent is counted as lost.
pub(super) fn loses(step: &Step<'_>, run: &Run, of: ActionAt, delivery: Delivery) -> bool {
    let state = run.action(of.action);
    let displaces = |claim: &Report| {
        expected_loss(state, claim) == Some(delivery) && may_be_confirmed(state, claim, step.given.now)
    };
    let is_claim = matches!(step.given.input, Input::Claim { .. });
    is_claim && step.reports_of(of.action).iter().any(displaces) && is_newest(run, of) && !is_stopping(run, of)
}

/// Whether progress or a checkpoint is kept.
pub(super) fn saves(step: &Step<'_>, run: &Run, of: ActionAt, fact: &Fact) -> bool {
    let is_its = |report: &Report| {
        let FactKind::ActionProgressed { delivery, .. } = &fact.kind else { return true };
        *delivery == report.delivery
    };
    let counts = |report: &Report| is_its(report) && counts(run.action(of.action), report);
    let is_report = !matches!(step.given.input, Input::Claim { .. } | Input::Started { .. } | Input::Renewed { .. });
    is_report && is_newest(run, of) && step.reports_of(of.action).iter().any(counts)
}

/// Whether an attempt is handed back, and that issue is reserved for its next message.
pub(super) fn hands_back(step: &Step<'_>, run: &Run, of: ActionAt, issue: u64) -> bool {
    let Input::HandedBack { of: report, .. } = step.given.input else { return false };
    let state = run.action(of.action);
    let is_entitled = report.action == of.action && counts(state, report) && is_newest(run, of);
    is_entitled && !is_stopping(run, of) && issue > state.last.issue && issue > report.delivery.issue
}

/// Whether the owner has the attempt without a message until then.
pub(super) fn leases(step: &Step<'_>, run: &Run, of: ActionAt, (until, renewal): (Timestamp, u32)) -> bool {
    let (state, now) = (run.action(of.action), step.given.now);
    let reports = step.reports_of(of.action);
    let (Some(owner), [report]) = (&state.owner, &reports[..]) else { return false };
    let is_running = state.status == ActionStatus::Running && is_newest(run, of) && report.delivery == state.last;
    is_running
        && match step.given.input {
            Input::Renewed { number, .. } => {
                let is_in_time = owner.until.is_none_or(|until| now < until);
                let is_greater = *number == renewal && renewal > owner.renewal;
                let span = Millis(LEASE_MS + CLOCKS_DIFFER_MS);
                owner.agent == report.agent && is_in_time && is_greater && until == now.plus(span)
            }
            // The word of another agent has cost the owner its message.
            Input::HandedBack { kept: false, .. } | Input::Completed { .. } => {
                let costs_owner =
                    owner.message == report.message && owner.until.is_none() && owner.agent != report.agent;
                costs_owner && renewal == 0 && until == now.plus(Millis(2 * VISIBILITY_MS))
            }
            Input::Start
            | Input::Started { .. }
            | Input::Claim { .. }
            | Input::HandedBack { kept: true, .. }
            | Input::Progressed { .. }
            | Input::DeadLettered { .. }
            | Input::Unserved { .. }
            | Input::Cancel { .. }
            | Input::Kill { .. }
            | Input::Pause { .. }
            | Input::Resume { .. }
            | Input::Retry { .. }
            | Input::Wake { .. }
            | Input::Sweep => false,
        }
}

/// Whether the owner's time has run out: its lease, or the longest time for which a message may be hidden.
pub(super) fn lapses(step: &Step<'_>, run: &Run, of: ActionAt) -> bool {
    let state = run.action(of.action);
    let is_by_time = matches!(step.given.input, Input::Wake { .. } | Input::Sweep);
    let is_over = state
        .owner
        .as_ref()
        .is_some_and(|owner| owner.until.unwrap_or(owner.since.plus(Millis(UNLEASED_MS))) <= step.given.now);
    is_by_time && is_over && state.status == ActionStatus::Running && is_newest(run, of) && !is_stopping(run, of)
}
