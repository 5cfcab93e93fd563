//! The requests of agents to the process manager, and its answers in their control queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use windlass_contract::message::{Confirmed, ControlMessage, InboxMessage, MESSAGE_VERSION, Stopped, decode, encode};
use windlass_domain::attempt::Fate;
use windlass_domain::caller::{Caller, Way};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName, RunId};
use windlass_domain::limits::MAX_CLAIMS;
use windlass_domain::run::{ActionStatus, CancelCause, Claim, Input, RunStatus};
use windlass_domain::time::Millis;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{ErrorClass, Outgoing, PortError, QueueName, Received, Sender};
use windlass_engine::process_manager::ProcessManager;
use windlass_testkit::idle::Idle;
use windlass_testkit::watched::WatchedQueues;

use crate::world::{Running, Script, World, absent_run, report_of};

const ACTION: ActionIndex = ActionIndex(0);

fn wide(width: usize) -> Value {
    let actions = (0..width).map(|at| (format!("a{at}"), json!({ "native": { "handler": "x" } })));
    json!({ "task": "wide", "actions": actions.collect::<serde_json::Map<_, _>>() })
}

fn claim_of(received: &Received, asked: u32) -> Claim {
    let of = report_of(received, "claimer");
    Claim { action: of.action, delivery: of.delivery, message: of.message, asked }
}

async fn claims(world: &World, run: RunId, agent: &str, claims: Vec<Claim>) {
    world.input(run, Input::Claim { agent: AgentId::new(agent).unwrap(), claims }).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
}

fn control(agent: &str) -> QueueName {
    QueueName::Control { pool: PoolName::default(), agent: AgentId::new(agent).unwrap() }
}

fn told(world: &World, agent: &str) -> Vec<ControlMessage> {
    world.host.messages(&control(agent)).iter().map(|body| decode(body).unwrap()).collect()
}

/// The agent's newest control message, which must be one Confirm.
fn confirmed(world: &World, agent: &str) -> Confirmed {
    let Some(ControlMessage::Confirm { mut confirmed, .. }) = told(world, agent).pop() else { panic!("no Confirm") };
    assert_eq!(confirmed.len(), 1);
    confirmed.remove(0)
}

/// The agent's newest control message, which must be one Stop.
fn stopped(world: &World, agent: &str) -> Stopped {
    let Some(ControlMessage::Stop { mut stopped, .. }) = told(world, agent).pop() else { panic!("no Stop") };
    assert_eq!(stopped.len(), 1);
    stopped.remove(0)
}

#[tokio::test(start_paused = true)]
async fn claims_of_one_message_have_one_answer() {
    let world = World::new();
    let id = world.submit(&wide(MAX_CLAIMS)).await;
    let mut all = Vec::new();
    while all.len() < MAX_CLAIMS {
        for received in world.steal(Duration::from_secs(30)).await {
            all.push(claim_of(&received, u32::try_from(all.len()).unwrap() + 1));
        }
    }
    let before = world.run(id).await.revision;
    claims(&world, id, "claimer", all.clone()).await;
    let run = world.run(id).await;
    assert_eq!(run.revision, before + 1, "one write");
    assert!(run.actions.iter().all(|state| (state.status, state.fence) == (ActionStatus::Running, 2)));
    let [ControlMessage::Confirm { confirmed, .. }] = &told(&world, "claimer")[..] else { panic!("one message") };
    let answered: Vec<_> = confirmed.iter().map(|one| (one.action, one.delivery, one.asked, one.fence)).collect();
    let asked: Vec<_> = all.iter().map(|claim| (claim.action, claim.delivery, claim.asked, 2)).collect();
    assert_eq!(answered, asked);
}

#[tokio::test(start_paused = true)]
async fn repeated_claim_is_confirmed_again_without_write() {
    let world = World::new();
    let id = world.submit(&wide(1)).await;
    let taken = world.steal(Duration::from_secs(30)).await;
    claims(&world, id, "claimer", vec![claim_of(&taken[0], 1)]).await;
    let (first, revision) = (confirmed(&world, "claimer"), world.run(id).await.revision);
    claims(&world, id, "claimer", vec![claim_of(&taken[0], 1)]).await;
    assert_eq!((confirmed(&world, "claimer"), world.run(id).await.revision), (first, revision));
    assert_eq!(told(&world, "claimer").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn claim_of_owned_attempt_is_refused() {
    let world = World::new();
    let id = world.submit(&wide(1)).await;
    let taken = world.steal(Duration::from_secs(30)).await;
    let owners = claim_of(&taken[0], 1);
    claims(&world, id, "owner", vec![owners]).await;
    // By the owner's own message, which the queue delivers again; and by another one, which no agent needs.
    for (message, fate) in [(owners.message, Fate::Leave), (owners.message ^ 1, Fate::Delete)] {
        claims(&world, id, "other", vec![Claim { message, asked: 7, ..owners }]).await;
        let refused = stopped(&world, "other");
        assert_eq!((refused.asked, refused.fate), (Some(7), fate));
    }
    assert_eq!(world.run(id).await.action(ACTION).agent().unwrap().as_str(), "owner");
}

/// An agent received the message once more, so its earlier owner is dead, or cut off.
#[tokio::test(start_paused = true)]
async fn later_receive_displaces_and_stops_the_owner() {
    let world = World::new();
    let id = world.submit(&wide(1)).await;
    let first = world.steal(Duration::from_secs(10)).await;
    claims(&world, id, "first", vec![claim_of(&first[0], 1)]).await;
    let again = world.steal(Duration::from_mins(1)).await;
    claims(&world, id, "second", vec![claim_of(&again[0], 1)]).await;
    assert_eq!(confirmed(&world, "second").delivery, Delivery::new(1, 0, 2));
    let order = stopped(&world, "first");
    assert_eq!((order.delivery, order.asked, order.fate), (Delivery::new(1, 0, 1), None, Fate::Leave));
}

#[tokio::test(start_paused = true)]
async fn claim_of_settled_action_is_refused() {
    let world = World::new();
    world.agent("agent", 1, Script::new(|_| Script::give(Value::Null)));
    let id = world.submit(&wide(1)).await;
    assert_eq!(world.ended(id).await.status, RunStatus::Succeeded);
    let claim = Claim { action: ACTION, delivery: Delivery::new(1, 9, 1), message: 5, asked: 3 };
    claims(&world, id, "late", vec![claim]).await;
    let refused = stopped(&world, "late");
    assert_eq!((refused.asked, refused.fate), (Some(3), Fate::Delete));
}

/// The agent has let the claim go, or never made it. But the record has it as the owner, so the agent hands back.
#[tokio::test(start_paused = true)]
async fn confirm_without_hold_is_handed_back() {
    let world = World::new();
    let id = world.submit(&wide(1)).await;
    let taken = world.steal(Duration::from_hours(12)).await;
    let script = Script::new(|_| Script::give(json!("done")));
    let performed = script.performed.clone();
    world.agent("agent", 1, script);
    claims(&world, id, "agent", vec![claim_of(&taken[0], 1)]).await;
    let run = world.ended(id).await;
    let state = run.action(ACTION);
    // Queued, confirmed, handed back, and confirmed once more.
    assert_eq!((run.status, state.attempt(), state.fence), (RunStatus::Succeeded, 1, 4));
    assert!(state.last.issue > 0 && state.losses.is_empty(), "{state:?}");
    assert_eq!(performed.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// The agent gets a Confirm of a running attempt twice.
#[tokio::test(start_paused = true)]
async fn repeated_confirm_changes_nothing() {
    let world = World::new();
    let id = world.submit(&wide(1)).await;
    world.steal(Duration::from_secs(30)).await;
    let script = Script::new(|_| Script::after(Duration::from_secs(20), json!("done")));
    let performed = script.performed.clone();
    world.agent("agent", 1, script);
    let run = world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
    let state = run.action(ACTION);
    let (owner, delivery, fence) = (state.owner.clone().unwrap(), state.last, state.fence);
    for asked in [1, 9] {
        let message = owner.message;
        let (until, checkpoint) = (None, None);
        let one = Confirmed { action: ACTION, delivery, message, asked, until, checkpoint, losses: 1, fence };
        let body = encode(&ControlMessage::Confirm { v: MESSAGE_VERSION, run: id, confirmed: vec![one] });
        world.host.ports().queues.send(&control("agent"), vec![Outgoing::now(body)]).await.unwrap();
    }
    let run = world.ended(id).await;
    assert_eq!((run.status, run.action(ACTION).last), (RunStatus::Succeeded, delivery), "it was not handed back");
    assert_eq!(performed.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// Handles the inbox's messages by hand, as messages of that sender.
async fn handle(world: &World, sender: &Sender) -> (Vec<Received>, Vec<bool>) {
    let ports = world.host.ports();
    let mut batch = ports.queues.receive(&QueueName::Inbox, 10, Duration::ZERO, Duration::ZERO).await.unwrap();
    for received in &mut batch {
        received.sender = sender.clone();
    }
    let done = again(world, &batch).await;
    (batch, done)
}

async fn again(world: &World, batch: &[Received]) -> Vec<bool> {
    let ports = world.host.ports();
    ProcessManager::new(ports.clone(), Arc::new(Definitions::new(ports.tasks)))
        .handle(&QueueName::Inbox, batch, None)
        .await
}

/// Agents of another pool, and inputs that no agent may send.
#[tokio::test(start_paused = true)]
async fn forbidden_input_is_kept_as_dead_letter() {
    for (pool, is_cancel) in [("other", false), ("default", true)] {
        let world = World::idle();
        let id = world.submit(&wide(1)).await;
        assert_eq!(handle(&world, &Sender::Host).await.1, [true]);
        world.host.ports().queues.remove(&QueueName::Inbox).await.unwrap();
        let taken = world.steal(Duration::from_secs(30)).await;
        let before = world.run(id).await;
        let cancel = Input::Cancel { reason: String::new(), cause: CancelCause::Request, retries: 0 };
        let started = Input::Started { of: report_of(&taken[0], "spy"), started_at: world.now() };
        world.input(id, if is_cancel { cancel } else { started }).await;
        let sender = Sender::Agents(PoolName::new(pool).unwrap());
        assert_eq!(handle(&world, &sender).await.1, [true], "it is not handled again");
        assert_eq!(world.run(id).await, before, "{pool}");
        assert_eq!(world.host.messages(&QueueName::DeadLetter).len(), 1, "{pool}");
    }
}

/// The submitter sends the start before it writes the record.
#[tokio::test(start_paused = true)]
async fn start_of_absent_run_waits_three_minutes() {
    let world = World::idle();
    world.input(absent_run(), Input::Start).await;
    let (batch, done) = handle(&world, &Sender::Host).await;
    assert_eq!(done, [false]);
    world.host.advance(Millis(179_999));
    assert_eq!(again(&world, &batch).await, [false]);
    world.host.advance(Millis(1));
    assert_eq!(again(&world, &batch).await, [true]);
    assert_eq!(world.host.messages(&QueueName::DeadLetter), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn event_names_the_caller_of_an_input() {
    let world = World::new();
    let id = world.submit(&wide(1)).await;
    let caller = Caller { who: Some("ann".to_owned()), way: Way::Api, why: None };
    let input = Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries: 0 };
    let message = encode(&InboxMessage::Run { v: MESSAGE_VERSION, run: id, input, caller });
    world.host.ports().queues.send(&QueueName::Inbox, vec![Outgoing::now(message)]).await.unwrap();
    world.until(id, |run| run.cancellation.is_some()).await;
    let published = world.host.published();
    let event = published.iter().find(|event| event.kind == "run.cancelling").expect("published");
    assert_eq!((&event.data["caller"]["who"], &event.data["caller"]["way"]), (&json!("ann"), &json!("api")));
}

fn pool() -> QueueName {
    QueueName::Pool(PoolName::default())
}

fn inputs(world: &World) -> Vec<Input> {
    let of = |body: &String| match decode(body).unwrap() {
        InboxMessage::Run { input, .. } => Some(input),
        InboxMessage::Task { .. } | InboxMessage::Sweep { .. } => None,
    };
    QueueName::INPUTS.iter().flat_map(|queue| world.host.messages(queue)).filter_map(|body| of(&body)).collect()
}

/// A world without a process manager, in which an agent has just claimed the attempt of the run.
async fn claimed() -> (World, RunId, Running, Claim) {
    let world = World::idle();
    let id = world.submit(&wide(1)).await;
    handle(&world, &Sender::Host).await;
    world.steal(Duration::from_secs(1)).await;
    let agent = world.agent("agent", 1, Script::new(|_| Script::hang()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let first = |input: &Input| if let Input::Claim { claims, .. } = input { claims.first().copied() } else { None };
    let claim = inputs(&world).iter().find_map(first);
    (world, id, agent, claim.expect("it claims"))
}

/// No worker decides what is in the inbox.
#[tokio::test(start_paused = true)]
async fn claims_and_hand_backs_pass_by_the_inbox() {
    let (world, id, agent, _) = claimed().await;
    world.input(id, Input::Sweep).await;
    let ports = world.host.ports();
    let manager = ProcessManager::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
    tokio::spawn(async move { manager.work(&QueueName::Claims, &CancellationToken::new()).await });
    world.until(id, |run| run.action(ACTION).agent().is_some()).await;
    agent.drain().await;
    world.until(id, |run| run.action(ACTION).status == ActionStatus::Queued).await;
    let inbox = world.host.messages(&QueueName::Inbox);
    assert!(inbox.iter().any(|body| body.contains("sweep")), "no worker took it: {inbox:?}");
    assert!(!inbox.iter().any(|body| body.contains("claim") || body.contains("handed_back")), "{inbox:?}");
}

/// An agent asks every 5 s, and its requests can not be sent.
#[tokio::test(start_paused = true)]
async fn unsent_claims_do_not_pile_up() {
    let world = World::idle();
    world.submit(&wide(1)).await;
    handle(&world, &Sender::Host).await;
    world.steal(Duration::from_secs(1)).await;
    let away = Arc::new(AtomicBool::new(true));
    let is_away = away.clone();
    let refused = move |queue: &QueueName, _: &Outgoing| {
        let is_refused = *queue == QueueName::Claims && is_away.load(Ordering::SeqCst);
        is_refused.then(|| PortError::new(ErrorClass::Retry, "WL0304", "send: out of reach"))
    };
    let ports = WatchedQueues::refusing(world.host.ports().queues, refused).on(&world.host.ports());
    let settings = AgentSettings::new(AgentId::new("agent").unwrap(), PoolName::default(), 1);
    let agent = Agent::new(ports.clone(), Arc::new(Definitions::new(ports.tasks)), Arc::new(Idle), settings);
    tokio::spawn(async move { agent.run(&CancellationToken::new()).await });
    tokio::time::sleep(Duration::from_mins(2)).await;
    away.store(false, Ordering::SeqCst);
    while world.host.messages(&QueueName::Claims).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(world.host.messages(&QueueName::Claims).len(), 1);
}

/// The process manager may confirm a repeated claim after it refused it, so another agent must find the message.
#[tokio::test(start_paused = true)]
async fn refused_claim_keeps_its_message_if_asked_twice() {
    for (after, left) in [(Duration::ZERO, 0), (Duration::from_secs(5), 1)] {
        let (world, run, _agent, claim) = claimed().await;
        tokio::time::sleep(after).await;
        let Claim { action, delivery, message, asked } = claim;
        let (asked, fate, reason) = (Some(asked), Fate::Delete, String::new());
        let stopped = vec![Stopped { action, delivery, message, asked, fate, reason }];
        let body = encode(&ControlMessage::Stop { v: MESSAGE_VERSION, run, stopped });
        world.host.ports().queues.send(&control("agent"), vec![Outgoing::now(body)]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.host.messages(&pool()).len(), left, "refused {after:?} later");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_before_the_answer_keeps_the_message() {
    let (world, _, agent, claim) = claimed().await;
    agent.drain().await;
    let is_back = |input: &Input| matches!(input, Input::HandedBack { of, .. } if of.delivery == claim.delivery);
    assert!(inputs(&world).iter().any(is_back), "the agent says that it has stopped");
    assert_eq!(world.host.messages(&pool()).len(), 1, "the claim may be confirmed later");
}
