//! Runs that are held: what is told again of it.

use windlass_domain::decide::{Decision, decide};
use windlass_domain::run::{Input, RunStatus};
use windlass_testkit::sketch::{RETRIED, RetrySketch};

use crate::steps::{chain, failed, finish, give, of_one, world};

fn again(decision: &Decision) -> Vec<&'static str> {
    assert_eq!(decision.events, []);
    decision.again.iter().map(|event| event.kind.name()).collect()
}

const NOTHING: &[&str] = &[];

fn pause(pauses: u32) -> Input {
    Input::Pause { pauses, retries: 0 }
}

fn resume(pauses: u32) -> Input {
    Input::Resume { pauses }
}

/// The request for a pause is told again while that pause lasts.
#[test]
fn a_pause_is_told_again_as_long_as_it_lasts() {
    let mut world = world(&chain(2));
    give(&mut world, &Input::Start);
    let first = world.ask(&pause(0)).expect("accepted");
    let second = decide(&world.definition, &first.run, &pause(0), world.now).expect("accepted");
    assert_eq!(again(&second), NOTHING, "both in one batch");
    give(&mut world, &pause(0));
    assert_eq!(again(&give(&mut world, &pause(0))), ["run.paused"]);
    give(&mut world, &resume(1));
    assert_eq!(again(&give(&mut world, &pause(0))), NOTHING, "it goes on");
    assert_eq!(world.run.status, RunStatus::Running);
    give(&mut world, &pause(1));
    assert_eq!(again(&give(&mut world, &pause(0))), NOTHING, "it is held by another");
    assert_eq!(again(&give(&mut world, &pause(1))), ["run.paused"]);
}

/// Of a run that was never held, or that was started over since, there is nothing to tell.
#[test]
fn a_resumption_is_told_again_if_there_was_one() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let told = again(&give(&mut world, &resume(0)));
    assert!(!told.contains(&"run.resumed"), "{told:?}");
    give(&mut world, &pause(0));
    let first = world.ask(&resume(1)).expect("accepted");
    let second = decide(&world.definition, &first.run, &resume(1), world.now).expect("accepted");
    assert_eq!(again(&second), NOTHING, "both in one batch");
    give(&mut world, &resume(1));
    let told = again(&give(&mut world, &resume(1)));
    assert!(told.contains(&"run.resumed"), "{told:?}");
    finish(&mut world, "a0", failed(RETRIED));
    give(&mut world, &Input::Retry { retries: 0 });
    let told = again(&give(&mut world, &resume(1)));
    assert!(!told.contains(&"run.resumed"), "{told:?}");
}
