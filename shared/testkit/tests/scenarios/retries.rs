//! Retries: by policy and by hand.

use std::collections::BTreeSet;

use serde_json::json;
use windlass_domain::definition::Definition;
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::MAX_VALUE_DEPTH;
use windlass_domain::run::{ActionStatus, Change, Fact, Input, Origin, Outcome, Rejection, RunStatus, decide};
use windlass_domain::time::Millis;
use windlass_testkit::sketch::{NEVER_RETRIED, RETRIED, RetrySketch};
use windlass_testkit::world::{World, performs};

use crate::steps::{cancel, diamond, failed, finish, give, of_one, repeated, status, succeeded, times, wake, world};

/// Scenario 7, its first part.
#[test]
fn wrong_password_has_one_attempt() {
    let mut world = world(&of_one(RetrySketch { attempts: None, ..RetrySketch::limited(1) }));
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", failed(NEVER_RETRIED));
    assert_eq!((world.run.status, world.run.action(ActionIndex(0)).attempt()), (RunStatus::Failed, 1));
}

/// An output that no reader of records could read again is a failure, and another attempt would give the same.
#[test]
fn too_deep_output_fails_at_once() {
    let nested = |levels: usize| (0..levels).fold(json!("x"), |inner, _| json!([inner]));
    for (levels, expected) in [(MAX_VALUE_DEPTH, RunStatus::Succeeded), (MAX_VALUE_DEPTH + 1, RunStatus::Failed)] {
        let mut world = world(&of_one(RetrySketch { attempts: None, ..RetrySketch::limited(1) }));
        give(&mut world, &Input::Start);
        finish(&mut world, "a0", Outcome::Succeeded { output: nested(levels) });
        let state = world.run.action(ActionIndex(0));
        assert_eq!((world.run.status, state.attempt()), (expected, 1), "{levels} levels");
        let kind = state.error.as_ref().map(|error| error.kind.as_str());
        assert_eq!(kind, (expected == RunStatus::Failed).then_some("output.too_deep"));
    }
}

/// Fails the only action until it has ended; gives the delay before each next attempt.
fn fail_on(world: &mut World, most: usize) -> Vec<u64> {
    let mut delays = Vec::new();
    while delays.len() < most && !world.run.status.is_final() {
        finish(world, "a0", failed(RETRIED));
        let Some(due) = world.run.action(ActionIndex(0)).retry_at else { break };
        delays.push(due.since(world.now).0);
        world.now = due;
        let timer = wake("a0");
        give(world, &timer);
    }
    delays
}

/// Scenario 7, its second part, without jitter.
#[test]
fn connection_reset_is_retried_at_doubling_delays() {
    let mut world = world(&of_one(RetrySketch::limited(9)));
    give(&mut world, &Input::Start);
    let seconds: Vec<u64> = fail_on(&mut world, 20).iter().map(|ms| ms / 1000).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!((world.run.status, world.run.action(ActionIndex(0)).attempt()), (RunStatus::Failed, 9));
}

/// Scenario 7, its second part, with jitter: the delays are spread, and the same in each decision.
#[test]
fn jittered_schedule_is_bounded_and_repeatable() {
    let source = json!({ "task": "jitter", "actions": { "a0": {
        "native": { "handler": "test" },
        "retry": { "attempts": 9, "delay": "1s", "factor": 2, "max_delay": "1m", "jitter": "full" },
    } } });
    let schedule = |seed: &str| {
        let definition = Definition::from_source(&source).expect("valid");
        let mut world = World::new(definition, Origin::Request, seed);
        give(&mut world, &Input::Start);
        fail_on(&mut world, 20)
    };
    let caps = [1, 2, 4, 8, 16, 32, 60, 60].map(|seconds: u64| seconds * 1000);
    let delays = schedule("one");
    assert_eq!(delays.len(), caps.len());
    assert!(delays.iter().zip(caps).all(|(delay, cap)| *delay <= cap), "{delays:?}");
    assert_eq!(delays, schedule("one"), "the same run has the same schedule");
    assert_ne!(delays, schedule("two"), "another run has another");
}

/// Scenario 7, its third part.
#[test]
fn forever_survives_a_thousand_failures() {
    let mut world = world(&of_one(RetrySketch { attempts: None, ..RetrySketch::limited(1) }));
    give(&mut world, &Input::Start);
    assert_eq!(fail_on(&mut world, 1000).len(), 1000);
    finish(&mut world, "a0", succeeded());
    assert_eq!((world.run.status, world.run.action(ActionIndex(0)).attempt()), (RunStatus::Succeeded, 1001));
}

#[test]
fn retry_by_hand_starts_over_only_the_unsuccessful() {
    let mut world = world(&diamond());
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", succeeded());
    finish(&mut world, "a1", failed(RETRIED));
    finish(&mut world, "a2", succeeded());
    assert_eq!((world.run.status, status(&world, "a3")), (RunStatus::Failed, ActionStatus::Skipped));
    let decision = give(&mut world, &Input::Retry { retries: 0 });
    let sent: Vec<_> =
        performs(&decision.commands).iter().map(|sent| (sent.of.action, sent.of.attempt, sent.fence)).collect();
    assert_eq!(sent, [(ActionIndex(1), 2, 2)]);
    finish(&mut world, "a1", succeeded());
    finish(&mut world, "a3", succeeded());
    assert_eq!(world.run.status, RunStatus::Succeeded);
    assert_eq!(times(&world, "action.queued", Some("a2")), 1);
}

/// A request that is delivered again after the run was retried is not a request of this life of it.
#[test]
fn request_from_before_a_retry_changes_nothing() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", failed(NEVER_RETRIED));
    give(&mut world, &Input::Retry { retries: 0 });
    finish(&mut world, "a0", failed(NEVER_RETRIED));
    let late = give(&mut world, &Input::Retry { retries: 0 });
    assert_eq!((late.facts.len(), world.run.status, world.run.retries), (0, RunStatus::Failed, 1));

    give(&mut world, &Input::Retry { retries: 1 });
    for late in [cancel(0), cancel(1), Input::Retry { retries: 0 }] {
        let decision = give(&mut world, &late);
        assert!(decision.facts.is_empty() && decision.commands.is_empty(), "{late:?}: {decision:?}");
    }
    assert_eq!((world.run.status, world.run.retries), (RunStatus::Running, 2));
    for early in [cancel(3), Input::Retry { retries: 3 }] {
        assert_eq!(world.ask(&early).answer, Err(Rejection::Stale), "{early:?}");
    }
    give(&mut world, &cancel(2));
    assert_eq!(world.run.status, RunStatus::Cancelling);
}

const fn pause(pauses: u32, retries: u32) -> Input {
    Input::Pause { pauses, retries }
}

/// A queue may deliver a request twice, and hours later.
#[test]
fn pause_from_before_a_resume_changes_nothing() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    assert_eq!(world.ask(&pause(0, 0)).answer, Err(Rejection::RunStatus(RunStatus::Submitted)));
    give(&mut world, &Input::Start);
    give(&mut world, &pause(0, 0));
    let changes_nothing = |world: &mut World, late: &Input, expected: RunStatus| {
        let decision = give(world, late);
        assert!(decision.facts.is_empty() && decision.commands.is_empty(), "{late:?}: {decision:?}");
        assert_eq!(world.run.status, expected, "{late:?}");
    };
    changes_nothing(&mut world, &pause(0, 0), RunStatus::Paused);
    changes_nothing(&mut world, &Input::Resume { pauses: 0 }, RunStatus::Paused);
    give(&mut world, &Input::Resume { pauses: 1 });
    changes_nothing(&mut world, &pause(0, 0), RunStatus::Running);

    give(&mut world, &pause(1, 0));
    changes_nothing(&mut world, &Input::Resume { pauses: 1 }, RunStatus::Paused);
    for early in [pause(3, 0), pause(2, 1), Input::Resume { pauses: 3 }] {
        assert_eq!(world.ask(&early).answer, Err(Rejection::Stale), "{early:?}");
    }
    assert_eq!(times(&world, "run.paused", None), 2);
}

/// It ended while it was paused. The retry begins the run as a running one, and earlier requests are not of this life.
#[test]
fn request_before_a_retry_neither_pauses_nor_resumes() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    give(&mut world, &pause(0, 0));
    finish(&mut world, "a0", failed(NEVER_RETRIED));
    assert_eq!(world.ask(&Input::Resume { pauses: 1 }).answer, Err(Rejection::RunEnded));
    give(&mut world, &Input::Retry { retries: 0 });
    assert_eq!((world.run.status, world.run.pauses), (RunStatus::Running, 1));
    for late in [pause(0, 0), pause(1, 0), Input::Resume { pauses: 1 }] {
        let decision = give(&mut world, &late);
        assert!(decision.facts.is_empty(), "{late:?}: {decision:?}");
        let told: Vec<&str> = decision.again.iter().map(|event| event.kind.name()).collect();
        assert!(!told.contains(&"run.resumed"), "no caller has resumed it: {late:?}");
    }
    give(&mut world, &pause(1, 1));
    assert_eq!((world.run.status, world.run.pauses), (RunStatus::Paused, 2));
}

/// One commit may hold the end of a pause, the next one and its end. Each is an event of its own, also when it is published
/// again.
#[test]
fn each_pause_and_resume_keeps_its_id() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let [first, resumed] = [pause(0, 0), Input::Resume { pauses: 1 }].map(|input| {
        let decided = give(&mut world, &input).facts[0].clone();
        world.pass(Millis(5));
        let again = repeated(&world, &input).facts.into_iter().find(|fact| fact.kind == decided.kind);
        let id = |fact: &Fact| fact.kind.id(world.run.id, world.run.retries, fact.at);
        assert_eq!(again.as_ref().map(id), Some(id(&decided)), "{decided:?} is published again as {again:?}");
        id(&decided)
    });
    let (mut run, mut ids) = (world.run.clone(), BTreeSet::from([first, resumed]));
    for input in [pause(1, 0), Input::Resume { pauses: 2 }, pause(1, 0), pause(2, 0), Input::Resume { pauses: 3 }] {
        // Nothing is committed in between: one batch, decided at one instant.
        let change: Change = decide(&world.definition, &run, &input, &world.caller, world.now);
        assert_eq!(change.answer, Ok(()), "{input:?} is published by this very commit");
        run = change.after;
        ids.extend(change.facts.iter().map(|fact| fact.kind.id(run.id, run.retries, fact.at)));
    }
    assert_eq!((run.status, run.pauses, ids.len()), (RunStatus::Running, 3, 6));
}
