//! Spoilt decisions about who has an attempt: hand-backs, claims, leases.

use windlass_domain::limits::{CLOCKS_DIFFER_MS, LEASE_MS};
use windlass_domain::run::{ActionAt, ActionStatus, EventKind, Input};
use windlass_domain::time::Millis;
use windlass_testkit::generate::agent_of;

use crate::decisions::{Step, begun, breaks, first, running};
use crate::steps::give;

#[test]
fn only_who_has_an_attempt_hands_it_back() {
    let world = running();
    let back = |agent| Input::HandedBack { of: first(&running()), agent, copy: 0, checkpoint: None };
    breaks(&world, &back(agent_of(1)), "SG32", |step| step.input = back(agent_of(2)));
    breaks(&world, &back(agent_of(1)), "SG32", |step| step.input = Input::Wake);
    breaks(&world, &back(agent_of(1)), "SG32", |step| {
        step.input = Input::HandedBack {
            of: ActionAt { fence: 2, ..first(&running()) },
            agent: agent_of(1),
            copy: 0,
            checkpoint: None,
        };
    });
    breaks(&world, &back(agent_of(1)), "SG32", |step| {
        step.before(0, |state| state.status = ActionStatus::RetryWaiting);
    });
    breaks(&world, &back(agent_of(1)), "SG32", |step| step.before(0, |state| state.fence = 2));
    // Nobody may have reported it yet.
    breaks(&world, &back(agent_of(1)), "", |step| step.before(0, |state| state.agent = None));
}

#[test]
fn a_claim_is_by_the_message_that_counts_and_says_who_was_lost() {
    let world = running();
    let of = first(&world);
    let claimed = |agent, received, copy| Input::Claim { of, agent, received, copy, again: false };
    let claim = claimed(agent_of(2), 2, 0);
    breaks(&world, &claim, "SG33", |step| step.input = claimed(agent_of(2), 1, 0));
    breaks(&world, &claim, "SG33", |step| step.input = claimed(agent_of(1), 2, 0));
    breaks(&world, &claim, "SG33", |step| step.input = claimed(agent_of(2), 2, 3));
    breaks(&world, &claim, "SG33", |step| step.before(0, |state| state.handed_back = true));
    breaks(&world, &claim, "SG33", |step| step.before(0, |state| state.copy = 1));
    breaks(&world, &claim, "SG28", |step| {
        step.event(|kind| {
            if let EventKind::ActionStarted { of, .. } = kind {
                of.fence = 1;
            }
        });
    });
    breaks(&world, &claim, "SG33", |step| {
        let of = ActionAt { fence: 7, ..of };
        step.push(EventKind::ActionNotLost { of });
    });
    breaks(&world, &claim, "SG28 SG33", |step| step.before(0, |state| state.status = ActionStatus::RetryWaiting));
}

#[test]
fn a_copy_of_what_waits_is_good_until_its_message_is_claimed() {
    let world = begun();
    let of = first(&world);
    let claim = Input::Claim { of, agent: agent_of(2), received: 2, copy: 3, again: false };
    breaks(&world, &claim, "SG33", |step| step.before(0, |state| state.copy = 4));
    breaks(&world, &claim, "", |step| step.before(0, |state| state.copy = 3));
    // What was handed back has a fence of nobody since.
    let aged = |fence, handed_back| {
        move |step: &mut Step| {
            step.before(0, |state| (state.fence, state.handed_back) = (fence, handed_back));
            step.event(|kind| {
                if let EventKind::ActionStarted { of, .. } = kind {
                    of.fence = fence + 1;
                } else if let EventKind::ActionLost { of } = kind {
                    of.fence = fence;
                }
            });
        }
    };
    breaks(&world, &claim, "", aged(1, false));
    breaks(&world, &claim, "SG33", aged(2, false));
    breaks(&world, &claim, "SG33", |step| {
        step.decision.events.remove(0);
        aged(3, true)(step);
    });
    breaks(&world, &claim, "", |step| {
        step.decision.events.remove(0);
        aged(2, true)(step);
    });
}

#[test]
fn only_its_agent_leases_an_attempt_and_nobody_else_has_it_until_that_is_over() {
    let mut world = running();
    let of = first(&world);
    let renewed = Input::Renewed { of, agent: agent_of(1), started_at: world.now };
    breaks(&world, &renewed, "SG36", |step| step.before(0, |state| state.agent = Some(agent_of(2))));
    breaks(&world, &renewed, "SG36", |step| step.input = Input::Wake);
    breaks(&world, &renewed, "SG36", |step| step.before(0, |state| state.fence = 2));
    breaks(&world, &renewed, "SG36", |step| step.before(0, |state| state.status = ActionStatus::Queued));
    let now = world.now;
    breaks(&world, &renewed, "SG36", move |step| {
        step.event(|kind| {
            if let EventKind::ActionLeased { until, .. } = kind {
                *until = now;
            }
        });
    });
    let claim = Input::Claim { of, agent: agent_of(2), received: 2, copy: 0, again: false };
    breaks(&world, &claim, "SG36", move |step| {
        step.before(0, |state| state.leased_until = Some(now.plus(Millis(1))));
    });
    give(&mut world, &renewed);
    world.pass(Millis(LEASE_MS + CLOCKS_DIFFER_MS));
    let later = Some(world.now.plus(Millis(1)));
    breaks(&world, &Input::Wake, "SG33 SG36", move |step| step.before(0, |state| state.leased_until = later));
    breaks(&world, &Input::Wake, "SG33 SG36", |step| step.before(0, |state| state.leased_until = None));
    breaks(&world, &Input::Wake, "SG33 SG36", |step| step.before(0, |state| state.status = ActionStatus::Queued));
}

/// Of one message the later delivery counts.
#[test]
fn a_claim_is_by_the_last_delivery() {
    let world = running();
    let claim = Input::Claim { of: first(&world), agent: agent_of(2), received: 4, copy: 0, again: false };
    breaks(&world, &claim, "", |step| step.before(0, |state| state.received = 3));
    breaks(&world, &claim, "SG33", |step| step.before(0, |state| state.received = 4));
    breaks(&world, &claim, "SG33", |step| step.before(0, |state| state.received = 5));
}
