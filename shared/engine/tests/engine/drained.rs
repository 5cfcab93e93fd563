//! A draining agent takes nothing further, finishes or hands back its attempts, and is gone.

use std::sync::Arc;
use std::time::Duration;

use crate::world::{Script, World};
use serde_json::{Value, json};
use windlass_domain::ids::{ActionIndex, AgentId};
use windlass_domain::run::{ActionStatus, RunStatus};
use windlass_domain::time::Millis;
use windlass_engine::control::{Control, DrainError};
use windlass_engine::definitions::Definitions;

fn source() -> Value {
    json!({ "task": "two", "actions": {
        "short": { "native": { "handler": "a" } }, "long": { "native": { "handler": "b" } } } })
}

#[tokio::test(start_paused = true)]
async fn drain_command_keeps_deadline_and_spends_no_attempt() {
    let world = World::new();
    let ports = world.host.ports();
    let control = Control::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
    let script = || {
        Script::new(|attempt| match attempt.name.as_str() {
            "short" => Script::after(Duration::from_secs(20), Value::Null),
            _ => Script::after(Duration::from_mins(10), Value::Null),
        })
    };
    world.agent("old", 2, script());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let id = world.submit(&source()).await;
    let running =
        |at: u32| move |run: &windlass_domain::run::Run| run.action(ActionIndex(at)).status == ActionStatus::Running;
    world.until(id, running(1)).await;

    let unknown = control.drain(&AgentId::new("nobody").unwrap(), Millis::from_secs(1)).await;
    assert!(matches!(unknown, Err(DrainError::UnknownAgent(_))), "{unknown:?}");
    let told = control.drain(&AgentId::new("old").unwrap(), Millis::from_secs(60)).await.unwrap();
    assert!(!told.draining, "as it was registered");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let registered = ports.agents.list().await.unwrap();
    assert!(registered[0].draining, "{registered:?}");

    world.agent("young", 2, script());
    tokio::time::sleep(Duration::from_secs(58)).await;
    assert_eq!(world.agents().await, ["old", "young"], "its time is not over");
    let run = world.run(id).await;
    assert_eq!(run.action(ActionIndex(0)).status, ActionStatus::Succeeded, "it was given its time");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.agents().await, ["young"]);

    let run = world.ended(id).await;
    assert_eq!(run.status, RunStatus::Succeeded);
    let long = run.action(ActionIndex(1));
    assert_eq!((long.attempt(), long.agent().map(AgentId::as_str)), (1, Some("young")), "none is spent");
}
