//! Attempts that last for longer than a queue hides their message.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName, RunId};
use windlass_domain::run::{ActionState, ActionStatus, Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::agent::AgentSettings;
use windlass_engine::ports::{Outgoing, QueueName};
use windlass_testkit::memory::QueueLimits;

use crate::world::{Script, World};

const ACTION: ActionIndex = ActionIndex(0);

fn task() -> Value {
    json!({ "task": "long", "actions": { "a": { "native": { "handler": "a" } } } })
}

/// The same on a smaller scale, so that a test need not take days: a queue that hides for half an hour.
const SHORT: QueueLimits =
    QueueLimits { hidden: Some(Millis(30 * 60_000)), retention: Some(Millis(3_600_000)), ..QueueLimits::SQS };

fn early(settings: &mut AgentSettings) {
    settings.lease_after = Duration::from_mins(15);
}

fn messages(world: &World) -> usize {
    world.host.messages(&QueueName::Pool(PoolName::default())).len()
}

/// Until when the owner of the attempt has it without a message.
fn lease(run: &Run) -> Option<Timestamp> {
    run.action(ACTION).owner.as_ref().and_then(|owner| owner.until)
}

fn lasting(span: Duration) -> Script {
    Script::new(move |_| Script::after(span, json!("done")))
}

/// Looks at the run now and then until it has ended: how often its lease was renewed.
async fn follow(world: &World, id: RunId, every: Duration) -> usize {
    let mut leases = BTreeSet::new();
    loop {
        let run = world.run(id).await;
        if run.status.is_final() {
            return leases.len();
        }
        leases.extend(lease(&run));
        tokio::time::sleep(every).await;
    }
}

async fn check_one_owner(world: &World, id: RunId, owner: &str) {
    let run = world.run(id).await;
    let state = run.action(ACTION);
    assert_eq!((run.status, state.attempt(), state.fence), (RunStatus::Succeeded, 1, 1), "one attempt, one owner");
    assert_eq!(state.agent().map(AgentId::as_str), Some(owner));
    assert_eq!(world.left_over().await, Vec::<String>::new(), "every message is gone in the end");
    assert_eq!(world.host.messages(&QueueName::DeadLetter), Vec::<String>::new());
}

/// SCENARIOS 4.
#[tokio::test(start_paused = true)]
async fn action_of_72_hours_keeps_one_owner() {
    let world = World::limited(QueueLimits::SQS);
    let script = lasting(Duration::from_hours(72));
    let performed = script.performed.clone();
    // The agent extends rarely, and the test plays three days in a moment.
    let calm = |settings: &mut AgentSettings| settings.visibility = Duration::from_mins(10);
    world.agent_with("owner", 4, script, calm);
    let id = world.submit(&task()).await;
    world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
    let other = lasting(Duration::ZERO);
    let elsewhere = other.performed.clone();
    world.agent_with("other", 4, other, calm);
    let renewed = follow(&world, id, Duration::from_mins(1)).await;
    // It has a message for eight hours, and then a lease of ten minutes, renewed before a half of it has passed.
    assert!((64 * 12..=64 * 18).contains(&renewed), "renewed {renewed} times");
    assert_eq!((performed.load(Ordering::SeqCst), elsewhere.load(Ordering::SeqCst)), (1, 0));
    check_one_owner(&world, id, "owner").await;
}

/// An overloaded pool: messages that wait there for hours neither end the attempt nor become dead letters by it.
#[tokio::test(start_paused = true)]
async fn backlog_takes_no_long_attempt_from_agent() {
    let world = World::limited(QueueLimits { retention: None, ..SHORT });
    let script = Script::new(|attempt| {
        let span = if attempt.name.as_str() == "a" { Duration::from_hours(3) } else { Duration::ZERO };
        Script::after(span, json!("done"))
    });
    let performed = script.performed.clone();
    world.agent_with("owner", 1, script, early);
    let native = json!({ "native": { "handler": "a" } });
    let mut actions = serde_json::Map::from_iter([("a".to_owned(), native.clone())]);
    actions.extend((0..30).map(|number| (format!("b{number}"), native.clone())));
    let id = world.submit(&json!({ "task": "long", "actions": actions })).await;
    world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
    let renewed = follow(&world, id, Duration::from_secs(20)).await;
    assert!(renewed > 30, "renewed {renewed} times");
    assert_eq!(performed.load(Ordering::SeqCst), 31);
    let run = world.run(id).await;
    // An agent claims an attempt that waited for longer than the visibility timeout, which raises its fence.
    let waited = |state: &ActionState| (state.attempt(), state.fence, state.losses.len()) == (1, 2, 0);
    assert!(run.actions.iter().skip(1).all(waited), "{run:?}");
    check_one_owner(&world, id, "owner").await;
}

#[tokio::test(start_paused = true)]
async fn dead_agents_message_or_lease_runs_out() {
    // Killed while it has the message, and after it leased the attempt.
    for (minutes, within) in [(14, 35_000), (16, 680_000), (31, 680_000)] {
        let world = World::limited(SHORT);
        let owner = world.agent_with("owner", 4, lasting(Duration::from_hours(1)), early);
        let id = world.submit(&task()).await;
        world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
        tokio::time::sleep(Duration::from_mins(minutes)).await;
        owner.kill();
        assert_eq!(messages(&world), usize::from(minutes < 15), "killed after {minutes} min");
        let killed_at = world.now();
        let next = lasting(Duration::from_mins(50));
        let performed = next.performed.clone();
        world.agent_with("next", 4, next, early);
        let run =
            world.until(id, |run| run.action(ACTION).agent().as_ref().is_some_and(|it| it.as_str() == "next")).await;
        let waited = world.now().since(killed_at).0;
        assert!(waited <= within, "killed after {minutes} min, claimed after {waited} ms");
        assert_eq!(run.action(ACTION).losses, [Delivery::new(1, 0, 1)], "killed after {minutes} min");
        tokio::time::sleep(Duration::from_mins(55)).await;
        let run = world.run(id).await;
        let state = run.action(ACTION);
        assert_eq!((run.status, state.attempt()), (RunStatus::Succeeded, 1), "killed after {minutes} min");
        assert_eq!(performed.load(Ordering::SeqCst), 1, "killed after {minutes} min");
        assert_eq!(world.left_over().await, Vec::<String>::new(), "killed after {minutes} min");
    }
}

/// A message of the attempt that was not deleted, or was sent twice, does not take the attempt from its leaseholder.
#[tokio::test(start_paused = true)]
async fn no_message_takes_attempt_from_leaseholder() {
    let world = World::limited(SHORT);
    let at_once = |settings: &mut AgentSettings| settings.lease_after = Duration::ZERO;
    let id = world.submit(&task()).await;
    world.until(id, |run| run.action(ACTION).status == ActionStatus::Queued).await;
    let pool = QueueName::Pool(PoolName::default());
    let twin = world.host.messages(&pool).pop().expect("the attempt's message");
    world.agent_with("owner", 4, lasting(Duration::from_mins(30)), at_once);
    world.until(id, |run| lease(run).is_some() && messages(&world) == 0).await;
    world.host.ports().queues.send(&pool, vec![Outgoing::now(twin)]).await.expect("sent");
    // An agent received it and died, so the next one must claim it.
    world.steal(Duration::ZERO).await;
    let other = lasting(Duration::ZERO);
    let elsewhere = other.performed.clone();
    world.agent_with("other", 4, other, early);
    follow(&world, id, Duration::from_secs(20)).await;
    assert_eq!(elsewhere.load(Ordering::SeqCst), 0);
    check_one_owner(&world, id, "owner").await;
}

/// An attempt that ends while its agent asks for a lease. In the end every message is deleted, and one agent has
/// performed it.
#[tokio::test(start_paused = true)]
async fn an_attempt_may_end_while_it_is_leased() {
    for seconds in [899, 900, 902, 905, 906, 907, 910, 920] {
        let world = World::limited(SHORT);
        world.agent_with("owner", 4, lasting(Duration::from_secs(seconds)), early);
        world.agent_with("other", 4, lasting(Duration::ZERO), early);
        let id = world.submit(&task()).await;
        follow(&world, id, Duration::from_secs(20)).await;
        let performed = world.run(id).await.action(ACTION).fence;
        assert_eq!(performed, 1, "ends after {seconds} s");
        assert_eq!(world.left_over().await, Vec::<String>::new(), "ends after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn leased_attempt_handed_back_is_resent_at_once() {
    for seconds in [890, 900, 903, 905, 906, 907, 910, 960, 1900] {
        let world = World::limited(SHORT);
        let drains_at_once = |settings: &mut AgentSettings| {
            early(settings);
            settings.drain_deadline = Duration::ZERO;
        };
        let owner = world.agent_with("owner", 4, Script::new(|_| Script::hang()), drains_at_once);
        let id = world.submit(&task()).await;
        world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let next = lasting(Duration::from_mins(20));
        let performed = next.performed.clone();
        world.agent_with("next", 4, next, early);
        owner.drain().await;
        let drained_at = world.now();
        world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
        assert!(world.now().since(drained_at).0 < 10_000, "drained after {seconds} s");
        tokio::time::sleep(Duration::from_mins(25)).await;
        let run = world.run(id).await;
        let state = run.action(ACTION);
        assert_eq!(
            (run.status, state.attempt(), state.fence),
            (RunStatus::Succeeded, 1, 3),
            "drained after {seconds} s"
        );
        assert_eq!(performed.load(Ordering::SeqCst), 1, "drained after {seconds} s");
        assert_eq!(world.left_over().await, Vec::<String>::new(), "drained after {seconds} s");
    }
}

/// Many deployments in a row: agents hand the attempt on, and it never becomes a dead letter.
#[tokio::test(start_paused = true)]
async fn hand_backs_wear_out_no_message() {
    let world = World::new();
    let at_once = |settings: &mut AgentSettings| settings.drain_deadline = Duration::ZERO;
    let id = world.submit(&task()).await;
    for number in 0..50 {
        let agent = world.agent_with(&format!("agent-{number}"), 4, Script::new(|_| Script::hang()), at_once);
        world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
        agent.drain().await;
    }
    world.agent("last", 4, lasting(Duration::ZERO));
    let run = world.ended(id).await;
    let state = run.action(ACTION);
    assert_eq!((run.status, state.attempt(), state.fence), (RunStatus::Succeeded, 1, 101));
    assert_eq!(world.left_over().await, Vec::<String>::new());
    assert_eq!(world.host.messages(&QueueName::DeadLetter), Vec::<String>::new());
}
