//! One action that is killed, while the rest of its run goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use windlass_domain::content::Place;
use windlass_domain::ids::{ActionIndex, AgentId, RunId};
use windlass_domain::run::{ActionStatus, Input, Run, RunStatus};
use windlass_engine::agent::AgentSettings;

use crate::world::{Script, World};

const LONG: ActionIndex = ActionIndex(0);

/// `long` is killed; `beside` does not care, `after` needs it, `cleanup` is for when it fails.
fn task(extra: &Value) -> Value {
    let native =
        |needs: &[&str], trigger: &str| json!({ "native": { "handler": "x" }, "needs": needs, "trigger": trigger });
    let mut long = json!({ "native": { "handler": "x" }, "retry": { "attempts": 5, "delay": "1m" } });
    for (key, value) in extra.as_object().expect("a map") {
        long[key] = value.clone();
    }
    json!({ "task": "killed", "actions": {
        "long": long,
        "beside": { "native": { "handler": "x" } },
        "after": native(&["long"], "all_succeeded"),
        "cleanup": native(&["long"], "any_failed"),
    } })
}

/// `long` hangs in its first life; every other action gives its name.
fn script() -> Script {
    Script::new(|attempt| match (attempt.name.as_str(), attempt.of.attempt) {
        ("long", 1) => Script::hang(),
        (name, _) => Script::give(json!(name)),
    })
}

fn kill() -> Input {
    Input::Kill { action: LONG, reason: "it hangs".into(), retries: 0 }
}

fn statuses(run: &Run) -> Vec<ActionStatus> {
    run.actions.iter().map(|state| state.status).collect()
}

async fn until_settled(world: &World, id: RunId) -> Run {
    world.until(id, |run| run.action(LONG).status.is_settled()).await
}

#[tokio::test(start_paused = true)]
async fn killed_action_stops_and_rest_goes_on() {
    use ActionStatus::{Cancelled, Skipped, Succeeded};
    let world = World::new();
    world.agent("agent", 4, script());
    let id = world.submit(&task(&json!({}))).await;
    world.until(id, |run| run.action(LONG).status == ActionStatus::Running).await;
    let before = world.now();
    world.input(id, kill()).await;
    let state = until_settled(&world, id).await.action(LONG).clone();
    assert!(world.now().since(before).0 < 2000, "acknowledged within 2 s by an action that listens");
    assert_eq!((state.status, state.attempt()), (Cancelled, 1), "it is not tried again");
    assert_eq!(state.agent().map(AgentId::as_str), Some("agent"), "by the agent that ended it");
    let error = state.error.expect("why");
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("killed", "it hangs"));
    let run = world.ended(id).await;
    assert_eq!(statuses(&run), [Cancelled, Succeeded, Skipped, Succeeded]);
    let error = run.error.expect("why");
    assert_eq!((run.status, error.message.as_str()), (RunStatus::Failed, "failed: `long` (killed)"));
    let events = world.events(id).await;
    assert!(events.contains(&"action.cancelling long".to_owned()), "{events:?}");
    assert!(events.contains(&"action.cancelled long".to_owned()), "{events:?}");
    assert_eq!(world.left_over().await, Vec::<String>::new());

    // Taken up again by hand, it starts over.
    world.input(id, Input::Retry { retries: 0 }).await;
    let run = world.until(id, |run| run.retries == 1 && run.status.is_final()).await;
    assert_eq!(statuses(&run), [Succeeded, Succeeded, Succeeded, Skipped]);
    assert_eq!((run.status, run.action(LONG).attempt()), (RunStatus::Succeeded, 2));
    // A late kill belongs to the life in which its caller asked.
    world.input(id, kill()).await;
    assert_eq!(world.left_over().await, Vec::<String>::new());
    assert_eq!(world.run(id).await.status, RunStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn killed_action_may_be_allowed_to_fail() {
    use ActionStatus::{Cancelled, Succeeded};
    let world = World::new();
    world.agent("agent", 4, script());
    let id = world.submit(&task(&json!({ "allow_failure": true }))).await;
    world.until(id, |run| run.action(LONG).status == ActionStatus::Running).await;
    world.input(id, kill()).await;
    let run = world.ended(id).await;
    assert_eq!(run.status, RunStatus::SucceededWithFaults);
    assert_eq!(statuses(&run), [Cancelled, Succeeded, Succeeded, Succeeded]);
}

/// No agent has it. It ends after the grace, and a later agent finds nothing to begin.
#[tokio::test(start_paused = true)]
async fn killed_queued_attempt_ends_after_grace() {
    let world = World::new();
    let id = world.submit(&task(&json!({}))).await;
    world.until(id, |run| run.action(LONG).status == ActionStatus::Queued).await;
    let before = world.now();
    world.input(id, kill()).await;
    until_settled(&world, id).await;
    let waited = world.now().since(before).0;
    assert!((30_000..33_000).contains(&waited), "{waited}");
    let late = Script::new(|attempt| Script::give(json!(attempt.name.as_str())));
    world.agent("late", 4, late);
    let run = world.ended(id).await;
    assert_eq!(run.action(LONG).status, ActionStatus::Cancelled);
    assert_eq!(world.left_over().await, Vec::<String>::new());
}

/// It waits in its pool, and an agent takes it after the kill. The agent does not begin it, and reports that.
#[tokio::test(start_paused = true)]
async fn late_agent_does_not_begin_killed_attempt() {
    let world = World::new();
    let id = world.submit(&task(&json!({}))).await;
    world.until(id, |run| run.action(LONG).status == ActionStatus::Queued).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.input(id, kill()).await;
    world.until(id, |run| run.action(LONG).kill.is_some()).await;
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = begun.clone();
    let script = Script::new(move |attempt| {
        counted.fetch_add(usize::from(attempt.name.as_str() == "long"), Ordering::SeqCst);
        Script::give(Value::Null)
    });
    world.agent("late", 4, script);
    let state = until_settled(&world, id).await.action(LONG).clone();
    assert_eq!((state.status, state.agent().map(AgentId::as_str)), (ActionStatus::Cancelled, Some("late")));
    world.ended(id).await;
    assert_eq!(begun.load(Ordering::SeqCst), 0);
    assert_eq!(world.left_over().await, Vec::<String>::new());
}

/// Its agent handed it back, so the next agent that claims it ends it at once.
#[tokio::test(start_paused = true)]
async fn killed_attempt_after_hand_back_ends_at_receipt() {
    let world = World::new();
    let at_once = |settings: &mut AgentSettings| settings.drain_deadline = Duration::ZERO;
    let first = world.agent_with("first", 4, Script::new(|_| Script::hang()), at_once);
    let id = world.submit(&task(&json!({}))).await;
    world.until(id, |run| run.action(LONG).status == ActionStatus::Running).await;
    first.drain().await;
    world.until(id, |run| run.action(LONG).last.issue > 0).await;
    let before = world.now();
    world.input(id, kill()).await;
    world.until(id, |run| run.action(LONG).kill.is_some()).await;
    world.agent("second", 4, Script::new(|_| Script::give(json!("done"))));
    let state = until_settled(&world, id).await.action(LONG).clone();
    let waited = world.now().since(before).0;
    assert_eq!((state.status, state.agent().map(AgentId::as_str)), (ActionStatus::Cancelled, Some("second")));
    assert!(waited < 1000, "answered after {waited} ms");
}

#[tokio::test(start_paused = true)]
async fn killed_action_gets_no_next_attempt() {
    let world = World::new();
    let fails = Script::new(|attempt| match attempt.name.as_str() {
        "long" => Script::fail("network.reset"),
        _ => Script::give(Value::Null),
    });
    world.agent("agent", 4, fails);
    let id = world.submit(&task(&json!({}))).await;
    world.until(id, |run| run.action(LONG).status == ActionStatus::RetryWaiting).await;
    let before = world.now();
    world.input(id, kill()).await;
    let run = world.ended(id).await;
    assert!(world.now().since(before).0 < 1000);
    assert_eq!((run.action(LONG).status, run.action(LONG).attempt()), (ActionStatus::Cancelled, 1));
}

/// Its agent is dead. The next agent that gets the message reports that it does not run; without one, time ends it.
#[tokio::test(start_paused = true)]
async fn killed_action_of_dead_agent_ends() {
    for comes in [true, false] {
        let world = World::new();
        let agent = world.agent("dies", 4, script());
        let id = world.submit(&task(&json!({}))).await;
        world.until(id, |run| run.action(LONG).status == ActionStatus::Running).await;
        agent.kill();
        let before = world.now();
        world.input(id, kill()).await;
        if comes {
            world.agent("next", 4, script());
        }
        let state = until_settled(&world, id).await.action(LONG).clone();
        let waited = world.now().since(before).0;
        let next = state.agent().map(AgentId::as_str);
        assert_eq!((state.status, next), (ActionStatus::Cancelled, comes.then_some("next")));
        assert!(waited < if comes { 35_000 } else { 125_000 }, "{waited} ms");
    }
}

/// A faster completion stands, and a kill of an ended action changes nothing.
#[tokio::test(start_paused = true)]
async fn a_faster_completion_stands() {
    let world = World::new();
    let id = world.submit(&task(&json!({}))).await;
    let quick = Script::new(|_| Script::after(Duration::from_secs(3), json!("done")));
    world.agent("agent", 4, quick);
    world.until(id, |run| run.action(LONG).status == ActionStatus::Succeeded).await;
    world.input(id, kill()).await;
    let run = world.ended(id).await;
    assert_eq!((run.status, run.action(LONG).kill.clone()), (RunStatus::Succeeded, None));
    assert_eq!(run.value(Place::Output(LONG)), Some(&json!("done")));
}
