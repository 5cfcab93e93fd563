//! A crash before and after each call, followed by a redelivery, ends as it would have without the crash.

use std::time::Duration;

use serde_json::json;
use windlass_domain::ids::RunId;
use windlass_domain::run::Run;
use windlass_domain::time::Millis;
use windlass_engine::ports::TaskRecord;
use windlass_engine::sweeper::Sweeper;
use windlass_testkit::faults::{FaultyHost, Moment};

use super::world::{World, at, source, task};

/// The state that a life of a task leaves: repeats of messages and events do not count.
#[derive(Debug, PartialEq)]
struct End {
    record: TaskRecord,
    runs: Vec<Option<Run>>,
    starts: Vec<i64>,
    cancels: Vec<i64>,
    told: Vec<(String, String)>,
}

async fn end_of(world: &World) -> End {
    let (starts, cancels) = (world.starts(), world.cancels());
    let mut runs = Vec::new();
    for minute in 0..6 {
        runs.push(world.ports.runs.load(&RunId::from_nominal_time(&task(), at(minute))).await.unwrap());
    }
    End { record: world.record().await, runs, starts, cancels, told: world.told() }
}

/// Messages, and between them the end of the run of a minute.
#[derive(Clone, Copy)]
enum Act {
    Due(i64),
    Next,
    End(i64),
}

/// Plays the acts; the message of number `crash.0` is first handled by a process that dies.
async fn play(overlap: &str, acts: &[Act], crash: Option<(usize, usize, Moment)>) -> (End, usize) {
    let world = World::new(&source(overlap, "1h")).await;
    let mut calls = 0;
    for (number, act) in acts.iter().enumerate() {
        let message = match act {
            Act::Due(minute) => Some(*minute),
            Act::Next => None,
            Act::End(minute) => {
                world.end(*minute).await;
                continue;
            }
        };
        if let Some((message_number, call, moment)) = crash
            && message_number == number
        {
            let dying = FaultyHost::crashing(world.ports.clone(), call, moment);
            let handled = world.handle_on(&dying.ports(), message).await;
            calls = dying.calls();
            assert!(handled.is_err() || calls <= call + 1, "a dead process reports no success");
        }
        world.handle(message).await;
    }
    (end_of(&world).await, calls)
}

async fn check(overlap: &str, acts: &[Act]) {
    let (expected, _) = play(overlap, acts, None).await;
    for message in 0..acts.len() {
        for moment in [Moment::Before, Moment::After] {
            for call in 0.. {
                let (end, calls) = play(overlap, acts, Some((message, call, moment))).await;
                assert_eq!(end, expected, "{overlap}: crash {moment:?} call {call} of message {message}");
                if calls <= call {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn crash_at_any_call_costs_only_a_repeat() {
    use Act::{Due, End, Next};
    let life = [Due(1), Due(2), Due(3), Due(2), End(1), Next, Due(4), Due(3)];
    for overlap in ["skip", "queue", "allow", "cancel_previous"] {
        check(overlap, &life).await;
    }
}

#[tokio::test(start_paused = true)]
async fn crash_while_active_run_ends_loses_no_turn() {
    let acts = [Act::Due(1), Act::Due(2), Act::End(1), Act::Due(2), Act::Next, Act::End(2), Act::Due(3)];
    for overlap in ["queue", "cancel_previous"] {
        check(overlap, &acts).await;
    }
}

/// The attempts to perform for the run of a due time, after a crash at that call. A small run begins at once; the
/// process manager begins a large one.
async fn performable_after(actions: usize, redelivered: bool, call: usize, moment: Moment) -> (Vec<i64>, bool, usize) {
    let mut source = source("skip", "1h");
    for n in 1..actions {
        source["actions"][format!("after{n}")] = json!({ "needs": "only", "exec": ["true"] });
    }
    let world = World::new(&source).await;
    let dying = FaultyHost::crashing(world.ports.clone(), call, moment);
    let _ = world.handle_on(&dying.ports(), Some(1)).await;
    if redelivered {
        world.host.advance(Millis::from_secs(30));
        world.handle(Some(1)).await;
        // The start message resends the attempts of a run without a report when the run is a minute old.
        world.host.advance(Millis::from_secs(30));
        world.manage().await;
    }
    let sweeper = Sweeper::new(world.ports.clone(), Duration::from_secs(1));
    // An attempt that was never sent has its first mark after ten minutes.
    for _ in 0..if redelivered { 0 } else { 11 } {
        world.host.advance(Millis::from_secs(60));
        sweeper.round(world.ports.clock.now()).await.unwrap();
        world.manage().await;
    }
    (world.performable(), world.run(1).await.is_some(), dying.calls())
}

#[tokio::test(start_paused = true)]
async fn crash_at_any_call_leaves_run_performable() {
    for (actions, redelivered) in [(1, true), (65, true), (1, false), (65, false)] {
        for moment in [Moment::Before, Moment::After] {
            for call in 0.. {
                let case = format!("{actions} actions, redelivered: {redelivered}, {moment:?} call {call}");
                let (performable, recorded, calls) = performable_after(actions, redelivered, call, moment).await;
                assert!(recorded || !redelivered, "{case}: the due time is lost");
                assert_eq!(performable, if recorded { vec![1] } else { vec![] }, "{case}");
                if calls <= call {
                    break;
                }
            }
        }
    }
}
