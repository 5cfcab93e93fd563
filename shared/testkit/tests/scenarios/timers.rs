//! What time alone does, to the millisecond.

use serde_json::json;
use windlass_domain::decide::{Command, Decision};
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::{
    CLAIM_BELOW_MS, MAX_CHECKPOINT_BYTES, MAX_DELAY_MS, REISSUE_QUEUED_AFTER_MS, RESTART_AFTER_MS,
};
use windlass_domain::run::{ActionStatus, CancelCause, EventKind, Input, Progress, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::sketch::{ActionSketch, RETRIED, RetrySketch, Sketch};
use windlass_testkit::world::{World, performs};

use crate::steps::{chain, failed, finish, give, newest, of_one, started, status, succeeded, world};

fn begun(sketch: &Sketch) -> World {
    let mut world = world(sketch);
    give(&mut world, &Input::Start);
    world
}

/// Its only action waits for a retry, which is due a second later.
fn retried() -> World {
    let mut world = begun(&Sketch { timeout: Some(Millis::from_secs(60)), ..of_one(RetrySketch::limited(3)) });
    finish(&mut world, "a0", failed(RETRIED));
    world
}

/// Sweeps when so much has passed, if the last look was then; tells how many attempts are sent again.
fn swept(world: &World, last: u64, passed: u64) -> usize {
    let (mut later, queued) = (World::new(world.definition.clone(), world.run.origin.clone(), "swept"), world.now);
    later.run = world.run.clone();
    later.now = queued.plus(Millis(passed));
    performs(&give(&mut later, &Input::Sweep { since: queued.plus(Millis(last)) })).len()
}

/// At each mark once: a look that ends at a mark sends, the one that begins there does not.
#[test]
fn what_may_be_lost_is_sent_again_at_doubling_marks() {
    let mut heard_of = begun(&chain(2));
    heard_of.pass(Millis(1));
    finish(&mut heard_of, "a0", succeeded());
    for (world, first) in [(begun(&chain(2)), RESTART_AFTER_MS), (heard_of, REISSUE_QUEUED_AFTER_MS)] {
        for mark in [first, 2 * first, 4 * first] {
            assert_eq!(swept(&world, mark - 2, mark - 1), 0, "before {mark}");
            assert_eq!(swept(&world, mark - 1, mark), 1, "at {mark}");
            assert_eq!(swept(&world, mark, mark + 1), 0, "after {mark}");
        }
        assert_eq!(swept(&world, 0, 8 * first), 1, "several marks at once");
    }
}

/// Whoever recorded the start may have died before it told of it; once an agent has been heard of, it has not.
#[test]
fn a_start_of_which_nothing_was_heard_is_told_again() {
    let told = |world: &mut World| {
        let since = world.now;
        world.pass(Millis(RESTART_AFTER_MS));
        let decision = give(world, &Input::Sweep { since });
        let told: Vec<_> = decision.again.iter().map(|event| event.kind.name()).collect();
        (told, performs(&decision).len())
    };
    let two = Sketch::of(vec![ActionSketch::default(); 2]);
    assert_eq!(told(&mut begun(&two)), (vec!["action.queued", "action.queued", "run.started"], 2));
    let mut heard_of = begun(&two);
    let of = newest(&heard_of, "a0");
    started(&mut heard_of, of);
    assert_eq!(told(&mut heard_of), (vec![], 1));
}

#[test]
fn a_wake_that_is_early_is_asked_for_again_if_it_is_near() {
    let due = retried().now.plus(Millis::from_secs(1));
    let woken = |early: u64| {
        let mut world = retried();
        world.now = windlass_domain::time::Timestamp::from_millis(due.as_millis() - i64::try_from(early).expect("few"));
        give(&mut world, &Input::Wake)
    };
    assert_eq!(woken(1).commands, [Command::Wake { at: due }]);
    assert_eq!(woken(1000).commands, [Command::Wake { at: due }]);
    assert_eq!(performs(&woken(0)).len(), 1);
    // The message of a wake that is further away is still under way.
    let mut deadline = begun(&Sketch { timeout: Some(Millis::from_secs(60)), ..chain(1) });
    let at = deadline.now.plus(Millis::from_secs(60));
    deadline.pass(Millis(58_000));
    assert_eq!(give(&mut deadline, &Input::Wake).commands, [Command::Wake { at }]);
    let mut further = begun(&Sketch { timeout: Some(Millis::from_secs(60)), ..chain(1) });
    further.pass(Millis(57_999));
    assert_eq!(give(&mut further, &Input::Wake).commands, []);
}

#[test]
fn after_a_wake_the_next_is_exact() {
    let mut world = retried();
    let deadline = world.run.deadline;
    assert_eq!(world.run.wake_at, Some(world.now.plus(Millis::from_secs(1))));
    world.pass(Millis::from_secs(1));
    give(&mut world, &Input::Wake);
    assert_eq!(status(&world, "a0"), ActionStatus::Queued);
    assert_eq!(world.run.wake_at, deadline);
}

/// What is further away than a queue can delay is left to the index of due runs.
#[test]
fn a_wake_is_sent_for_what_a_queue_can_delay() {
    for (timeout, expected) in [(MAX_DELAY_MS, 1), (MAX_DELAY_MS + 1000, 0)] {
        let mut world = world(&Sketch { timeout: Some(Millis(timeout)), ..chain(1) });
        let decision = give(&mut world, &Input::Start);
        let wakes = decision.commands.iter().filter(|command| matches!(command, Command::Wake { .. })).count();
        assert_eq!((wakes, world.run.wake_at), (expected, Some(world.now.plus(Millis(timeout)))));
    }
}

/// An agent may begin what it gets without a look at the record, but for an attempt whose wait may be over by then.
#[test]
fn an_attempt_that_waits_for_a_short_time_only_is_claimed() {
    for (wait, is_claimed) in [(CLAIM_BELOW_MS - 1, true), (CLAIM_BELOW_MS, false), (CLAIM_BELOW_MS + 1, false)] {
        let waits = ActionSketch { queue_timeout: Some(Millis(wait)), ..ActionSketch::default() };
        let decision = give(&mut world(&Sketch::of(vec![waits])), &Input::Start);
        assert_eq!(performs(&decision)[0].claim, is_claimed, "{wait} ms");
    }
}

/// Its own wake was not sent, so what decided it may not have been told either.
#[test]
fn a_retry_that_is_begun_late_is_told_again() {
    for (late, expected) in [(4_999, 0), (5_000, 1)] {
        let mut world = retried();
        world.pass(Millis(1000 + late));
        let decision = give(&mut world, &Input::Wake);
        assert_eq!(decision.again.iter().filter(|event| event.kind.name() == "action.retrying").count(), expected);
    }
}

#[test]
fn an_attempt_that_nobody_took_says_so() {
    let waits = ActionSketch { queue_timeout: Some(Millis::from_secs(60)), ..ActionSketch::default() };
    for is_served in [true, false] {
        let mut world = begun(&Sketch::of(vec![waits.clone()]));
        let pool = world.definition.action(ActionIndex(0)).pool.clone();
        let (since, due) = (world.now, world.now.plus(Millis::from_secs(60)));
        if !is_served {
            give(&mut world, &Input::Unserved { pool, since });
        }
        world.now = due;
        give(&mut world, &Input::Wake);
        let error = world.run.action(ActionIndex(0)).error.clone().expect("it failed");
        let expected = if is_served {
            format!("no agent took the attempt from the pool `default` until {due}")
        } else {
            format!("no agent has served the pool `default` since {since}; nobody took the attempt until {due}")
        };
        assert_eq!((error.kind.as_str(), error.message), ("timeout.queue", expected));
    }
}

/// A checkpoint that is too large is refused where it was saved, and whoever looks at the action is told.
#[test]
fn a_checkpoint_that_is_refused_says_so_in_the_progress() {
    let mut world = begun(&chain(1));
    let of = newest(&world, "a0");
    started(&mut world, of);
    let saved = |bytes: usize| Input::Progressed {
        of,
        number: 1,
        progress: Progress { percent: None, message: Some("half of it".to_owned()) },
        checkpoint: Some(json!("x".repeat(bytes - 2))),
    };
    let messages = |decision: &Decision| {
        let told = decision.events.iter().filter_map(|event| {
            if let EventKind::ActionProgressed { progress, .. } = &event.kind { progress.message.clone() } else { None }
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(messages(&world.ask(&saved(MAX_CHECKPOINT_BYTES)).expect("accepted")), ["half of it"]);
    let refused = messages(&world.ask(&saved(MAX_CHECKPOINT_BYTES + 1)).expect("accepted"));
    assert!(refused[0].starts_with("the checkpoint was refused: it has 8193 bytes"), "{refused:?}");
}

/// As long as it waits for what was begun: it is told to stop once a grace, and forced to end at the fourth.
#[test]
fn a_cancelled_run_is_looked_at_once_a_grace() {
    let mut world = begun(&chain(1));
    let of = newest(&world, "a0");
    started(&mut world, of);
    let since = world.now;
    let cancel = Input::Cancel { reason: "enough".to_owned(), cause: CancelCause::Request, retries: 0 };
    give(&mut world, &cancel);
    for round in 1..=4 {
        assert_eq!(
            (world.run.status, world.run.wake_at),
            (RunStatus::Cancelling, Some(since.plus(Millis(30_000 * round))))
        );
        world.now = since.plus(Millis(30_000 * round));
        give(&mut world, &Input::Wake);
    }
    assert_eq!((world.run.status, world.run.wake_at), (RunStatus::Cancelled, None));
}
