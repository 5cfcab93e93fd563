//! What a record tells people: of its failures, and of what has happened to it.

use windlass_domain::decide::{Command, decide, history};
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::{CANCEL_GRACE_MS, MAX_LOSSES, TIMEOUT_MARGIN_MS};
use windlass_domain::run::{CancelCause, Input, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{ActionSketch, RETRIED, Sketch};
use windlass_testkit::world::World;

use crate::steps::{chain, diamond, failed, finish, give, newest, started, succeeded, world};

/// The record's history, in its order: the kind of each event, and its action.
fn told(world: &World) -> Vec<String> {
    let placed = history(&world.definition, &world.run);
    assert!(placed.is_sorted_by(|one, next| one.place < next.place), "{placed:#?}");
    let kinds = placed.iter().map(|placed| {
        let about = placed.event.kind.about().map(|of| format!(" {}", world.definition.action(of.action).name));
        format!("{}{}", placed.event.kind.name(), about.unwrap_or_default())
    });
    kinds.collect()
}

fn cancelled(world: &mut World) -> Vec<Command> {
    let cancel = Input::Cancel { reason: "enough".to_owned(), cause: CancelCause::Request, retries: 0 };
    give(world, &cancel).commands
}

/// Whatever comes later, whichever action it is of, is told later.
#[test]
fn a_history_is_in_the_order_of_the_commits() {
    let mut world = world(&diamond());
    give(&mut world, &Input::Start);
    for name in ["a0", "a2", "a1", "a3"] {
        finish(&mut world, name, succeeded());
    }
    let of = |name: &str| ["queued", "started", "succeeded"].map(|kind| format!("action.{kind} {name}"));
    let actions = [of("a0"), of("a2"), of("a1"), of("a3")].concat();
    let expected = [&["run.started".to_owned()][..], &actions[..], &["run.succeeded".to_owned()][..]].concat();
    assert_eq!(told(&world), expected);
}

#[test]
fn what_follows_a_cancellation_is_told_after_it() {
    let mut world = world(&Sketch::of(vec![ActionSketch::default(), ActionSketch::default()]));
    give(&mut world, &Input::Start);
    cancelled(&mut world);
    let back = Input::HandedBack { of: newest(&world, "a0"), agent: agent_of(1), copy: 0, checkpoint: None };
    give(&mut world, &back);
    let expected = ["run.started", "action.queued a1", "run.cancelling", "action.queued a0", "action.cancelled a0"];
    assert_eq!(told(&world), expected);
}

#[test]
fn that_nobody_serves_a_pool_is_told_after_what_was_queued_there() {
    let mut world = world(&diamond());
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", succeeded());
    let pool = world.definition.action(ActionIndex(1)).pool.clone();
    let since = world.now;
    world.pass(Millis::from_secs(60));
    give(&mut world, &Input::Unserved { pool, since });
    let before = told(&world);
    assert_eq!(
        before[before.len() - 4..],
        ["action.queued a1", "action.queued a2", "action.unserved a1", "action.unserved a2"]
    );
    finish(&mut world, "a1", succeeded());
    let after = told(&world);
    assert_eq!(
        after[after.len() - 4..],
        ["action.unserved a2", "action.queued a1", "action.started a1", "action.succeeded a1"]
    );
}

/// Several that one commit changed come one after the other, each with all that is known of it.
#[test]
fn what_one_commit_says_of_an_action_stands_together() {
    let timed = ActionSketch { timeout: Some(Millis::from_secs(60)), ..ActionSketch::default() };
    let mut late = world(&Sketch::of(vec![timed.clone(), timed.clone(), timed]));
    give(&mut late, &Input::Start);
    for name in ["a0", "a1", "a2"] {
        let of = newest(&late, name);
        started(&mut late, of);
    }
    late.pass(Millis(60_000 + TIMEOUT_MARGIN_MS));
    give(&mut late, &Input::Wake);
    let of = |name: &str| ["queued", "started", "timed_out"].map(|kind| format!("action.{kind} {name}"));
    let actions = [of("a0"), of("a1"), of("a2")].concat();
    let expected = [&["run.started".to_owned()][..], &actions[..], &["run.failed".to_owned()][..]].concat();
    assert_eq!(told(&late), expected);
}

/// Inputs of one batch are decided one after the other, and committed together.
#[test]
fn that_nobody_serves_a_pool_may_be_said_by_the_commit_that_queued() {
    let mut world = world(&Sketch::of(vec![ActionSketch::default(); 3]));
    let queued = world.ask(&Input::Start).expect("accepted");
    let (pool, since) = (world.definition.action(ActionIndex(0)).pool.clone(), world.now);
    let unserved = decide(&world.definition, &queued.run, &Input::Unserved { pool, since }, world.now);
    world.run = unserved.expect("accepted").run;
    world.run.revision += 1;
    let of = |name: &str| ["queued", "unserved"].map(|kind| format!("action.{kind} {name}"));
    let expected = [&["run.started".to_owned()][..], &of("a0"), &of("a1"), &of("a2")].concat();
    assert_eq!(told(&world), expected);
}

/// The first few, and how many more; what was allowed to fail is not among them.
#[test]
fn a_failed_run_names_what_failed_it() {
    for (count, expected) in [
        (1, "failed: `a1` (network.reset)"),
        (3, "failed: `a1` (network.reset), `a2` (network.reset), `a3` (network.reset)"),
        (5, "failed: `a1` (network.reset), `a2` (network.reset), `a3` (network.reset) and 2 more"),
    ] {
        let mut actions = vec![ActionSketch::default(); count + 1];
        actions[0].allow_failure = true;
        let mut world = world(&Sketch::of(actions));
        give(&mut world, &Input::Start);
        for at in 0..=count {
            finish(&mut world, &format!("a{at}"), failed(RETRIED));
        }
        let error = world.run.error.as_ref().expect("it failed");
        assert_eq!((error.kind.as_str(), error.message.as_str()), ("action.failed", expected));
    }
}

/// A cancelled run looks again when the grace of what is queued is over; one that waits for nothing has ended.
#[test]
fn a_cancellation_is_looked_at_again_after_the_grace() {
    let mut waiting = world(&chain(2));
    give(&mut waiting, &Input::Start);
    let grace = waiting.now.plus(Millis(CANCEL_GRACE_MS));
    assert_eq!(cancelled(&mut waiting), [Command::Wake { at: grace }]);
    assert_eq!((waiting.run.status, waiting.run.wake_at), (RunStatus::Cancelling, Some(grace)));
    let mut ended = world(&chain(2));
    assert_eq!(cancelled(&mut ended), []);
    assert_eq!((ended.run.status, ended.run.wake_at), (RunStatus::Cancelled, None));
}

/// It fails with the number of agents that it cost, and the name of the last.
#[test]
fn a_poison_says_whom_it_cost() {
    let mut world = world(&chain(1));
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    for (number, received) in (1..=MAX_LOSSES).zip(2..) {
        assert_eq!(world.run.status, RunStatus::Running, "{number}");
        let agent = agent_of(u8::try_from(number + 1).expect("few"));
        let claim = Input::Claim { of: newest(&world, "a0"), agent, received, copy: 0, again: false };
        give(&mut world, &claim);
    }
    let error = world.run.action(ActionIndex(0)).error.clone().expect("it failed");
    let message = "5 agents were lost one after the other while they performed it; the last one was `agent-5`";
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("poison", message));
    assert_eq!(world.run.status, RunStatus::Failed);
}
