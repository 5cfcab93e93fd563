//! A record's answers to people: its failures, and its history.

use windlass_domain::history::history;
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::{CANCEL_GRACE_MS, TIMEOUT_MARGIN_MS};
use windlass_domain::run::{Command, Input, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::sketch::{ActionSketch, RETRIED, Sketch};
use windlass_testkit::world::World;

use crate::steps::{
    begun, cancel, chain, counting, diamond, failed, finish, give, hand_back, started, succeeded, sweep, world,
};

/// The record's history, in its order: the kind of each fact, and its action.
fn told(world: &World) -> Vec<String> {
    let placed = history(&world.definition, &world.run);
    assert!(placed.is_sorted_by(|one, next| one.place < next.place), "{placed:#?}");
    let kinds = placed.iter().map(|placed| {
        let about = placed.fact.kind.about().map(|of| format!(" {}", world.definition.action(of.action).name));
        format!("{}{}", placed.fact.kind.name(), about.unwrap_or_default())
    });
    kinds.collect()
}

#[test]
fn history_is_in_the_order_of_commits() {
    let mut world = begun(&diamond());
    for name in ["a0", "a2", "a1", "a3"] {
        finish(&mut world, name, succeeded());
    }
    let of = |name: &str| ["queued", "started", "succeeded"].map(|kind| format!("action.{kind} {name}"));
    let actions = [of("a0"), of("a2"), of("a1"), of("a3")].concat();
    let expected = [&["run.started".to_owned()][..], &actions[..], &["run.succeeded".to_owned()][..]].concat();
    assert_eq!(told(&world), expected);
}

#[test]
fn history_shows_end_after_cancellation() {
    let mut world = begun(&Sketch::of(vec![ActionSketch::default(), ActionSketch::default()]));
    give(&mut world, &cancel(0));
    let back = hand_back(&counting(&world, "a0"));
    give(&mut world, &back);
    let expected = [
        "run.started",
        "action.queued a1",
        "run.cancelling",
        "action.queued a0",
        "action.started a0",
        "action.cancelled a0",
    ];
    assert_eq!(told(&world), expected);
}

#[test]
fn history_shows_unserved_pool_after_queueing() {
    let mut world = begun(&diamond());
    finish(&mut world, "a0", succeeded());
    let (pool, since) = (world.definition.action(ActionIndex(1)).pool.clone(), world.now);
    world.pass(Millis::from_secs(60));
    give(&mut world, &Input::Unserved { pool, since });
    let before = told(&world);
    let expected = ["action.queued a1", "action.queued a2", "action.unserved a1", "action.unserved a2"];
    assert_eq!(before[before.len() - 4..], expected);
    finish(&mut world, "a1", succeeded());
    let after = told(&world);
    let expected = ["action.unserved a2", "action.queued a1", "action.started a1", "action.succeeded a1"];
    assert_eq!(after[after.len() - 4..], expected);
}

#[test]
fn facts_of_one_action_stand_together() {
    let timed = ActionSketch { timeout: Some(Millis::from_secs(60)), ..ActionSketch::default() };
    let mut late = begun(&Sketch::of(vec![timed.clone(), timed.clone(), timed]));
    for name in ["a0", "a1", "a2"] {
        started(&mut late, name);
    }
    late.pass(Millis(60_000 + TIMEOUT_MARGIN_MS));
    sweep(&mut late);
    let of = |name: &str| ["queued", "started", "timed_out"].map(|kind| format!("action.{kind} {name}"));
    let actions = [of("a0"), of("a1"), of("a2")].concat();
    let expected = [&["run.started".to_owned()][..], &actions[..], &["run.failed".to_owned()][..]].concat();
    assert_eq!(told(&late), expected);
}

/// The first few, and how many more. An action that was allowed to fail is not among them.
#[test]
fn failed_run_names_what_failed_it() {
    for (count, expected) in [
        (1, "failed: `a1` (network.reset)"),
        (3, "failed: `a1` (network.reset), `a2` (network.reset), `a3` (network.reset)"),
        (5, "failed: `a1` (network.reset), `a2` (network.reset), `a3` (network.reset) and 2 more"),
    ] {
        let mut actions = vec![ActionSketch::default(); count + 1];
        actions[0].allow_failure = true;
        let mut world = begun(&Sketch::of(actions));
        for at in 0..=count {
            finish(&mut world, &format!("a{at}"), failed(RETRIED));
        }
        let error = world.run.error.as_ref().expect("it failed");
        assert_eq!((error.kind.as_str(), error.message.as_str()), ("action.failed", expected));
    }
}

#[test]
fn cancellation_is_looked_at_again_after_the_grace() {
    let mut waiting = begun(&chain(2));
    let grace = waiting.now.plus(Millis(CANCEL_GRACE_MS));
    let commands = give(&mut waiting, &cancel(0)).commands;
    assert_eq!(commands, [Command::Wake { action: None, at: grace }]);
    assert_eq!((waiting.run.status, waiting.run.wake_at), (RunStatus::Cancelling, Some(grace)));
    let mut ended = world(&chain(2));
    assert_eq!(give(&mut ended, &cancel(0)).commands, []);
    assert_eq!((ended.run.status, ended.run.wake_at), (RunStatus::Cancelled, None));
}
