//! Actions that somebody kills: what is told of it, to whom, and what is told again.

use windlass_domain::decide::{Command, Decision, decide, repeat};
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::CANCEL_GRACE_MS;
use windlass_domain::run::{Input, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{ActionSketch, Sketch};
use windlass_testkit::world::World;

use crate::steps::{completed, finish, give, newest, started, succeeded, world};

const SECOND: Millis = Millis::from_secs(1);
const CANCELLING: &str = "action.cancelling";

fn kill(action: u32) -> Input {
    Input::Kill { action: ActionIndex(action), reason: "enough".to_owned(), retries: 0 }
}

/// Two actions, of which agent 1 performs the first.
fn begun() -> World {
    let mut world = world(&Sketch::of(vec![ActionSketch::default(); 2]));
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    world.pass(SECOND);
    world
}

fn again(decision: &Decision) -> Vec<&'static str> {
    assert_eq!(decision.events, []);
    decision.again.iter().map(|event| event.kind.name()).collect()
}

/// However much has happened beside it, and with the same commands as the first time.
#[test]
fn a_kill_that_comes_again_is_told_again() {
    let mut world = begun();
    let grace = Command::Wake { at: world.now.plus(Millis(CANCEL_GRACE_MS)) };
    let stop = Command::Stop { agent: agent_of(1), of: newest(&world, "a0") };
    give(&mut world, &kill(0));
    let first = give(&mut world, &kill(0));
    assert_eq!((again(&first), first.commands), (vec![CANCELLING], vec![stop.clone(), grace.clone()]));
    finish(&mut world, "a1", succeeded());
    let later = give(&mut world, &kill(0));
    assert_eq!((again(&later), later.commands), (vec![CANCELLING], vec![stop, grace]));
}

/// Nobody has it, so nobody is told to stop.
#[test]
fn a_kill_of_what_waits_in_its_pool_stops_nobody() {
    let mut world = begun();
    let grace = Command::Wake { at: world.now.plus(Millis(CANCEL_GRACE_MS)) };
    give(&mut world, &kill(1));
    let repeated = give(&mut world, &kill(1));
    assert_eq!((again(&repeated), repeated.commands), (vec![CANCELLING], vec![grace]));
}

/// Two deliveries of a kill in one batch: what the first one sends has not been sent yet, and will be.
#[test]
fn a_kill_that_is_not_committed_is_not_told_again() {
    let world = begun();
    let first = world.ask(&kill(0)).expect("accepted");
    let second = decide(&world.definition, &first.run, &kill(0), world.now).expect("accepted");
    assert_eq!(again(&second), Vec::<&str>::new());
    let repeated = repeat(&world.definition, &first.run, world.now, world.now);
    assert_eq!(again(&repeated), Vec::<&str>::new());
}

/// A kill is told again with what its own commit did, and not with what another did.
#[test]
fn a_report_that_comes_again_tells_of_no_kill_beside_it() {
    let mut world = begun();
    give(&mut world, &kill(0));
    world.pass(SECOND);
    let report = completed(&world, "a1", succeeded());
    give(&mut world, &report);
    assert_eq!(again(&give(&mut world, &report)), ["action.succeeded"]);
}

/// By whoever looks for what a process may not have told before it died.
#[test]
fn a_kill_is_told_again_by_its_time() {
    let mut world = begun();
    let of = newest(&world, "a0");
    give(&mut world, &kill(0));
    for (since, expected, commands) in [
        (world.now, vec![CANCELLING], vec![Command::Stop { agent: agent_of(1), of }]),
        (world.now.plus(Millis(1)), vec![], vec![]),
    ] {
        let repeated = repeat(&world.definition, &world.run, since, world.now.plus(SECOND));
        assert_eq!((again(&repeated), repeated.commands), (expected, commands));
    }
}

/// What was killed and may not fail fails its run, by name.
#[test]
fn a_run_names_what_was_killed() {
    let allowed = ActionSketch { allow_failure: true, ..ActionSketch::default() };
    let mut world = world(&Sketch::of(vec![ActionSketch::default(), ActionSketch::default(), allowed]));
    give(&mut world, &Input::Start);
    finish(&mut world, "a1", succeeded());
    for (name, action) in [("a2", 2), ("a0", 0)] {
        let of = newest(&world, name);
        started(&mut world, of);
        give(&mut world, &kill(action));
        finish(&mut world, name, windlass_domain::run::Outcome::Cancelled);
    }
    let error = world.run.error.as_ref().expect("it failed");
    assert_eq!((world.run.status, error.message.as_str()), (RunStatus::Failed, "failed: `a0` (killed)"));
}
