//! The way of a due time, message by message.

use std::sync::Arc;

use serde_json::json;
use windlass_domain::content::Place;
use windlass_domain::run::{Origin, RunStatus};
use windlass_domain::schedule::TaskInput;
use windlass_domain::time::Millis;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{RunFilter, TaskRecord};
use windlass_engine::settle::{Settled, advance};
use windlass_engine::subject::{Engine, Given};
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::memory::MemoryHost;

use super::world::{START, World, at, source, task};

#[tokio::test(start_paused = true)]
async fn due_time_starts_run_with_input_defaults() {
    let world = World::new(&source("skip", "1h")).await;
    world.handle(Some(1)).await;
    let run = world.run(1).await.unwrap();
    assert_eq!((run.status, run.version, run.submitted_at), (RunStatus::Running, 1, START));
    assert_eq!(run.origin, Origin::Schedule { nominal: at(1) });
    assert_eq!(run.value(Place::Input), Some(&json!({ "day": "today" })));
    assert_eq!((world.starts(), world.record().await.active), (vec![1], Some(at(1))));
}

/// Any one call of a due time may be made twice, because its first answer was lost. The messages of its start are sent
/// all the same.
#[tokio::test(start_paused = true)]
async fn due_time_starts_though_call_repeats() {
    for call in 0.. {
        let world = World::new(&source("skip", "1h")).await;
        let host = FaultyHost::failing(world.ports.clone(), call, Moment::Twice);
        world.handle_on(&host.ports(), Some(1)).await.unwrap();
        assert_eq!(world.starts(), vec![1], "call {call}");
        if host.calls() <= call {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_due_time_delivered_twice_is_one_run() {
    let world = World::new(&source("skip", "1h")).await;
    world.handle(Some(1)).await;
    world.handle(Some(1)).await;
    world.begin(1).await;
    world.handle(Some(1)).await;
    world.end(1).await;
    world.handle(Some(1)).await;
    assert_eq!(world.starts(), [1]);
    assert_eq!(world.record().await.revision, 2);
}

/// The message of the end comes twice before an agent reports the next run. Its start is sent again, but only after a
/// minute.
#[tokio::test(start_paused = true)]
async fn waiting_due_time_is_sent_once() {
    let world = World::new(&source("queue", "1h")).await;
    world.handle(Some(1)).await;
    world.begin(1).await;
    world.handle(Some(2)).await;
    world.end(1).await;
    world.handle(None).await;
    assert_eq!(world.starts(), [1, 2]);
    world.handle(None).await;
    world.manage().await;
    assert_eq!(world.sent(2), [false]);
    // No agent reports the attempt, so its message may be lost. An agent must claim the attempt that is sent beside it.
    world.host.advance(Millis::from_secs(60));
    world.manage().await;
    let sent = world.sent(2);
    assert!(
        matches!(&sent[..], [false, further @ ..] if further.contains(&true) && !further.contains(&false)),
        "{sent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn skip_passes_over_and_stays_by_it() {
    let world = World::new(&source("skip", "1h")).await;
    world.handle(Some(1)).await;
    world.begin(1).await;
    world.handle(Some(2)).await;
    assert!(world.run(2).await.is_none());
    world.end(1).await;
    world.handle(None).await;
    world.handle(Some(2)).await;
    assert!(world.run(2).await.is_none(), "it was told that it was passed over");
    assert_eq!(world.told(), [("schedule.skipped".to_owned(), "10:02".to_owned())]);
    world.handle(Some(3)).await;
    assert_eq!(world.starts(), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn queue_gives_each_its_turn_in_order() {
    let world = World::new(&source("queue", "1h")).await;
    for minute in [1, 3, 2, 3] {
        world.handle(Some(minute)).await;
    }
    assert_eq!(world.record().await.waiting, [at(2), at(3)]);
    world.handle(None).await;
    assert_eq!(world.starts(), [1], "nothing has ended");
    for minute in [1, 2] {
        world.end(minute).await;
        world.handle(None).await;
    }
    assert_eq!(world.starts(), [1, 2, 3]);
    assert_eq!((world.record().await.waiting, world.told()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn next_due_time_starts_the_waiting_one() {
    let world = World::new(&source("queue", "1h")).await;
    world.handle(Some(1)).await;
    world.handle(Some(2)).await;
    world.end(1).await;
    world.handle(Some(3)).await;
    assert_eq!((world.starts(), world.record().await.waiting), (vec![1, 2], vec![at(3)]));
}

#[tokio::test(start_paused = true)]
async fn allow_runs_beside() {
    let world = World::new(&source("allow", "1h")).await;
    for minute in [1, 2, 2] {
        world.handle(Some(minute)).await;
    }
    world.begin(2).await;
    assert_eq!(world.starts(), [1, 2]);
    assert_eq!(world.record().await.revision, 1, "nobody waits for a turn, so nothing is written about it");
}

#[tokio::test(start_paused = true)]
async fn cancel_previous_cancels_and_waits_for_the_end() {
    let world = World::new(&source("cancel_previous", "1h")).await;
    world.handle(Some(1)).await;
    world.begin(1).await;
    world.handle(Some(2)).await;
    assert_eq!((world.cancels(), world.starts()), (vec![1], vec![1]));
    world.handle(Some(3)).await;
    assert_eq!(world.record().await.waiting, [at(3)]);
    assert_eq!(world.told(), [("schedule.skipped".to_owned(), "10:02".to_owned())], "the newest one matters");
    world.end(1).await;
    world.handle(None).await;
    assert_eq!(world.starts(), [1, 3]);
    world.handle(Some(2)).await;
    assert_eq!(world.cancels(), [1], "a late one cancels nobody");
}

#[tokio::test(start_paused = true)]
async fn cancel_previous_names_the_retries_of_the_run() {
    let world = World::new(&source("cancel_previous", "1h")).await;
    world.handle(Some(1)).await;
    world.retry(1, 2).await;
    world.handle(Some(2)).await;
    assert_eq!((world.cancels_after(0), world.cancels_after(2)), (vec![], vec![1]));
}

#[tokio::test(start_paused = true)]
async fn schedule_without_required_input_is_refused() {
    let mut wanting = source("skip", "1h");
    wanting["input"] = json!({ "type": "object", "required": ["day"], "properties": { "day": { "type": "string" } } });
    let world = World::new(&wanting).await;
    world.handle(Some(1)).await;
    world.handle(Some(1)).await;
    assert!(world.run(1).await.is_none());
    assert_eq!(world.told(), [("schedule.refused".to_owned(), "10:01".to_owned())]);
    let error = &world.host.published()[0].data["reason"]["error"];
    assert_eq!(error["kind"], "input.invalid");
    assert!(error["message"].as_str().unwrap().contains("day"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn version_without_schedule_passes_over_waiting_times() {
    let world = World::new(&source("queue", "1h")).await;
    for minute in [1, 2, 3] {
        world.handle(Some(minute)).await;
    }
    let mut unscheduled = source("queue", "1h");
    unscheduled.as_object_mut().unwrap().remove("schedule");
    world.put(&unscheduled).await;
    world.end(1).await;
    world.handle(None).await;
    world.manage().await;
    let refused = |minute: &str| ("schedule.refused".to_owned(), minute.to_owned());
    assert_eq!(world.told(), [refused("10:02"), refused("10:03")]);
    assert_eq!((world.starts(), world.record().await.waiting), (vec![1], vec![]));
}

#[tokio::test(start_paused = true)]
async fn deleted_task_starts_nothing_when_put_again() {
    let world = World::new(&source("queue", "1h")).await;
    world.handle(Some(1)).await;
    world.handle(Some(2)).await;
    world.write(|record| record.deleted = true).await;
    world.handle(Some(3)).await;
    world.end(1).await;
    world.handle(None).await;
    world.put(&source("queue", "1h")).await;
    world.handle(None).await;
    assert_eq!(world.starts(), [1]);
    world.handle(Some(4)).await;
    assert_eq!(world.starts(), [1, 4]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_task_starts_nothing() {
    let ports = MemoryHost::new(START).ports();
    let definitions = Definitions::new(ports.tasks.clone());
    let engine = Engine::new(ports.clone(), Arc::new(definitions));
    let due = [Given::new(TaskInput::Due { nominal: at(1) })];
    let settled = advance::<TaskRecord>(&engine, &task(), &due, None).await.unwrap();
    assert!(matches!(settled, Settled::Unknown), "{settled:?}");
    assert!(ports.runs.list(&RunFilter { limit: 1, ..RunFilter::default() }).await.unwrap().runs.is_empty());
}

/// The messages of several due times come together, and each of them finds that the first has a turn and no run.
#[tokio::test(start_paused = true)]
async fn due_times_of_one_batch_start_one_run() {
    for overlap in ["skip", "queue", "cancel_previous"] {
        let world = World::new(&source(overlap, "1h")).await;
        let due = |minute| Given::new(TaskInput::Due { nominal: at(minute) });
        let inputs: Vec<_> = (1..=10).map(due).chain([Given::new(TaskInput::Ended)]).collect();
        let engine = Engine::new(world.ports.clone(), world.definitions.clone());
        advance::<TaskRecord>(&engine, &task(), &inputs, None).await.unwrap();
        assert_eq!((world.starts(), world.sent(1)), (vec![1], vec![false]), "{overlap}");
        assert_eq!(world.resent_starts(), 0, "{overlap}");
        let (waiting, told) = (world.record().await.waiting.len(), world.told().len());
        let expected = match overlap {
            "skip" => (0, 9),
            "queue" => (9, 0),
            _ => (1, 8),
        };
        assert_eq!((waiting, told), expected, "{overlap}");
    }
}

/// A host deletes runs after a while. The run of an old turn has ended, and does not start again.
#[tokio::test(start_paused = true)]
async fn turn_whose_run_was_deleted_is_over() {
    let world = World::new(&source("skip", "1h")).await;
    let day = 24 * 60;
    world.write(|record| record.active = Some(at(-15 * day))).await;
    world.handle(Some(1)).await;
    assert_eq!((world.starts(), world.run(-15 * day).await.is_some()), (vec![1], false));
    let lost = World::new(&source("skip", "1h")).await;
    lost.write(|record| record.active = Some(at(-13 * day))).await;
    lost.handle(Some(1)).await;
    assert!(lost.run(-13 * day).await.is_some() && lost.run(1).await.is_none());
}

/// The sender of a start died between two pools, and the agent of the first reports before the due message comes again.
#[tokio::test(start_paused = true)]
async fn redelivered_due_time_resends_unreported_attempts() {
    let mut two = source("skip", "1h");
    two["actions"]["other"] = json!({ "exec": ["true"] });
    let world = World::new(&two).await;
    world.handle(Some(1)).await;
    world.begin_action(1, 0).await;
    world.handle(Some(1)).await;
    assert_eq!(world.resent_starts(), 1);
    world.begin_action(1, 1).await;
    world.handle(Some(1)).await;
    assert_eq!(world.resent_starts(), 1, "agents have reported all of it");
}

#[tokio::test(start_paused = true)]
async fn turn_without_run_is_recovered() {
    let world = World::new(&source("skip", "1h")).await;
    world.write(|record| record.active = Some(at(1))).await;
    world.handle(Some(2)).await;
    assert_eq!(world.starts(), [1]);
    assert_eq!(world.told(), [("schedule.skipped".to_owned(), "10:02".to_owned())]);
}
