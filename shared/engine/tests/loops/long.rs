//! Attempts that last for longer than a queue hides their message.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_contract::message::{PerformMessage, decode};
use windlass_domain::ids::{ActionIndex, AgentId, PoolName, RunId};
use windlass_domain::run::{ActionStatus, RunStatus};
use windlass_domain::time::Millis;
use windlass_engine::agent::AgentSettings;
use windlass_engine::ports::QueueName;
use windlass_testkit::memory::QueueLimits;

use crate::world::{Script, World};

const ACTION: ActionIndex = ActionIndex(0);

fn task() -> Value {
    json!({ "task": "long", "actions": { "a": { "native": { "handler": "a" } } } })
}

/// The same on a smaller scale, so that a test need not look at days: a queue that hides for half an hour.
const SHORT: QueueLimits =
    QueueLimits { hidden: Some(Millis(30 * 60_000)), retention: Some(Millis(3_600_000)), ..QueueLimits::SQS };

fn early(settings: &mut AgentSettings) {
    settings.reissue_after = Duration::from_mins(15);
}

fn copies(world: &World) -> Vec<u32> {
    let bodies = world.host.messages(&QueueName::Pool(PoolName::default()));
    bodies.iter().map(|body| decode::<PerformMessage>(body).expect("an attempt").copy).collect()
}

fn lasting(span: Duration) -> Script {
    Script::new(move |_| Script::after(span, json!("done")))
}

/// Looks at the pool now and then until the run has ended: the greatest copy, and the most messages that were there.
async fn follow(world: &World, id: RunId, every: Duration) -> (u32, usize) {
    let (mut newest, mut most) = (0, 0);
    while !world.run(id).await.status.is_final() {
        let there = copies(world);
        newest = newest.max(there.iter().copied().max().unwrap_or(0));
        most = most.max(there.len());
        tokio::time::sleep(every).await;
    }
    (newest, most)
}

async fn check_one_owner(world: &World, id: RunId, owner: &str) {
    let run = world.run(id).await;
    let state = run.action(ACTION);
    assert_eq!((run.status, state.attempt, state.fence), (RunStatus::Succeeded, 1, 1), "one attempt, one owner");
    assert_eq!(state.agent.as_ref().map(AgentId::as_str), Some(owner));
    // A copy that nobody adopted in time comes again, and is refused.
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(world.left_over().await, Vec::<String>::new(), "every message is gone in the end");
    assert_eq!(world.host.messages(&QueueName::DeadLetter), Vec::<String>::new());
}

/// SCENARIOS 4.
#[tokio::test(start_paused = true)]
async fn an_action_of_72_hours_has_one_attempt_and_one_owner() {
    let world = World::limited(QueueLimits::SQS);
    let script = lasting(Duration::from_hours(72));
    let performed = script.performed.clone();
    // So that three days take a moment.
    let calm = |settings: &mut AgentSettings| settings.visibility = Duration::from_mins(10);
    world.agent_with("owner", 4, script, calm);
    let id = world.submit(&task()).await;
    world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
    let other = lasting(Duration::ZERO);
    let elsewhere = other.performed.clone();
    world.agent_with("other", 4, other, calm);
    let (newest, most) = follow(&world, id, Duration::from_mins(1)).await;
    assert!(newest >= 6, "{newest} copies");
    assert!(most <= 2, "{most} messages of one attempt");
    assert_eq!((performed.load(Ordering::SeqCst), elsewhere.load(Ordering::SeqCst)), (1, 0));
    check_one_owner(&world, id, "owner").await;
}

/// No agent has a free slot for the copy: its holder finds it all the same, and hands back what it finds beside it.
#[tokio::test(start_paused = true)]
async fn an_agent_without_a_free_slot_finds_its_copies() {
    let world = World::limited(SHORT);
    let script = lasting(Duration::from_hours(3));
    let performed = script.performed.clone();
    world.agent_with("owner", 1, script, early);
    let id = world.submit(&task()).await;
    world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
    let (newest, most) = follow(&world, id, Duration::from_secs(20)).await;
    assert!(newest >= 6, "{newest} copies");
    assert!(most <= 2, "{most} messages of one attempt");
    assert_eq!(performed.load(Ordering::SeqCst), 1);
    check_one_owner(&world, id, "owner").await;
}

/// The copy is received by an agent that drains, or that is killed, or whose answer is lost.
#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_leaves_one_message_that_counts() {
    // Killed before it sends a copy, between that and the adoption, and after it.
    for minutes in [14, 15, 16, 17, 31] {
        let world = World::limited(SHORT);
        let owner = world.agent_with("owner", 4, lasting(Duration::from_hours(1)), early);
        let id = world.submit(&task()).await;
        world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
        tokio::time::sleep(Duration::from_mins(minutes)).await;
        owner.kill();
        let killed_at = world.now();
        let next = lasting(Duration::from_mins(50));
        let performed = next.performed.clone();
        world.agent_with("next", 4, next, early);
        world.until(id, |run| run.action(ACTION).fence > 1).await;
        let waited = world.now().since(killed_at).0;
        assert!(waited <= 35_000, "killed after {minutes} min, claimed after {waited} ms");
        tokio::time::sleep(Duration::from_mins(55)).await;
        let run = world.run(id).await;
        let state = run.action(ACTION);
        assert_eq!(
            (run.status, state.attempt, state.fence),
            (RunStatus::Succeeded, 1, 2),
            "killed after {minutes} min"
        );
        assert_eq!(performed.load(Ordering::SeqCst), 1, "killed after {minutes} min");
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(world.left_over().await, Vec::<String>::new(), "killed after {minutes} min");
    }
}

/// An attempt that ends, or is handed back, while its copy is under way: every message is deleted in the end, and it is
/// performed once by whoever it is handed to.
#[tokio::test(start_paused = true)]
async fn an_attempt_may_end_while_its_message_is_replaced() {
    for seconds in [899, 900, 902, 905, 906, 907, 910, 920] {
        let world = World::limited(SHORT);
        world.agent_with("owner", 4, lasting(Duration::from_secs(seconds)), early);
        world.agent_with("other", 4, lasting(Duration::ZERO), early);
        let id = world.submit(&task()).await;
        follow(&world, id, Duration::from_secs(20)).await;
        let performed = world.run(id).await.action(ACTION).fence;
        assert_eq!(performed, 1, "ends after {seconds} s");
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(world.left_over().await, Vec::<String>::new(), "ends after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_may_be_handed_back_while_its_message_is_replaced() {
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
        tokio::time::sleep(Duration::from_mins(40)).await;
        let run = world.run(id).await;
        let state = run.action(ACTION);
        assert_eq!((run.status, state.attempt, state.fence), (RunStatus::Succeeded, 1, 3), "drained after {seconds} s");
        assert_eq!(performed.load(Ordering::SeqCst), 1, "drained after {seconds} s");
        assert_eq!(world.left_over().await, Vec::<String>::new(), "drained after {seconds} s");
    }
}

/// Many deployments in a row: the attempt is handed on and on, and is never taken for one that nobody can perform.
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
    assert_eq!((run.status, state.attempt, state.fence), (RunStatus::Succeeded, 1, 101));
    assert_eq!(world.left_over().await, Vec::<String>::new());
    assert_eq!(world.host.messages(&QueueName::DeadLetter), Vec::<String>::new());
}
