//! Attempts that kill their agents, and innocents beside them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use windlass_domain::ids::{ActionIndex, AgentId};
use windlass_domain::limits::MAX_LOSSES;
use windlass_domain::run::{ActionStatus, Run, RunStatus};
use windlass_engine::ports::QueueName;

use crate::world::{Script, World};

const INNOCENTS: usize = 20;

/// A task with one poison among innocents, all with retries.
fn task() -> Value {
    let retry = json!({ "attempts": 5, "delay": "1s", "jitter": "none" });
    let action = || json!({ "native": { "handler": "x" }, "retry": retry });
    let innocents = (0..INNOCENTS).map(|number| (format!("a{number:02}"), action()));
    let poison = [("a07_poison".to_owned(), action())];
    let actions: serde_json::Map<String, Value> = innocents.chain(poison).collect();
    json!({ "task": "poisoned", "actions": actions })
}

/// Keeps so many agents alive: the poison kills its agent a second after it has begun, and another one is started.
async fn supervise(world: &World, agents: usize, slots: u32) {
    let mut running = Vec::new();
    let mut number = 0;
    loop {
        while running.len() < agents {
            let dead = Arc::new(Notify::new());
            let kills = dead.clone();
            let script = Script::new(move |attempt| {
                if attempt.name.as_str().ends_with("poison") {
                    let kills = kills.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        kills.notify_one();
                    });
                    return Script::hang();
                }
                Script::after(Duration::from_secs(5), json!("done"))
            });
            number += 1;
            running.push((world.agent(&format!("agent-{number}"), slots, script), dead));
        }
        let died = running.iter().map(|(_, dead)| Box::pin(dead.notified()));
        let ((), at, _) = futures::future::select_all(died).await;
        running.remove(at).0.kill();
    }
}

fn poison(world_run: &Run) -> ActionIndex {
    let failed = world_run.actions.iter().position(|state| state.status == ActionStatus::Failed);
    ActionIndex::from_usize(failed.expect("the poison has failed"))
}

#[tokio::test(start_paused = true)]
async fn poison_is_given_up_and_innocents_succeed() {
    for (agents, slots) in [(1, 10), (1, 1), (1, 30), (3, 4), (4, 10)] {
        let world = World::new();
        let id = world.submit(&task()).await;
        let run = tokio::select! {
            run = world.ended(id) => run,
            () = supervise(&world, agents, slots) => unreachable!("it goes on"),
        };
        assert_eq!(run.status, RunStatus::Failed);
        let succeeded = run.actions.iter().filter(|state| state.status == ActionStatus::Succeeded).count();
        assert_eq!(succeeded, INNOCENTS, "{agents} agents of {slots} slots");
        let state = run.action(poison(&run));
        let error = state.error.clone().expect("a reason");
        assert_eq!((error.kind.as_str(), state.attempt()), ("poison", 1), "it is not tried again");
        let last = state.agent().map(AgentId::as_str).expect("known");
        let expected = format!(
            "{MAX_LOSSES} agents were lost one after the other while they performed it; the last one was `{last}`"
        );
        assert_eq!(error.message, expected);
        assert_eq!(world.host.messages(&QueueName::DeadLetter), Vec::<String>::new());
    }
}

/// An agent that dies seven seconds after each of its starts has room for everything, and comes to the end of nothing.
async fn crash_loop(world: &World) {
    for number in 0.. {
        let agent = world.agent(&format!("broken-{number}"), 30, Script::new(|_| Script::hang()));
        tokio::time::sleep(Duration::from_secs(7)).await;
        agent.kill();
    }
}

#[tokio::test(start_paused = true)]
async fn crash_looping_agent_makes_no_innocent_poison() {
    let world = World::new();
    let actions: serde_json::Map<String, Value> =
        (0..INNOCENTS).map(|number| (format!("a{number:02}"), json!({ "native": { "handler": "x" } }))).collect();
    let id = world.submit(&json!({ "task": "innocent", "actions": actions })).await;
    let sound = world.agent("sound", 2, Script::new(|_| Script::after(Duration::from_mins(1), json!("done"))));
    let run = tokio::select! {
        run = world.ended(id) => run,
        () = crash_loop(&world) => unreachable!("it goes on"),
    };
    assert_eq!(run.status, RunStatus::Succeeded, "{:?}", run.error);
    sound.kill();
}
