//! Attempts whose message is lost while they are performed: SQS gives it up, or somebody empties the queue.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_domain::ids::{ActionIndex, PoolName, RunId};
use windlass_domain::run::{ActionStatus, RunStatus};
use windlass_engine::ports::QueueName;

use crate::world::{Script, World};

const ACTION: ActionIndex = ActionIndex(0);

fn task() -> Value {
    json!({ "task": "lost", "actions": { "a": { "native": { "handler": "a" } } } })
}

/// A world in which an agent performs an attempt that has no message any more.
async fn without_message(hurry: bool) -> (World, RunId, crate::world::Running) {
    let world = World::new();
    let owner = world.agent_with("owner", 1, Script::new(|_| Script::hang()), |settings| {
        if hurry {
            settings.drain_deadline = Duration::ZERO;
        }
    });
    let id = world.submit(&task()).await;
    world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
    world.host.ports().queues.remove(&QueueName::Pool(PoolName::default())).await.expect("removed");
    (world, id, owner)
}

async fn check_done_by_next(world: &World, id: RunId, within_ms: u64) {
    let since = world.now();
    let next = Script::new(|_| Script::give(json!("done")));
    let performed = next.performed.clone();
    world.agent("next", 4, next);
    let run = world.ended(id).await;
    let (state, waited) = (run.action(ACTION), world.now().since(since).0);
    assert_eq!((run.status, state.attempt), (RunStatus::Succeeded, 1));
    assert_eq!(performed.load(Ordering::SeqCst), 1);
    assert!(waited <= within_ms, "it went on after {waited} ms");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.left_over().await, Vec::<String>::new());
}

/// Its agent finds out when it extends, and stops it.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_stopped_for_want_of_its_message_is_sent_again() {
    let (world, id, owner) = without_message(false).await;
    world.until(id, |run| run.action(ACTION).status == ActionStatus::Queued).await;
    owner.kill();
    // The owner itself may have received it again before it was killed.
    check_done_by_next(&world, id, 32_000).await;
}

/// Its agent drains, and has nothing to hand back.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_handed_back_without_its_message_is_sent_again() {
    let (world, id, owner) = without_message(true).await;
    owner.drain().await;
    check_done_by_next(&world, id, 2_000).await;
}
