//! Messages that are handled at once, in every order that a seed makes.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use windlass_domain::run::RunStatus;
use windlass_engine::ports::RunFilter;
use windlass_testkit::faults::FaultyHost;

use super::world::{World, at, source};

const LAST: i64 = 6;

async fn open(world: &World) -> Vec<i64> {
    let mut open = Vec::new();
    for minute in 1..=LAST {
        if world.run(minute).await.is_some_and(|run| !run.status.is_final()) {
            open.push(minute);
        }
    }
    open
}

/// Handles every due time twice, all at once, while runs end; then lets the rest end.
async fn live(overlap: &str, seed: u64) -> Arc<World> {
    let world = Arc::new(World::new(&source(overlap, "1h")).await);
    let faulty = FaultyHost::interleaving(world.ports.clone(), seed);
    let messages = (1..=LAST).chain(1..=LAST).map(Some);
    let handlers = messages.map(|message| {
        let (world, ports) = (world.clone(), faulty.ports());
        tokio::spawn(async move { world.handle_on(&ports, message).await })
    });
    let handlers: Vec<_> = handlers.collect();
    let mut busy = 0;
    while handlers.iter().any(|handler| !handler.is_finished()) {
        end_one(&world, &faulty, overlap, busy % 4 == 3).await;
        busy += 1;
        tokio::time::sleep(Duration::from_micros(100)).await;
        tokio::task::yield_now().await;
    }
    for handler in handlers {
        handler.await.unwrap().unwrap();
    }
    while !open(&world).await.is_empty() {
        end_one(&world, &faulty, overlap, true).await;
    }
    world
}

async fn end_one(world: &World, faulty: &FaultyHost, overlap: &str, wanted: bool) {
    let open = open(world).await;
    assert!(overlap == "allow" || open.len() <= 1, "{overlap}: {open:?} are open at once");
    if let Some(minute) = open.first().filter(|_| wanted) {
        world.end(*minute).await;
        world.handle_on(&faulty.ports(), None).await.unwrap();
    }
}

async fn check(overlap: &str, seed: u64) {
    let world = live(overlap, seed).await;
    let record = world.record().await;
    assert!(record.waiting.is_empty(), "{overlap}: {:?} wait for ever", record.waiting);
    let told: Vec<String> = world.told().into_iter().map(|(_, minute)| minute).collect();
    for minute in 1..=LAST {
        let ran = world.run(minute).await.is_some_and(|run| run.status == RunStatus::Succeeded);
        let passed_over = told.contains(&format!("10:{minute:02}"));
        assert!(ran != passed_over, "{overlap}: {minute} ran: {ran}, passed over: {passed_over}");
        assert_eq!(passed_over, record.passed_over.contains(&at(minute)));
    }
    let all = world.ports.runs.list(&RunFilter { limit: 100, ..RunFilter::default() }).await.unwrap().runs.len();
    let most = usize::try_from(LAST).unwrap();
    assert!(all == most || matches!(overlap, "skip" | "cancel_previous"), "{overlap}: {all} runs");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn no_order_of_calls_doubles_or_loses_turn(seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        for overlap in ["skip", "queue", "allow", "cancel_previous"] {
            runtime.block_on(check(overlap, seed));
        }
    }
}

/// A due time lines up behind a run that ends at the same time. The message of that end may find no due time in line.
#[tokio::test(start_paused = true)]
async fn waiting_time_behind_ending_run_gets_turn() {
    for (overlap, seed) in
        ["queue", "cancel_previous"].into_iter().flat_map(|overlap| (0..60).map(move |seed| (overlap, seed)))
    {
        let world = Arc::new(World::new(&source(overlap, "1h")).await);
        world.handle(Some(1)).await;
        world.begin(1).await;
        let faulty = FaultyHost::interleaving(world.ports.clone(), seed);
        let due = tokio::spawn({
            let (world, ports) = (world.clone(), faulty.ports());
            async move { world.handle_on(&ports, Some(2)).await }
        });
        for _ in 0..seed % 16 {
            tokio::task::yield_now().await;
        }
        world.end(1).await;
        world.handle_on(&faulty.ports(), None).await.unwrap();
        due.await.unwrap().unwrap();
        world.manage().await;
        assert_eq!(world.starts(), [1, 2], "{overlap}, seed {seed}");
    }
}
