//! Attempts whose message is lost while an agent performs them: SQS gives it up, or a person empties the queue.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_domain::ids::{ActionIndex, AgentId, PoolName, RunId};
use windlass_domain::run::{ActionStatus, RunStatus};
use windlass_engine::ports::QueueName;

use crate::world::{Running, Script, World};

const ACTION: ActionIndex = ActionIndex(0);

fn task() -> Value {
    json!({ "task": "lost", "actions": { "a": { "native": { "handler": "a" } } } })
}

/// A world in which an agent performs an attempt that has no message any more.
async fn without_message(hurry: bool) -> (World, RunId, Running) {
    let world = World::new();
    let script = Script::new(|attempt| if attempt.fence == 1 { Script::hang() } else { Script::give(json!("done")) });
    let owner = world.agent_with("owner", 1, script, |settings| {
        if hurry {
            settings.drain_deadline = Duration::ZERO;
        }
    });
    let id = world.submit(&task()).await;
    world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
    world.host.ports().queues.remove(&QueueName::Pool(PoolName::default())).await.expect("removed");
    (world, id, owner)
}

async fn check_done(world: &World, id: RunId, by: &str, within_ms: u64) {
    let since = world.now();
    let run = world.ended(id).await;
    let (state, waited) = (run.action(ACTION), world.now().since(since).0);
    assert_eq!((run.status, state.attempt()), (RunStatus::Succeeded, 1));
    assert_eq!(state.agent().map(AgentId::as_str), Some(by));
    assert!(waited <= within_ms, "it went on after {waited} ms");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.left_over().await, Vec::<String>::new());
}

/// Its agent finds out when it extends, and stops it.
#[tokio::test(start_paused = true)]
async fn attempt_stopped_for_lost_message_is_resent() {
    let (world, id, _owner) = without_message(false).await;
    check_done(&world, id, "owner", 20_000).await;
}

/// Its agent drains, and has nothing to hand back.
#[tokio::test(start_paused = true)]
async fn attempt_handed_back_without_message_is_resent() {
    let (world, id, owner) = without_message(true).await;
    owner.drain().await;
    world.agent("next", 4, Script::new(|_| Script::give(json!("done"))));
    check_done(&world, id, "next", 2_000).await;
}

/// Its agent dies, and no message comes to another. The process manager resends it when no agent can have it.
#[tokio::test(start_paused = true)]
async fn attempt_without_message_and_agent_lapses() {
    let (world, id, owner) = without_message(false).await;
    owner.kill();
    world.agent("next", 4, Script::new(|_| Script::give(json!("done"))));
    tokio::time::sleep(Duration::from_hours(13) - Duration::from_mins(1)).await;
    assert_eq!(world.run(id).await.action(ACTION).status, ActionStatus::Running, "it may still be performed");
    tokio::time::sleep(Duration::from_mins(1)).await;
    check_done(&world, id, "next", 15 * 60_000).await;
}
