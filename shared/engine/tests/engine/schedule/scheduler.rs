//! The scheduler: the due times that it fires, and those that an outage leaves.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use windlass_domain::ids::TaskName;
use windlass_domain::time::Millis;
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::scheduler::Scheduler;
use windlass_testkit::faults::{FaultyHost, Moment};

use super::world::{START, World, at, source};

fn scheduler(ports: Ports) -> Scheduler {
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    Scheduler::new(ports, definitions)
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
    let world = World::new(&source("skip", "1h")).await;
    world.host.set_time(at(180));
    assert_eq!(scheduler(world.ports.clone()).look().await.unwrap(), 1);
    assert_eq!(world.fired(), (120..=180).collect::<Vec<_>>());
    assert_eq!(world.record().await.next_due, Some(at(181)));
    let missed = &world.host.published()[0];
    assert_eq!((missed.kind.as_str(), &missed.data["reason"]["count"]), ("schedule.missed", &119.into()));
    assert_eq!(missed.data["nominal_time"], at(1).to_string());
    assert_eq!(missed.data["reason"]["last_nominal_time"], at(119).to_string());
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
            scheduler(world.ports.clone()).look().await.unwrap();
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
        assert_eq!((moved.unwrap(), scheduler.look().await.unwrap()), (1, 0), "seed {seed}");
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
