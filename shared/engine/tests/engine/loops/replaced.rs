//! A fleet that is replaced, or that goes down, with much of one run in flight.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_domain::ids::RunId;
use windlass_domain::run::{ActionStatus, RunStatus};
use windlass_engine::ports::QueueName;
use windlass_testkit::faults::Moment;

use crate::world::{Running, Script, World};

const WIDTH: u32 = 40;

/// A run of so many actions, and an agent that performs all of them.
async fn in_flight(world: &World, name: &str, width: u32) -> (RunId, Running) {
    let actions = (0..width).map(|number| (format!("a{number:02}"), json!({ "native": { "handler": "x" } })));
    let actions: serde_json::Map<String, Value> = actions.collect();
    let agent = hanging(world, name);
    let id = world.submit(&json!({ "task": "wide", "actions": actions })).await;
    all_run_on(world, id, name).await;
    (id, agent)
}

fn hanging(world: &World, name: &str) -> Running {
    world.agent_with(name, WIDTH, Script::new(|_| Script::hang()), |settings| {
        settings.drain_deadline = Duration::ZERO;
    })
}

async fn all_run_on(world: &World, id: RunId, name: &str) {
    let is_there = |agent: &str| agent == name;
    world
        .until(id, |run| {
            let mut states = run.actions.iter();
            states.all(|it| {
                it.status == ActionStatus::Running && it.agent().as_ref().is_some_and(|it| is_there(it.as_str()))
            })
        })
        .await;
}

/// The process manager writes hand-backs and claims that come together in one commit: ten messages at a time.
#[tokio::test(start_paused = true)]
async fn an_agent_is_replaced_with_few_writes() {
    let world = World::new();
    let (id, first) = in_flight(&world, "first", WIDTH).await;
    let before = world.run(id).await.revision;
    first.drain().await;
    let _second = hanging(&world, "second");
    let since = world.now();
    all_run_on(&world, id, "second").await;
    let (run, waited) = (world.run(id).await, world.now().since(since).0);
    assert!(run.actions.iter().all(|state| (state.attempt(), state.fence, state.losses.len()) == (1, 3, 0)));
    let writes = run.revision - before;
    assert!(writes <= 12, "{writes} writes hand back and claim {WIDTH} attempts");
    assert!(waited < 1000, "the next agent had them after {waited} ms");
    assert_eq!(world.host.messages(&QueueName::DeadLetter), Vec::<String>::new());
}

/// A machine that goes down three times with all its attempts. None of these attempts is poison, and they do not begin
/// one by one.
#[tokio::test(start_paused = true)]
async fn actions_of_crashing_machine_are_not_poison() {
    let world = World::new();
    let (id, mut agent) = in_flight(&world, "machine-0", WIDTH).await;
    for number in 1..3 {
        agent.kill();
        let name = format!("machine-{number}");
        agent = hanging(&world, &name);
        if number == 1 {
            all_run_on(&world, id, &name).await;
        } else {
            world.until(id, |run| run.actions.iter().all(|it| it.losses.len() == 2)).await;
        }
    }
    let since = world.now();
    agent.kill();
    world.agent("good", WIDTH, Script::new(|_| Script::after(Duration::from_mins(1), json!("done"))));
    let run = world.ended(id).await;
    let waited = world.now().since(since).0;
    assert_eq!(run.status, RunStatus::Succeeded);
    assert!(run.actions.iter().all(|state| state.attempt() == 1));
    // Thirty seconds of redelivery, then four at a time, on probation for thirty more, and a minute of work at last.
    assert!(waited < 400_000, "all went on and ended within {waited} ms");
}

/// An agent dies, the next one claims all its attempts, and drains; a third one goes on. Gives the losses. Also gives
/// the number of calls when the second began to claim, and when the third had everything.
async fn losses(world: &World) -> (usize, [usize; 2]) {
    let (id, first) = in_flight(world, "first", 4).await;
    let before = world.calls();
    first.kill();
    let second = hanging(world, "second");
    // So long the messages of the dead one are hidden.
    tokio::time::sleep(Duration::from_secs(25)).await;
    world.until(id, |run| run.actions.iter().all(|it| !it.losses.is_empty())).await;
    second.drain().await;
    hanging(world, "third");
    all_run_on(world, id, "third").await;
    let lost = world.run(id).await.actions.iter().map(|state| state.losses.len()).sum();
    (lost, [before, world.calls()])
}

/// If a stop cannot be sent to a dead agent, for example, the agent that claimed loses nothing.
#[tokio::test(start_paused = true)]
async fn no_call_that_fails_takes_others_for_lost() {
    let (lost, [from, to]) = losses(&World::new()).await;
    assert_eq!(lost, 4, "one for each, of the agent that died");
    for at in from..to {
        for moment in [Moment::Before, Moment::After] {
            let (lost, _) = losses(&World::failing(at, moment)).await;
            assert!(lost <= 5, "{lost} losses when call {at} fails {moment:?} its effect");
        }
    }
}
