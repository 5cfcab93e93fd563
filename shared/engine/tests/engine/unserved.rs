//! Pools that no agent serves: said within a minute, once, and taken back when an agent comes.

use std::time::Duration;

use crate::world::{Script, World};
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName};
use windlass_domain::run::{ActionStatus, Run, RunStatus};
use windlass_engine::ports::{AgentRecord, QueueName};

fn one(extra: &Value) -> Value {
    let mut action = json!({ "native": { "handler": "a" } });
    action.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({ "task": "one", "actions": { "a": action } })
}

fn is_told(run: &Run) -> bool {
    run.action(ActionIndex(0)).unserved.is_some()
}

/// The published events of that type.
fn published(world: &World, kind: &str) -> usize {
    world.host.published().iter().filter(|event| event.kind == kind).count()
}

#[tokio::test(start_paused = true)]
async fn unserved_pool_is_published_once_within_minute() {
    let world = World::new();
    let id = world.submit(&one(&json!({}))).await;
    let begun = Instant::now();
    let run = world.until(id, is_told).await;
    assert!(begun.elapsed() <= Duration::from_mins(1), "{:?}", begun.elapsed());
    let state = run.action(ActionIndex(0));
    assert_eq!(state.unserved.unwrap().since, state.queued_at.unwrap());
    tokio::time::sleep(Duration::from_mins(20)).await;
    assert_eq!(published(&world, "action.unserved"), 1, "it is not said again");

    world.agent("late", 1, Script::new(|_| Script::after(Duration::from_secs(30), Value::Null)));
    let run = world.until(id, |run| run.action(ActionIndex(0)).status == ActionStatus::Running).await;
    assert!(!is_told(&run), "it is taken back when an agent takes the attempt");
    assert_eq!(world.ended(id).await.status, RunStatus::Succeeded);
    let events = world.events(id).await;
    let expected = ["run.started", "action.queued a", "action.unserved a", "action.started a", "action.succeeded a"];
    assert_eq!(events[..5], expected);
    assert_eq!(world.left_over().await, Vec::<String>::new(), "every message was acknowledged");
}

#[tokio::test(start_paused = true)]
async fn served_pool_costs_no_message_and_write() {
    let world = World::new();
    world.agent("agent", 1, Script::new(|_| Script::after(Duration::from_secs(1), Value::Null)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let id = world.submit(&one(&json!({}))).await;
    let run = world.ended(id).await;
    assert_eq!(run.revision, 2, "the start and the end");
    assert_eq!(world.host.messages(&QueueName::Inbox), Vec::<String>::new(), "nothing waits to look again");
}

#[tokio::test(start_paused = true)]
async fn agent_that_comes_in_time_prevents_unserved_event() {
    let world = World::new();
    let id = world.submit(&one(&json!({}))).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    world.agent("agent", 1, Script::new(|_| Script::after(Duration::from_mins(2), Value::Null)));
    assert_eq!(world.ended(id).await.status, RunStatus::Succeeded);
    assert_eq!(published(&world, "action.unserved"), 0);
}

#[tokio::test(start_paused = true)]
async fn pool_is_unserved_after_last_agent_drains() {
    let world = World::new();
    let agent = world.agent("busy", 1, Script::new(|_| Script::after(Duration::from_secs(50), Value::Null)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let source = json!({ "task": "two", "actions": {
        "a": { "native": { "handler": "a" } }, "b": { "native": { "handler": "b" } } } });
    let id = world.submit(&source).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    tokio::spawn(agent.drain());
    let run = world.until(id, |run| run.actions.iter().any(|state| state.unserved.is_some())).await;
    assert!(begun.elapsed() <= Duration::from_mins(1), "{:?}", begun.elapsed());
    assert_eq!(run.action(ActionIndex(0)).status, ActionStatus::Running, "what the agent performs is served");
    let waiting = run.action(ActionIndex(1));
    assert!(waiting.unserved.unwrap().since > waiting.queued_at.unwrap(), "it had an agent when it was queued");
}

#[tokio::test(start_paused = true)]
async fn pool_is_unserved_after_last_agent_dies() {
    let world = World::new();
    let ports = world.host.ports();
    let died = AgentRecord {
        id: AgentId::new("dead").unwrap(),
        pool: PoolName::default(),
        slots: 1,
        busy: 1,
        version: "1".to_owned(),
        address: "host/1".to_owned(),
        draining: false,
        started_at: world.now(),
        seen_at: world.now(),
    };
    ports.agents.register(&died).await.unwrap();
    let begun = Instant::now();
    let id = world.submit(&one(&json!({}))).await;
    let run = world.until(id, is_told).await;
    assert!(begun.elapsed() <= Duration::from_mins(1), "{:?}", begun.elapsed());
    assert_eq!(run.action(ActionIndex(0)).unserved.unwrap().since, run.action(ActionIndex(0)).queued_at.unwrap());
    tokio::time::sleep(Duration::from_mins(20)).await;
    assert_eq!(published(&world, "action.unserved"), 1);
}

#[tokio::test(start_paused = true)]
async fn queue_timeout_names_the_unserved_pool() {
    for timeout in ["20s", "5m"] {
        let world = World::new();
        let id = world.submit(&one(&json!({ "queue_timeout": timeout }))).await;
        let run = world.ended(id).await;
        assert_eq!(run.status, RunStatus::Failed);
        let error = run.action(ActionIndex(0)).error.clone().unwrap();
        assert_eq!(error.kind, "timeout.queue");
        assert!(error.message.contains("no agent has served the pool `default` since"), "{}", error.message);
        assert!(!is_told(&run));
    }
}

#[tokio::test(start_paused = true)]
async fn full_agent_serves_its_pool() {
    let world = World::new();
    world.agent("busy", 1, Script::new(|_| Script::after(Duration::from_mins(10), Value::Null)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let source = json!({ "task": "two", "actions": {
        "a": { "native": { "handler": "a" } }, "b": { "native": { "handler": "b" } } } });
    let id = world.submit(&source).await;
    assert_eq!(world.ended(id).await.status, RunStatus::Succeeded);
    assert_eq!(published(&world, "action.unserved"), 0);
}

#[tokio::test(start_paused = true)]
async fn lost_attempt_of_unserved_pool_is_resent() {
    let world = World::new();
    let id = world.submit(&one(&json!({}))).await;
    // The message is with an agent that died, or was never sent.
    let lost = world.steal(Duration::from_hours(12)).await;
    assert_eq!(lost.len(), 1);
    world.until(id, is_told).await;
    world.agent("late", 1, Script::new(|_| Script::give(Value::Null)));
    let begun = Instant::now();
    assert_eq!(world.ended(id).await.status, RunStatus::Succeeded);
    assert!(begun.elapsed() < Duration::from_mins(11), "it is sent again after ten minutes, not {:?}", begun.elapsed());
}
