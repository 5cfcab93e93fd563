//! Invariants of the messages of a change.

use super::given::{Step, reports};
use super::{SG25, SG26, SG27, SG36};
use crate::attempt::ActionStatus;
use crate::ids::ActionIndex;
use crate::limits::{CLAIM_BELOW_MS, MAX_DELAY_MS, SUSPECT_LOSSES, TOLD_WITHIN_MS};
use crate::run::{ActionAt, Command, Confirm, Fact, FactKind, Perform, RunStatus, Stop};
use crate::time::Timestamp;

pub(super) fn check(step: &mut Step<'_>) {
    for fact in &step.change.facts {
        if let FactKind::ActionQueued { of, issue } = &fact.kind {
            queued(step, *of, *issue);
        }
        retried(step, fact);
    }
    for command in &step.change.commands {
        match command {
            Command::Perform(perform) => performed(step, perform),
            Command::Confirm(confirm) => confirmed(step, confirm),
            Command::Stop(order) => stopped(step, order),
            Command::Wake { action, at } => woken(step, *action, *at),
            Command::Ended => {}
        }
    }
}

fn queued(step: &mut Step<'_>, of: ActionAt, issue: u64) {
    let is_it = |command: &&Command| matches!(command, Command::Perform(perform) if perform.of == of);
    let sent = step.change.commands.iter().filter(is_it).count();
    step.holds(SG25, sent == 1, || format!("{of:?} was queued and sent {sent} times"));
    let queue_timeout = step.definition.action(of.action).queue_timeout;
    let is_short = queue_timeout.is_some_and(|most| most.0 < CLAIM_BELOW_MS);
    let is_suspect = step.change.after.action(of.action).losses.len() >= SUSPECT_LOSSES;
    step.holds(SG25, issue == u64::from(is_short || is_suspect), || format!("{of:?} was queued as issue {issue}"));
}

fn performed(step: &mut Step<'_>, perform: &Perform) {
    let (of, run) = (perform.of, &step.change.after);
    let (state, author) = (run.action(of.action), step.definition.action(of.action));
    let is_it = |fact: &Fact| matches!(&fact.kind, FactKind::ActionQueued { of: queued, .. } if *queued == of);
    let is_first = step.change.facts.iter().any(is_it);
    let is_back = |fact: &Fact| matches!(&fact.kind, FactKind::ActionHandedBack { of: back, issue } if *back == of && *issue == perform.issue);
    let is_handed_back = step.change.facts.iter().any(is_back);
    let waits = state.status == ActionStatus::Queued && state.kill.is_none() && run.status != RunStatus::Cancelling;
    let fits = if is_first || is_handed_back {
        perform.issue == state.last.issue && perform.delay.0 == 0
    } else {
        // An agent that began the first message without asking says so before another one comes.
        let queued_at = state.queued_at.unwrap_or_default();
        let may_have_begun = state.last.issue == 0 && state.last.receive == 0 && state.owner.is_none();
        let is_held_back = step.given.now.plus(perform.delay).since(queued_at).0 >= TOLD_WITHIN_MS;
        perform.issue > state.last.issue && (!may_have_begun || is_held_back)
    };
    step.holds(SG25, waits && fits, || format!("{perform:?} while {state:?}"));
    let is_newest = of.attempt == state.last.attempt && of.attempt > 0;
    let is_whole = perform.fence == state.fence
        && perform.pool == author.pool
        && perform.timeout == author.timeout
        && Some(perform.queued_at) == state.queued_at
        && perform.checkpoint == state.checkpoint
        && perform.losses == state.losses.len();
    step.holds(SG26, is_newest && is_whole, || format!("{perform:?} while {state:?}"));
}

fn confirmed(step: &mut Step<'_>, confirm: &Confirm) {
    let state = step.change.after.action(confirm.action);
    let is_owners = state.owner.as_ref().is_some_and(|owner| {
        let is_its_lease = confirm.until.is_none() || confirm.until == owner.until;
        owner.agent == confirm.agent && confirm.delivery == state.last && is_its_lease
    });
    step.holds(SG36, is_owners, || format!("{confirm:?} while {state:?}"));
    let is_answer = reports(step.given.input).iter().any(|of| {
        (of.action, of.delivery, of.message, &of.agent)
            == (confirm.action, confirm.delivery, confirm.message, &confirm.agent)
    });
    let is_whole = confirm.fence == state.fence
        && confirm.checkpoint == state.checkpoint
        && confirm.losses == state.losses.len()
        && confirm.pool == step.definition.action(confirm.action).pool;
    step.holds(SG26, is_answer && is_whole, || format!("{confirm:?} while {state:?}"));
}

/// A stop answers the given report, or is for the owner before or after the change.
fn stopped(step: &mut Step<'_>, order: &Stop) {
    let named = (order.action, order.delivery, order.message, &order.agent);
    let is_answer = reports(step.given.input).iter().any(|of| (of.action, of.delivery, of.message, &of.agent) == named);
    let is_owners = [step.before, &step.change.after].iter().any(|run| {
        let state = run.action(order.action);
        state.owner.as_ref().is_some_and(|owner| (order.action, state.last, owner.message, &owner.agent) == named)
    });
    let fits = is_answer || is_owners && order.asked.is_none();
    let is_there = order.pool == step.definition.action(order.action).pool;
    step.holds(SG26, fits && is_there, || format!("{order:?}"));
}

fn woken(step: &mut Step<'_>, action: Option<ActionIndex>, at: Timestamp) {
    let exists = action.is_none_or(|action| action.as_usize() < step.definition.actions.len());
    let is_near = at.since(step.given.now).0 <= MAX_DELAY_MS;
    step.holds(SG26, exists && is_near, || format!("a wake of {action:?} at {at}"));
}

fn retried(step: &mut Step<'_>, fact: &Fact) {
    let FactKind::ActionRetrying { retry_at, of, .. } = &fact.kind else { return };
    let run = &step.change.after;
    let is_over = run.action(of.action).status != ActionStatus::RetryWaiting;
    let is_sent = step.change.commands.contains(&Command::Wake { action: Some(of.action), at: *retry_at });
    let is_covered = run.wake_at.is_some_and(|wake| wake <= *retry_at);
    step.holds(SG27, is_over || is_sent || is_covered, || format!("{fact:?}"));
}
