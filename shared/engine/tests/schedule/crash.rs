//! A crash before and after each call, followed by a redelivery, ends as it would have without the crash.

use windlass_domain::ids::RunId;
use windlass_domain::run::Run;
use windlass_engine::ports::TaskRecord;
use windlass_testkit::faults::{FaultyHost, Moment};

use super::world::{World, at, source, task};

/// What a life of a task leaves: repeats of messages and events do not count.
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
        runs.push(world.ports.runs.load(RunId::from_nominal_time(&task(), at(minute))).await.unwrap());
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
async fn a_crash_at_any_call_costs_a_repeat_and_nothing_else() {
    use Act::{Due, End, Next};
    let life = [Due(1), Due(2), Due(3), Due(2), End(1), Next, Due(4), Due(3)];
    for overlap in ["skip", "queue", "allow", "cancel_previous"] {
        check(overlap, &life).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_the_active_run_ends_loses_nobody() {
    let acts = [Act::Due(1), Act::Due(2), Act::End(1), Act::Due(2), Act::Next, Act::End(2), Act::Due(3)];
    for overlap in ["queue", "cancel_previous"] {
        check(overlap, &acts).await;
    }
}
