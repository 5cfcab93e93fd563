//! What the invariants say of a trigger, for every way in which two needs can stand.

use windlass_domain::definition::Trigger;
use windlass_domain::invariants::check;
use windlass_domain::run::{ActionStatus, Input};
use windlass_testkit::sketch::{ActionSketch, Sketch};
use windlass_testkit::world::World;

use crate::records::{change, names};
use crate::steps::{give, world};

/// How a need stands, and whether it may fail: small letters may.
const NEEDS: [(char, ActionStatus); 9] = [
    ('O', ActionStatus::Running),
    ('S', ActionStatus::Succeeded),
    ('F', ActionStatus::Failed),
    ('f', ActionStatus::Failed),
    ('T', ActionStatus::TimedOut),
    ('C', ActionStatus::Cancelled),
    ('c', ActionStatus::Cancelled),
    ('K', ActionStatus::Skipped),
    ('k', ActionStatus::Skipped),
];

/// The two needs as letters: if one of them is among `never`, the trigger never holds; else it holds if one is among
/// `at_once`; else it waits for those that are open, and then it `holds` or not.
struct Rule {
    trigger: Trigger,
    never: &'static str,
    at_once: &'static str,
    holds: bool,
}

const RULES: [Rule; 5] = [
    Rule { trigger: Trigger::AllSucceeded, never: "FTCKk", at_once: "", holds: true },
    Rule { trigger: Trigger::AllDone, never: "", at_once: "", holds: true },
    Rule { trigger: Trigger::AnySucceeded, never: "", at_once: "S", holds: false },
    Rule { trigger: Trigger::AnyFailed, never: "", at_once: "FfTCc", holds: false },
    Rule { trigger: Trigger::NoneFailed, never: "FTC", at_once: "", holds: true },
];

impl Rule {
    /// Whether an action may be taken up, and whether it may wait on.
    fn says(&self, needs: [char; 2]) -> (bool, bool) {
        let any = |letters: &str| needs.iter().any(|need| letters.contains(*need));
        if any(self.never) {
            (false, false)
        } else if any(self.at_once) {
            (true, false)
        } else if any("O") {
            (false, true)
        } else {
            (self.holds, false)
        }
    }
}

/// A run whose third action has that trigger and needs the first two.
fn begun(trigger: Trigger, needs: [char; 2]) -> World {
    let need = |letter: char| ActionSketch { allow_failure: letter.is_ascii_lowercase(), ..ActionSketch::default() };
    let join = ActionSketch { trigger, ..ActionSketch::needing([0, 1]) };
    let mut world = world(&Sketch::of(vec![need(needs[0]), need(needs[1]), join]));
    give(&mut world, &Input::Start);
    world
}

/// Whether the invariants let the third action stand so, as far as its trigger goes.
fn may_be(world: &World, needs: [ActionStatus; 2], status: ActionStatus, name: &str) -> bool {
    let mut run = world.run.clone();
    for (at, status) in (0..).zip([needs[0], needs[1], status]) {
        change(&mut run, at, |state| state.status = status);
    }
    !names(&check(&world.definition, &run)).split(' ').any(|broken| broken == name)
}

#[test]
fn a_trigger_is_judged_by_every_need() {
    for rule in RULES {
        for (first, first_status) in NEEDS {
            for (second, second_status) in NEEDS {
                let letters = [first, second];
                let (world, needs) = (begun(rule.trigger, letters), [first_status, second_status]);
                let taken_up = may_be(&world, needs, ActionStatus::Queued, "SG5");
                let waits = may_be(&world, needs, ActionStatus::Waiting, "SG7");
                assert_eq!((taken_up, waits), rule.says(letters), "{:?} of {letters:?}", rule.trigger);
            }
        }
    }
}
