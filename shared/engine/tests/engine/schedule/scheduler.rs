//! The scheduler: the due times that it fires, and those that an outage leaves.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use windlass_domain::ids::{PoolName, TaskName};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{Outgoing, QueueName};
use windlass_engine::registry::Registry;
use windlass_engine::scheduler::Scheduler;
use windlass_testkit::faults::{FaultyHost, Moment};

use super::world::{START, World, at, source, task};

fn scheduler(ports: Ports) -> Scheduler {
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    Scheduler::new(ports, definitions)
}

/// Looks until no task is due, and gives a task that catches up its turns.
async fn catch_up(scheduler: &Scheduler) {
    for _ in 0..400 {
        scheduler.look().await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(scheduler.look().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_minute_fires_at_its_beginning() {
    let world = World::new(&source("skip", "1h")).await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (scheduler, shutdown) = (scheduler(world.ports.clone()), shutdown.clone());
        async move { scheduler.run(&shutdown).await }
    });
    tokio::time::sleep(Duration::from_millis(59_999)).await;
    assert!(world.fired().is_empty());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.fired(), [1]);
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(world.fired(), [1, 2, 3]);
    assert_eq!(world.record().await.next_due, Some(at(4)));

    // The clock jumps forward, as when a suspended laptop wakes.
    world.host.set_time(at(6));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.fired(), [1, 2, 3, 4, 5, 6]);
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn outage_fires_exactly_the_catch_up_window() {
    let world = World::new(&source("skip", "30m")).await;
    world.host.set_time(at(180));
    catch_up(&scheduler(world.ports.clone())).await;
    assert_eq!(world.fired(), (150..=180).collect::<Vec<_>>());
    assert_eq!(world.record().await.next_due, Some(at(181)));
    let missed = &world.host.published()[0];
    assert_eq!((missed.kind.as_str(), &missed.data["reason"]["count"]), ("schedule.missed", &149.into()));
    assert_eq!(missed.data["nominal_time"], at(1).to_string());
    assert_eq!(missed.data["reason"]["last_nominal_time"], at(149).to_string());
    assert_eq!(scheduler(world.ports.clone()).look().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_repeats_messages_and_loses_none() {
    for moment in [Moment::Before, Moment::After, Moment::Twice] {
        for call in 0..20 {
            let world = World::new(&source("skip", "10m")).await;
            world.host.set_time(at(15));
            let dying = FaultyHost::crashing(world.ports.clone(), call, moment);
            let _ = scheduler(dying.ports()).look().await;
            catch_up(&scheduler(world.ports.clone())).await;
            let mut fired = world.fired();
            fired.sort_unstable();
            fired.dedup();
            assert_eq!(fired, (5..=15).collect::<Vec<_>>(), "crash {moment:?} call {call}");
            assert_eq!(world.told(), [("schedule.missed".to_owned(), "10:01".to_owned())]);
            assert_eq!(world.record().await.next_due, Some(at(16)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn handling_during_a_look_fires_nothing_twice() {
    for seed in 0..50 {
        let world = World::new(&source("queue", "1h")).await;
        world.host.set_time(at(15));
        let crossing = FaultyHost::interleaving(world.ports.clone(), seed).ports();
        let handling = async {
            for minute in 1..=5 {
                world.handle_on(&crossing, Some(minute)).await.unwrap();
            }
        };
        let scheduler = scheduler(crossing.clone());
        let (moved, ()) = tokio::join!(scheduler.look(), handling);
        moved.unwrap();
        catch_up(&scheduler).await;
        let mut fired = world.fired();
        fired.sort_unstable();
        assert_eq!(fired, (1..=15).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(world.record().await.next_due, Some(at(16)));
    }
}

#[tokio::test(start_paused = true)]
async fn removed_schedule_is_not_due() {
    let mut unscheduled = source("skip", "1h");
    unscheduled.as_object_mut().unwrap().remove("schedule");
    let world = World::new(&unscheduled).await;
    world.host.advance(Millis::from_secs(3600));
    assert_eq!(scheduler(world.ports.clone()).look().await.unwrap(), 1);
    assert_eq!((world.fired(), world.record().await.next_due), (vec![], None));
}

/// Two hundred unreadable tasks are due before a readable one.
#[tokio::test(start_paused = true)]
async fn unreadable_tasks_hold_up_no_other() {
    let world = World::new(&source("skip", "1h")).await;
    for number in 0..200 {
        let name = TaskName::new(&format!("broken-{number}")).unwrap();
        world.ports.tasks.put(&name, &json!({ "actions": {} }), Some(at(0)), START).await.unwrap();
    }
    world.host.set_time(at(1));
    let scheduler = scheduler(world.ports.clone());
    for _ in 0..3 {
        scheduler.look().await.unwrap();
    }
    assert_eq!(world.fired(), [1]);
    assert_eq!(scheduler.look().await.unwrap(), 0, "they are let be for a minute");
}

/// A task with much to catch up on is due before another one, and nothing handles what it fires.
#[tokio::test(start_paused = true)]
async fn catch_up_holds_up_no_other_task() {
    let world = World::new(&source("skip", "9h")).await;
    let mut names = Vec::new();
    for number in 0..12 {
        let mut other = source("allow", "9h");
        other["task"] = format!("other-{number}").into();
        let name = TaskName::new(&format!("other-{number}")).unwrap();
        world.ports.tasks.put(&name, &other, Some(at(1)), START).await.unwrap();
        names.push(name);
    }
    let mut punctual = source("skip", "1m");
    punctual["task"] = "punctual".into();
    let name = TaskName::new("punctual").unwrap();
    world.ports.tasks.put(&name, &punctual, Some(at(540)), START).await.unwrap();
    world.host.set_time(at(540));
    let scheduler = scheduler(world.ports.clone());
    scheduler.look().await.unwrap();
    let due = |wanted: &TaskName| world.due().into_iter().filter(|(task, _)| task == wanted).count();
    assert_eq!(due(&name), 1, "it fires in the first look");
    let fired: Vec<_> = std::iter::once(&task()).chain(&names).map(due).collect();
    assert_eq!(fired.iter().sum::<usize>(), 50, "{fired:?}");
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        scheduler.look().await.unwrap();
    }
    assert_eq!(world.due().len(), 51, "nothing has handled them");

    // As they are handled, each of the tasks has its turns.
    for _ in 0..200 {
        world.drop_inbox().await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        scheduler.look().await.unwrap();
    }
    for name in std::iter::once(&task()).chain(&names) {
        let next = world.ports.tasks.load(name).await.unwrap().unwrap().next_due.unwrap();
        assert!(next >= at(500), "{name} is at {next}");
    }
}

/// Another task's attempts wait in the pool all the time.
#[tokio::test(start_paused = true)]
async fn catch_up_waits_for_an_idle_pool_and_not_for_ever() {
    let world = World::new(&source("skip", "9h")).await;
    let pool = QueueName::Pool(PoolName::default());
    world.ports.queues.send(&pool, vec![Outgoing::now("an attempt".to_owned())]).await.unwrap();
    world.host.set_time(at(60));
    let scheduler = scheduler(world.ports.clone());
    for (seconds, fired) in [(0, 0), (4, 0), (2, 10), (1, 10), (6, 20)] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        scheduler.look().await.unwrap();
        assert_eq!(world.fired().len(), fired);
    }
}

/// The clock was two hours ahead, and is put back while the scheduler runs, or while none does.
#[tokio::test(start_paused = true)]
async fn schedule_goes_on_after_a_clock_that_was_ahead() {
    for (is_restarted, overlap) in
        [(false, "skip"), (true, "skip"), (false, "queue"), (true, "allow"), (false, "cancel_previous")]
    {
        let world = World::new(&source(overlap, "1m")).await;
        let mut running = scheduler(world.ports.clone());
        world.host.set_time(at(1));
        running.look().await.unwrap();
        world.handle(Some(1)).await;
        world.host.set_time(at(121));
        catch_up(&running).await;
        let ahead: Vec<_> = world.fired().into_iter().filter(|minute| *minute > 1).collect();
        assert_eq!(ahead, [120, 121], "{overlap}");
        for minute in ahead {
            world.handle(Some(minute)).await;
        }
        world.host.set_time(at(2));
        if is_restarted {
            running = scheduler(world.ports.clone());
        }
        assert_eq!(running.look().await.unwrap(), 1);
        let record = world.record().await;
        assert_eq!(record.next_due, Some(at(3)), "{overlap}");
        assert!(record.waiting.iter().chain(&record.passed_over).all(|time| *time <= at(2)), "{record:?}");
        for minute in [3, 4] {
            world.host.set_time(at(minute));
            running.look().await.unwrap();
            assert_eq!(world.fired().last(), Some(&minute), "{overlap}");
        }
        assert_eq!(world.record().await.next_due, Some(at(5)), "{overlap}");
    }
}

/// A put of the same file keeps the place of a schedule, unless a clock that was ahead has moved it.
#[tokio::test(start_paused = true)]
async fn place_of_a_clock_that_was_ahead_is_not_kept() {
    let world = World::new(&source("skip", "1m")).await;
    let registry = Registry::new(world.ports.clone(), world.definitions.clone());
    let definition = world.definitions.get(&task(), 1).await.unwrap();
    for (place, kept) in [(at(1), at(1)), (at(90), at(3))] {
        world.write(|record| record.next_due = Some(place)).await;
        world.host.set_time(Timestamp::from_millis(at(2).as_millis() + 1));
        registry.put(&definition).await.unwrap();
        assert_eq!(world.record().await.next_due, Some(kept));
    }
}

/// The open run has the turn by a clock that was ahead. `cancel_previous` means the run that is due by the clock as it is.
#[tokio::test(start_paused = true)]
async fn run_of_a_clock_that_was_ahead_is_replaced() {
    let world = World::new(&source("cancel_previous", "1m")).await;
    world.host.set_time(at(120));
    world.handle(Some(120)).await;
    world.begin(120).await;
    world.host.set_time(at(2));
    world.handle(Some(2)).await;
    assert_eq!(world.cancels(), [120]);
    world.end(120).await;
    world.handle(None).await;
    assert!(world.run(2).await.is_some());
}
