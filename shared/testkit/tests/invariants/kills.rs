//! Spoilt decisions about one action that somebody kills.

use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{ActionStatus, EventKind, Input, Kill, RunStatus};
use windlass_testkit::world::World;

use crate::decisions::{Step, running};

fn kill(action: u32, retries: u32) -> Input {
    Input::Kill { action: ActionIndex(action), reason: "enough".to_owned(), retries }
}

/// The kill of that action breaks nothing; once it is spoilt, nobody may have asked for it, or it may not be.
fn breaks(world: &World, action: u32, spoil: impl FnOnce(&mut Step)) {
    let mut step = Step::of(world, kill(action, 0));
    assert_eq!(step.broken(), "");
    spoil(&mut step);
    step.refold();
    let broken = step.broken();
    assert!(broken.split(' ').any(|name| name == "SG34"), "{broken}: {:#?}", step.decision.events);
}

#[test]
fn an_action_is_killed_by_whoever_asked_for_it() {
    let world = running();
    for asked in [kill(1, 0), kill(0, 1), Input::Wake] {
        breaks(&world, 0, |step| step.input = asked);
    }
    breaks(&world, 0, |step| {
        step.event(|kind| {
            if let EventKind::ActionCancelling { of, .. } = kind {
                of.fence += 1;
            }
        });
    });
}

#[test]
fn only_what_is_open_and_not_killed_is_killed() {
    let world = running();
    breaks(&world, 0, |step| step.before.status = RunStatus::Cancelling);
    breaks(&world, 0, |step| step.before(0, |state| state.status = ActionStatus::Succeeded));
    let earlier = Kill { at: world.now, reason: "before".to_owned(), revision: 1 };
    breaks(&world, 0, |step| step.before(0, |state| state.kill = Some(earlier)));
}

/// One that waits ends at once, and says that it was killed if and only if it was.
#[test]
fn what_is_cancelled_alone_was_killed() {
    let world = running();
    let is_killing = |kind: &EventKind| matches!(kind, EventKind::ActionCancelling { .. });
    let silence = |step: &mut Step| {
        step.event(|kind| {
            if let EventKind::ActionCancelled { error, .. } = kind {
                *error = None;
            }
        });
    };
    breaks(&world, 1, |step| step.decision.events.retain(|event| !is_killing(&event.kind)));
    breaks(&world, 1, silence);
    breaks(&world, 1, |step| {
        step.decision.events.retain(|event| !is_killing(&event.kind));
        silence(step);
    });
}
