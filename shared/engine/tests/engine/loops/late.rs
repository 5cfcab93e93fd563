//! Attempts that take long to prepare: a folder on a slow disk, a process that was stopped for a moment.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{ActionStatus, Input, RunStatus};

use crate::world::{Script, World};

const ACTION: ActionIndex = ActionIndex(0);

fn task() -> Value {
    json!({ "task": "late", "actions": { "a": { "native": { "handler": "a" } } } })
}

/// The run ends while the attempt is prepared: it does not begin any more.
#[tokio::test(start_paused = true)]
async fn attempt_ended_while_prepared_does_not_begin() {
    let world = World::new();
    let script = Script::new(|_| Script::prepare(Duration::from_secs(3), Script::give(Value::Null)));
    let (performed, began) = (script.performed.clone(), script.began.clone());
    world.agent("agent", 4, script);
    let id = world.submit(&task()).await;
    while performed.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let delivery = Delivery::none_of(1);
    world.input(id, Input::DeadLettered { action: ACTION, delivery, message: 0, reason: "a test".into() }).await;
    let run = world.ended(id).await;
    assert_eq!((run.status, run.action(ACTION).status), (RunStatus::Failed, ActionStatus::Failed));
    assert_eq!(world.left_over().await, Vec::<String>::new());
    assert_eq!(began.load(Ordering::SeqCst), 0, "nothing begins after the end of its run");
}

/// An attempt whose preparation always takes long begins all the same, once.
#[tokio::test(start_paused = true)]
async fn long_preparation_begins_once() {
    for seconds in [1, 3, 8, 25, 100] {
        let world = World::new();
        let span = Duration::from_secs(seconds);
        let script = Script::new(move |_| Script::prepare(span, Script::give(json!("done"))));
        let began = script.began.clone();
        world.agent("agent", 4, script);
        let run = world.ended(world.submit(&task()).await).await;
        assert_eq!((run.status, run.action(ACTION).attempt()), (RunStatus::Succeeded, 1), "after {seconds} s");
        assert_eq!(began.load(Ordering::SeqCst), 1, "after {seconds} s");
        assert_eq!(world.left_over().await, Vec::<String>::new(), "after {seconds} s");
    }
}
