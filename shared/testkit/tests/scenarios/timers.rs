//! The effects of time alone, to the millisecond.

use serde_json::json;
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::{
    CLAIM_BELOW_MS, MAX_CHECKPOINT_BYTES, MAX_DELAY_MS, REISSUE_QUEUED_AFTER_MS, START_AGAIN_AFTER_MS, UNLEASED_MS,
};
use windlass_domain::run::{ActionStatus, Change, Command, FactKind, Input, Progress, RunStatus};
use windlass_domain::time::{Millis, Timestamp};
use windlass_testkit::sketch::{ActionSketch, RETRIED, RetrySketch, Sketch};
use windlass_testkit::world::{World, performs};

use crate::steps::{
    WAKE, begun, cancel, chain, failed, finish, give, kinds, of_one, started, state, status, succeeded, sweep, wake,
    world,
};

/// Its only action waits for a retry, which is due a second later.
fn retried() -> World {
    let mut world = begun(&Sketch { timeout: Some(Millis::from_secs(60)), ..of_one(RetrySketch::limited(3)) });
    finish(&mut world, "a0", failed(RETRIED));
    world
}

fn before(at: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_millis(at.as_millis() - by)
}

#[test]
fn queued_attempt_is_resent_at_doubling_marks() {
    let mut world = begun(&chain(1));
    let queued = world.now;
    for mark in [1, 2, 4, 8].map(|times| Millis(times * REISSUE_QUEUED_AFTER_MS)) {
        assert_eq!(world.run.wake_at, Some(queued.plus(mark)), "{mark:?}");
        world.now = before(queued.plus(mark), 1);
        assert_eq!(performs(&sweep(&mut world).commands).len(), 0, "before {mark:?}");
        world.pass(Millis(1));
        let change = sweep(&mut world);
        let issues: Vec<u64> = performs(&change.commands).iter().map(|sent| sent.issue).collect();
        assert_eq!((issues, kinds(&change.again)), (vec![1 + mark.0], vec!["action.queued"]), "at {mark:?}");
        assert_eq!(performs(&sweep(&mut world).commands).len(), 0, "a second sweep of that time");
    }
}

/// A mark of one action is not forgotten because the timer of another comes.
#[test]
fn timer_of_one_action_keeps_other_marks() {
    let retried = ActionSketch { retry: RetrySketch::limited(9), ..ActionSketch::default() };
    let mut world = begun(&Sketch::of(vec![ActionSketch::default(), retried]));
    world.pass(Millis(REISSUE_QUEUED_AFTER_MS - 500));
    finish(&mut world, "a1", failed(RETRIED));
    world.pass(Millis(1_000));
    give(&mut world, &wake("a1"));
    assert_eq!(status(&world, "a1"), ActionStatus::Queued);
    let sent = performs(&sweep(&mut world).commands);
    assert_eq!(sent.iter().map(|sent| sent.of.action).collect::<Vec<_>>(), [ActionIndex(0)]);
}

#[test]
fn sweep_begins_a_recorded_run() {
    let mut world = world(&chain(1));
    assert_eq!(world.run.wake_at, Some(world.now.plus(Millis(START_AGAIN_AFTER_MS))));
    world.pass(Millis(START_AGAIN_AFTER_MS));
    assert_eq!(performs(&sweep(&mut world).commands).len(), 1);
    assert_eq!(world.run.status, RunStatus::Running);
}

#[test]
fn early_timer_is_asked_for_again_if_near() {
    let due = retried().now.plus(Millis::from_secs(1));
    let woken = |early: i64| {
        let mut world = retried();
        world.now = before(due, early);
        give(&mut world, &wake("a0"))
    };
    let again = [Command::Wake { action: Some(ActionIndex(0)), at: due }];
    assert_eq!((woken(1).commands, woken(1000).commands), (again.to_vec(), again.to_vec()));
    assert_eq!(performs(&woken(0).commands).len(), 1);
    // The message of a timer that is further away is still under way.
    for (passed, expected) in [(58_000, 1), (57_999, 0)] {
        let mut world = begun(&Sketch { timeout: Some(Millis::from_secs(60)), ..chain(1) });
        world.pass(Millis(passed));
        assert_eq!(give(&mut world, &WAKE).commands.len(), expected, "{passed} ms");
    }
}

#[test]
fn wake_is_exact_after_a_timer() {
    let mut world = retried();
    let deadline = world.run.deadline;
    assert_eq!(world.run.wake_at, Some(world.now.plus(Millis::from_secs(1))));
    world.pass(Millis::from_secs(1));
    give(&mut world, &wake("a0"));
    assert_eq!((status(&world, "a0"), world.run.wake_at), (ActionStatus::Queued, deadline));
}

/// The index of due runs keeps a timer beyond the longest delay of a queue.
#[test]
fn timer_within_a_queues_delay_is_sent() {
    for (timeout, expected) in [(MAX_DELAY_MS, 1), (MAX_DELAY_MS + 1000, 0)] {
        let mut world = world(&Sketch { timeout: Some(Millis(timeout)), ..chain(1) });
        let change = give(&mut world, &Input::Start);
        let wakes = change.commands.iter().filter(|command| matches!(command, Command::Wake { .. })).count();
        assert_eq!((wakes, world.run.deadline), (expected, Some(world.now.plus(Millis(timeout)))));
    }
}

/// An agent may begin a fresh message without a look at the record, but not if the attempt's wait may be over by then.
#[test]
fn attempt_with_a_short_wait_must_be_claimed() {
    for (wait, issue) in [(CLAIM_BELOW_MS - 1, 1), (CLAIM_BELOW_MS, 0), (CLAIM_BELOW_MS + 1, 0)] {
        let waits = ActionSketch { queue_timeout: Some(Millis(wait)), ..ActionSketch::default() };
        let change = give(&mut world(&Sketch::of(vec![waits])), &Input::Start);
        assert_eq!(performs(&change.commands)[0].issue, issue, "{wait} ms");
    }
}

/// A process manager may have died before it published the retry. A timer of an earlier retry may come now.
#[test]
fn retry_that_time_begins_is_published_again() {
    for is_swept in [false, true] {
        let mut world = retried();
        world.pass(Millis(1000));
        let timer = wake("a0");
        let change = if is_swept { sweep(&mut world) } else { give(&mut world, &timer) };
        assert!(kinds(&change.again).contains(&"action.retrying"), "swept: {is_swept}");
    }
}

#[test]
fn untaken_attempt_says_why() {
    let waits = ActionSketch { queue_timeout: Some(Millis::from_secs(60)), ..ActionSketch::default() };
    for is_served in [true, false] {
        let mut world = begun(&Sketch::of(vec![waits.clone()]));
        let pool = world.definition.action(ActionIndex(0)).pool.clone();
        let (since, due) = (world.now, world.now.plus(Millis::from_secs(60)));
        if !is_served {
            give(&mut world, &Input::Unserved { pool, since });
        }
        world.now = due;
        give(&mut world, &wake("a0"));
        let error = state(&world, "a0").error.clone().expect("it failed");
        let expected = if is_served {
            format!("no agent took the attempt from the pool `default` until {due}")
        } else {
            format!("no agent has served the pool `default` since {since}; none took the attempt until {due}")
        };
        assert_eq!((error.kind.as_str(), error.message), ("timeout.queue", expected));
    }
}

/// Another agent may not come for a while after a drain. That costs the action no attempt.
#[test]
fn attempt_that_an_agent_has_had_waits_without_bound() {
    for is_handed_back in [true, false] {
        let waits = ActionSketch { queue_timeout: Some(Millis::from_secs(60)), ..ActionSketch::default() };
        let mut world = begun(&Sketch::of(vec![waits]));
        let of = started(&mut world, "a0");
        if is_handed_back {
            give(&mut world, &Input::HandedBack { of, kept: false, checkpoint: None });
        } else {
            world.pass(Millis(UNLEASED_MS));
            sweep(&mut world);
        }
        assert_eq!(state(&world, "a0").status, ActionStatus::Queued, "handed back: {is_handed_back}");
        world.pass(Millis::from_secs(300));
        give(&mut world, &wake("a0"));
        sweep(&mut world);
        assert_eq!(state(&world, "a0").status, ActionStatus::Queued, "handed back: {is_handed_back}");
    }
}

/// The agent refuses a checkpoint that is too large, and people who look at the action see that.
#[test]
fn refused_checkpoint_shows_in_the_progress() {
    let mut world = begun(&chain(1));
    let of = started(&mut world, "a0");
    let saved = |bytes: usize| Input::Progressed {
        of: of.clone(),
        number: 1,
        progress: Progress { percent: None, message: Some("half of it".to_owned()) },
        checkpoint: Some(json!("x".repeat(bytes - 2))),
    };
    let messages = |change: &Change| {
        let told = change.facts.iter().filter_map(|fact| {
            if let FactKind::ActionProgressed { progress, .. } = &fact.kind { progress.message.clone() } else { None }
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(messages(&world.ask(&saved(MAX_CHECKPOINT_BYTES))), ["half of it"]);
    let refused = messages(&world.ask(&saved(MAX_CHECKPOINT_BYTES + 1)));
    assert!(refused[0].starts_with("the checkpoint was refused: it has 8193 bytes"), "{refused:?}");
}

/// A cancelled run looks at its agent once a grace, and sends it another Stop; the fourth look ends the run by force.
#[test]
fn cancelled_run_is_looked_at_once_a_grace() {
    let mut world = begun(&chain(1));
    started(&mut world, "a0");
    let since = world.now;
    give(&mut world, &cancel(0));
    for round in 1..=4 {
        let next = since.plus(Millis(30_000 * round));
        assert_eq!((world.run.status, world.run.wake_at), (RunStatus::Cancelling, Some(next)));
        world.now = next;
        give(&mut world, &WAKE);
    }
    assert_eq!((world.run.status, world.run.wake_at), (RunStatus::Cancelled, None));
}

#[test]
fn success_ends_a_run_before_its_deadline() {
    let mut world = begun(&Sketch { timeout: Some(Millis::from_secs(60)), ..chain(1) });
    finish(&mut world, "a0", succeeded());
    assert_eq!((world.run.status, world.run.wake_at), (RunStatus::Succeeded, None));
}
