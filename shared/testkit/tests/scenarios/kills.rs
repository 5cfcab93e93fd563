//! Actions that a caller kills while the rest of the run goes on.

use windlass_domain::attempt::Fate;
use windlass_domain::limits::CANCEL_GRACE_MS;
use windlass_domain::run::{ActionStatus, Command, Outcome, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::sketch::{ActionSketch, Sketch};
use windlass_testkit::world::World;

use crate::steps::{
    begun, claim, completed, finish, give, kill, kinds, repeated, report, started, status, stops, succeeded,
};

/// Two actions; agent 1 performs the first.
fn two() -> World {
    let mut world = begun(&Sketch::of(vec![ActionSketch::default(); 2]));
    started(&mut world, "a0");
    world.pass(Millis::from_secs(1));
    world
}

#[test]
fn repeated_kill_stops_the_owner_again() {
    let mut world = two();
    let first = give(&mut world, &kill(0));
    let [stop] = &stops(&first.commands)[..] else { panic!("{first:?}") };
    assert_eq!((stop.fate, stop.delivery.to_string()), (Fate::Report, "1.0.1".to_owned()));
    finish(&mut world, "a1", succeeded());
    let again = repeated(&world, &kill(0));
    assert_eq!((kinds(&again.facts), again.commands), (vec!["action.cancelling", "action.started"], first.commands));
}

#[test]
fn kill_of_a_queued_action_stops_no_agent() {
    let mut world = two();
    let at = world.now.plus(Millis(CANCEL_GRACE_MS));
    let change = give(&mut world, &kill(1));
    assert_eq!(change.commands, [Command::Wake { action: Some(world.index("a1")), at }]);
    world.pass(Millis::from_secs(13));
    give(&mut world, &claim(&report("a1", "1.0.2", 2), 1));
    assert_eq!(status(&world, "a1"), ActionStatus::Cancelled);
}

#[test]
fn repeated_report_tells_no_kill_beside_it() {
    let mut world = two();
    give(&mut world, &kill(0));
    let done = completed(&world, "a1", succeeded());
    give(&mut world, &done);
    assert_eq!(kinds(&repeated(&world, &done).facts), ["action.succeeded"]);
}

/// The agent performs it: only its own word ends it before the time is up.
#[test]
fn owner_that_claims_again_must_report() {
    let mut world = begun(&Sketch::of(vec![ActionSketch::default()]));
    let of = report("a0", "1.0.2", 1);
    give(&mut world, &claim(&of, 1));
    give(&mut world, &kill(0));
    let again = give(&mut world, &claim(&of, 1));
    let fates: Vec<_> = stops(&again.commands).iter().map(|stop| stop.fate).collect();
    assert_eq!((again.facts.len(), fates, status(&world, "a0")), (0, vec![Fate::Report], ActionStatus::Running));
    finish(&mut world, "a0", Outcome::Cancelled);
    assert_eq!(status(&world, "a0"), ActionStatus::Cancelled);
}

#[test]
fn failed_run_names_the_killed_action() {
    let allowed = ActionSketch { allow_failure: true, ..ActionSketch::default() };
    let mut world = begun(&Sketch::of(vec![ActionSketch::default(), ActionSketch::default(), allowed]));
    finish(&mut world, "a1", succeeded());
    for (name, action) in [("a2", 2), ("a0", 0)] {
        started(&mut world, name);
        give(&mut world, &kill(action));
        finish(&mut world, name, Outcome::Cancelled);
    }
    let error = world.run.error.as_ref().expect("it failed");
    assert_eq!((world.run.status, error.message.as_str()), (RunStatus::Failed, "failed: `a0` (killed)"));
}
