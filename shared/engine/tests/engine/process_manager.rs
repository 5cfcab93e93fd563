//! The process manager by hand: batches, dead letters, sweeps, and queues that refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_contract::message::{InboxMessage, MESSAGE_VERSION, PerformMessage, decode, encode};
use windlass_domain::caller::{Caller, Way};
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionIndex, PoolName, RunId, TaskName};
use windlass_domain::limits::{MAX_ERROR_MESSAGE_BYTES, MAX_OUTPUT_BYTES};
use windlass_domain::run::{ActionStatus, ErrorInfo, Input, Origin, Outcome, Progress, Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{ErrorClass, Outgoing, PortError, QueueName, Received, Sender};
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::submit::{StartRequest, Starter};
use windlass_engine::sweeper::Sweeper;
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::memory::MemoryHost;
use windlass_testkit::watched::WatchedQueues;

use crate::world::first_report;

/// Two actions in one pool, then their join; `side` is in a pool of its own and may fail.
fn source() -> Value {
    json!({ "task": "t", "actions": {
        "a": { "native": { "handler": "x" } },
        "side": { "native": { "handler": "x" }, "pool": "side", "allow_failure": true },
        "b": { "needs": ["a"], "native": { "handler": "x" } },
    } })
}

struct World {
    host: MemoryHost,
    /// The host's, or others that stand before them.
    ports: Ports,
}

impl World {
    async fn new() -> Self {
        let host = MemoryHost::new(Timestamp::from_millis(1_700_000_000_000));
        let ports = host.ports();
        let definition = Definition::from_source(&source()).unwrap();
        ports.tasks.put(&definition.task, &source(), None, ports.clock.now()).await.unwrap();
        for pool in ["default", "side"] {
            host.serve(&PoolName::new(pool).unwrap());
        }
        Self { host, ports }
    }

    fn manager(&self) -> ProcessManager {
        ProcessManager::new(self.ports.clone(), Arc::new(Definitions::new(self.ports.tasks.clone())))
    }

    /// Records a run whose start no submitter has sent.
    async fn record(&self, key: &str) -> RunId {
        let task = TaskName::new("t").unwrap();
        let id = RunId::from_key(&task, key);
        let run = Run::submitted(id, (task, 1), 3, Value::Null, Origin::Request, self.ports.clock.now());
        self.host.ports().runs.create(&run, &[], &[]).await.unwrap();
        id
    }

    /// A run as a caller starts it.
    async fn start(&self) -> RunId {
        let starter = Starter::new(self.ports.clone(), Arc::new(Definitions::new(self.ports.tasks.clone())));
        let task = TaskName::new("t").unwrap();
        let caller = Caller::by(Way::Api);
        let request = StartRequest { task, version: None, input: Value::Null, key: None, caller };
        starter.start(request).await.unwrap().run.id
    }

    async fn send(&self, run: RunId, input: Input) {
        self.send_body(encode(&InboxMessage::of_run(run, input))).await;
    }

    async fn send_body(&self, body: String) {
        self.host.ports().queues.send(&QueueName::Inbox, vec![Outgoing::now(body)]).await.unwrap();
    }

    async fn receive(&self, queue: &QueueName) -> Vec<Received> {
        let queues = self.host.ports().queues;
        queues.receive(queue, 10, Duration::from_secs(30), Duration::ZERO).await.unwrap()
    }

    /// Handles the inbox's messages until it is empty.
    async fn manage(&self) {
        let manager = self.manager();
        loop {
            let batch = self.receive(&QueueName::Inbox).await;
            if batch.is_empty() {
                return;
            }
            assert!(manager.handle(&QueueName::Inbox, &batch, None).await.iter().all(|done| *done), "{batch:?}");
            let receipts = batch.into_iter().map(|delivery| delivery.receipt).collect();
            self.host.ports().queues.delete(&QueueName::Inbox, receipts).await.unwrap();
        }
    }

    async fn run(&self, id: RunId) -> Run {
        self.host.ports().runs.load(&id).await.unwrap().unwrap()
    }

    /// The dead letters.
    fn letters(&self) -> Vec<Value> {
        let bodies = self.host.messages(&QueueName::DeadLetter);
        bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }

    fn attempts(&self, pool: &QueueName) -> Vec<PerformMessage> {
        self.host.messages(pool).iter().map(|body| decode(body).unwrap()).collect()
    }
}

fn pool(name: &str) -> QueueName {
    QueueName::Pool(PoolName::new(name).unwrap())
}

fn default_pool() -> QueueName {
    QueueName::Pool(PoolName::default())
}

fn state(run: &Run, action: u32) -> (ActionStatus, Option<String>, String) {
    let state = run.action(ActionIndex(action));
    let error = state.error.clone();
    let (kind, message) = error.map_or((None, String::new()), |error| (Some(error.kind), error.message));
    (state.status, kind, message)
}

#[tokio::test(start_paused = true)]
async fn ten_runs_are_one_request_per_queue() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(world.record(&n.to_string()).await);
        world.send(ids[n], Input::Start).await;
    }
    let batch = world.receive(&QueueName::Inbox).await;
    assert_eq!(batch.len(), 10);
    let queues = WatchedQueues::new(world.host.ports().queues);
    let watched = World { host: world.host.clone(), ports: queues.on(&world.ports) };
    assert_eq!(watched.manager().handle(&QueueName::Inbox, &batch, None).await, [true; 10]);
    let mut sends = queues.sends();
    sends.sort();
    assert_eq!(sends, [(default_pool(), 10), (pool("side"), 10)]);
    let performed: BTreeSet<RunId> = world.attempts(&default_pool()).iter().map(|perform| perform.run).collect();
    assert_eq!(performed, ids.into_iter().collect());
}

/// Ten reports of one action each. Their effects go out in one request, after all commits.
#[tokio::test(start_paused = true)]
async fn ten_reports_are_followed_by_one_request() {
    let world = World::new().await;
    for n in 0..10 {
        let id = world.record(&n.to_string()).await;
        world.send(id, Input::Start).await;
    }
    world.manage().await;
    for perform in world.attempts(&default_pool()) {
        let (of, started_at) = (first_report(&perform, "agent"), world.ports.clock.now());
        let outcome = Outcome::Succeeded { output: Value::Null };
        world.send(perform.run, Input::Completed { of, started_at, outcome, checkpoint: None }).await;
    }
    let batch = world.receive(&QueueName::Inbox).await;
    let queues = WatchedQueues::new(world.host.ports().queues);
    let watched = World { host: world.host.clone(), ports: queues.on(&world.ports) };
    assert_eq!(watched.manager().handle(&QueueName::Inbox, &batch, None).await, [true; 10]);
    assert_eq!(queues.sends(), [(default_pool(), 10)]);
}

/// A foreign agent need not know the limits.
#[tokio::test(start_paused = true)]
async fn report_beyond_its_limits_is_held_to_them() {
    let world = World::new().await;
    let id = world.start().await;
    let attempts = [world.attempts(&default_pool()), world.attempts(&pool("side"))].concat();
    let [large, odd] = attempts.try_into().expect("two attempts");
    let started_at = world.ports.clock.now();
    let error = ErrorInfo::new("wrong word!", "é".repeat(MAX_ERROR_MESSAGE_BYTES));
    let outcomes = [Outcome::Succeeded { output: "x".repeat(MAX_OUTPUT_BYTES).into() }, Outcome::Failed { error }];
    for (perform, outcome) in [large, odd].iter().zip(outcomes) {
        let of = first_report(perform, "agent");
        world.send(id, Input::Completed { of, started_at, outcome, checkpoint: None }).await;
    }
    world.manage().await;
    let run = world.ports.runs.load(&id).await.unwrap().unwrap();
    let (_, kind, message) = state(&run, 0);
    assert_eq!((kind.as_deref(), message.contains("131072")), (Some("output.too_large"), true), "{message}");
    let (_, kind, message) = state(&run, 1);
    assert_eq!((kind.as_deref(), message.len() <= MAX_ERROR_MESSAGE_BYTES), (Some("wrong_word_"), true));
}

/// The pool has an agent by now. From the host the message would just be dropped.
#[tokio::test(start_paused = true)]
async fn agent_that_speaks_of_a_pool_is_a_dead_letter() {
    let world = World::new().await;
    let id = world.start().await;
    let since = world.ports.clock.now();
    for (sender, letters) in [(Sender::Host, 0), (Sender::Agents(PoolName::default()), 1)] {
        world.send(id, Input::Unserved { pool: PoolName::default(), since }).await;
        let mut batch = world.receive(&QueueName::Inbox).await;
        batch[0].sender = sender;
        assert_eq!(world.manager().handle(&QueueName::Inbox, &batch[..1], None).await, [true]);
        assert_eq!(world.host.messages(&QueueName::DeadLetter).len(), letters);
    }
}

/// If the sends fail, every input that leads to one comes again; the others are done.
#[tokio::test(start_paused = true)]
async fn input_is_acknowledged_after_its_sends() {
    let world = World::new().await;
    let started = world.start().await;
    let recorded = world.record("k").await;
    let of = first_report(&world.attempts(&default_pool())[0], "agent");
    let progress = Progress { percent: Some(1.0), message: None };
    world.send(recorded, Input::Start).await;
    world.send(started, Input::Progressed { of, number: 0, progress, checkpoint: None }).await;
    let batch = world.receive(&QueueName::Inbox).await;
    let out_of_reach = || PortError::new(ErrorClass::Retry, "WL0304", "send: out of reach");
    let queues = WatchedQueues::refusing(world.host.ports().queues, move |_, _| Some(out_of_reach()));
    let cut_off = World { host: world.host.clone(), ports: queues.on(&world.ports) };
    assert_eq!(cut_off.manager().handle(&QueueName::Inbox, &batch, None).await, [false, true]);
    assert_eq!(world.run(recorded).await.revision, 1, "it is committed all the same");

    world.host.advance(Millis::from_secs(30));
    let again: Vec<Received> = world.receive(&QueueName::Inbox).await;
    assert_eq!(world.manager().handle(&QueueName::Inbox, &again[..1], None).await, [true]);
    let sent = world.attempts(&default_pool());
    assert_eq!(sent.iter().filter(|perform| perform.run == recorded).count(), 1, "its redelivery has it sent");
}

/// A request that carries messages of several runs fails as one. An agent must claim the attempts sent beside it when
/// they are resent, because their agents may be at work.
#[tokio::test(start_paused = true)]
async fn unreachable_pool_repeats_no_first_message_elsewhere() {
    let world = World::new().await;
    for n in 0..3 {
        let id = world.record(&n.to_string()).await;
        world.send(id, Input::Start).await;
    }
    let batch = world.receive(&QueueName::Inbox).await;
    let out_of_reach = |queue: &QueueName, _: &Outgoing| {
        (*queue == pool("side")).then(|| PortError::new(ErrorClass::Retry, "WL0304", "send: out of reach"))
    };
    let queues = WatchedQueues::refusing(world.host.ports().queues, out_of_reach);
    let cut_off = World { host: world.host.clone(), ports: queues.on(&world.ports) };
    assert_eq!(cut_off.manager().handle(&QueueName::Inbox, &batch, None).await, [false; 3]);
    assert_eq!(world.attempts(&default_pool()).len(), 3, "each is sent once");

    world.host.advance(Millis::from_secs(30));
    world.manage().await;
    let sent = world.attempts(&default_pool());
    assert_eq!(
        sent.iter().filter(|perform| perform.issue == 0).count(),
        3,
        "an agent must claim what is sent again: {sent:?}"
    );
    assert_eq!(world.attempts(&pool("side")).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn refusing_pool_fails_only_its_own_action() {
    let world = World::new().await;
    let ids = [world.record("0").await, world.record("1").await, world.record("2").await];
    for id in ids {
        world.send(id, Input::Start).await;
    }
    let gone = |queue: &QueueName, message: &Outgoing| {
        let of = decode::<PerformMessage>(&message.body);
        let is_it =
            *queue == pool("side") && of.is_ok_and(|perform| perform.run == RunId::from_key(&perform.task, "1"));
        is_it.then(|| PortError::new(ErrorClass::Reject, "WL0331", "send: there is no such queue"))
    };
    let queues = WatchedQueues::refusing(world.host.ports().queues, gone);
    let world = World { ports: queues.on(&world.ports), ..world };
    world.manage().await;

    assert_eq!(world.attempts(&default_pool()).len(), 3, "every run goes on");
    let beside: BTreeSet<RunId> = world.attempts(&pool("side")).iter().map(|perform| perform.run).collect();
    assert_eq!(beside, BTreeSet::from([ids[0], ids[2]]), "the messages beside the refused one are sent");
    for id in ids {
        let run = world.run(id).await;
        assert_eq!((run.status, state(&run, 0).0), (RunStatus::Running, ActionStatus::Queued));
        if id == ids[1] {
            let (status, kind, message) = state(&run, 1);
            assert_eq!((status, kind.as_deref()), (ActionStatus::Failed, Some("dead_letter")));
            assert!(message.contains("`side`") && message.contains("there is no such queue"), "{message}");
        } else {
            assert_eq!(state(&run, 1).0, ActionStatus::Queued);
        }
    }
    let letters = world.letters();
    assert_eq!((letters.len(), &letters[0]["queue"]), (1, &json!("pool.side")));
    assert!(letters[0]["reason"].as_str().unwrap().contains("there is no such queue"), "{letters:?}");
    let kept: PerformMessage = decode(letters[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!((kept.run, kept.name.as_str()), (ids[1], "side"));
}

/// The same when the run begins with its record.
#[tokio::test(start_paused = true)]
async fn submitter_answers_though_a_pool_refuses() {
    let world = World::new().await;
    let gone = |queue: &QueueName, _: &Outgoing| {
        (*queue == pool("side")).then(|| PortError::new(ErrorClass::Reject, "WL0331", "send: there is no such queue"))
    };
    let queues = WatchedQueues::refusing(world.host.ports().queues, gone);
    let world = World { ports: queues.on(&world.ports), ..world };
    let id = world.start().await;
    world.manage().await;
    let run = world.run(id).await;
    assert_eq!((state(&run, 0).0, state(&run, 1).0), (ActionStatus::Queued, ActionStatus::Failed));
    assert_eq!(world.letters().len(), 1);
}

/// An agent that has ended took its control queue along: that is no failure of the run that stops it.
#[tokio::test(start_paused = true)]
async fn stop_to_missing_control_queue_is_dropped() {
    let world = World::new().await;
    let id = world.start().await;
    let of = first_report(&world.attempts(&default_pool())[0], "gone");
    let agent = of.agent.clone();
    world.send(id, Input::Started { of, started_at: world.ports.clock.now() }).await;
    world.manage().await;
    let cause = windlass_domain::run::CancelCause::Request;
    world.send(id, Input::Cancel { reason: "enough".into(), cause, retries: 0 }).await;
    let gone = move |queue: &QueueName, _: &Outgoing| {
        let refused = PortError::new(ErrorClass::Reject, "WL0331", "send: there is no such queue");
        let control = QueueName::Control { pool: PoolName::default(), agent: agent.clone() };
        (*queue == control).then_some(refused)
    };
    let queues = WatchedQueues::refusing(world.host.ports().queues, gone);
    let world = World { ports: queues.on(&world.ports), ..world };
    world.manage().await;
    assert!(queues.sends().iter().any(|(queue, _)| matches!(queue, QueueName::Control { .. })));
    assert_eq!((world.run(id).await.status, world.letters().len()), (RunStatus::Cancelling, 0));
}

#[tokio::test(start_paused = true)]
async fn attempt_given_up_by_pool_fails() {
    let world = World::new().await;
    let (id, other) = (world.start().await, world.start().await);
    let given_up: Vec<Received> = world.receive(&default_pool()).await;
    let of_it = |delivery: &&Received| decode::<PerformMessage>(&delivery.body).unwrap().run == id;
    let given_up: Vec<Received> = given_up.iter().filter(of_it).cloned().collect();
    assert_eq!(world.manager().handle_dead(&default_pool(), &given_up).await, [true]);
    world.manage().await;
    let run = world.run(id).await;
    let (status, kind, message) = state(&run, 0);
    assert_eq!((status, kind.as_deref()), (ActionStatus::Failed, Some("dead_letter")));
    assert!(message.contains("gave it up"), "{message}");
    assert_eq!(state(&run, 2).0, ActionStatus::Skipped, "what needs it is not performed");
    assert_eq!(state(&world.run(other).await, 0).0, ActionStatus::Queued);
    let letters = world.letters();
    assert_eq!((letters.len(), &letters[0]["queue"]), (1, &json!(default_pool().to_string())));
    assert_eq!((&letters[0]["body"], &letters[0]["reason"]), (&json!(given_up[0].body), &json!(message)));

    // A redelivery of the dead letter changes nothing about the run.
    assert_eq!(world.manager().handle_dead(&default_pool(), &given_up).await, [true]);
    world.manage().await;
    assert_eq!(world.run(id).await, run);
}

#[tokio::test(start_paused = true)]
async fn input_given_up_by_inbox_is_only_kept() {
    let world = World::new().await;
    let id = world.start().await;
    let before = world.run(id).await;
    world.send(id, Input::Pause { pauses: 0, retries: 0 }).await;
    let inbox = world.host.messages(&QueueName::Inbox);
    let mut given_up = world.receive(&QueueName::Inbox).await;
    let no_json = Received { body: "no json".into(), ..given_up[0].clone() };
    given_up.push(no_json);
    assert_eq!(world.manager().handle_dead(&QueueName::Inbox, &given_up).await, [true, true]);
    assert_eq!(world.run(id).await, before, "it is not handled after all");
    let kept: BTreeMap<String, String> = world
        .letters()
        .iter()
        .map(|letter| (letter["body"].as_str().unwrap().into(), letter["reason"].as_str().unwrap().into()))
        .collect();
    assert_eq!(kept.keys().collect::<Vec<_>>(), [&given_up[1].body, &given_up[0].body]);
    assert!(kept.values().all(|reason| reason.contains("`inbox` gave it up")), "{kept:?}");
    assert_eq!(world.host.messages(&QueueName::Inbox), inbox, "the run is told nothing");
}

#[tokio::test(start_paused = true)]
async fn unkept_dead_letter_comes_again() {
    let world = World::new().await;
    world.start().await;
    let given_up = world.receive(&default_pool()).await;
    let inbox = world.host.messages(&QueueName::Inbox);
    let full = |queue: &QueueName, _: &Outgoing| {
        (*queue == QueueName::DeadLetter).then(|| PortError::new(ErrorClass::Retry, "WL0304", "send: out of reach"))
    };
    let queues = WatchedQueues::refusing(world.host.ports().queues, full);
    let cut_off = World { host: world.host.clone(), ports: queues.on(&world.ports) };
    assert_eq!(cut_off.manager().handle_dead(&default_pool(), &given_up).await, [false]);
    assert_eq!(world.host.messages(&QueueName::Inbox), inbox, "the run is not told");
}

#[tokio::test(start_paused = true)]
async fn sweep_message_sweeps_only_due_runs() {
    let world = World::new().await;
    let (lost, fresh) = (world.record("lost").await, world.record("fresh").await);
    world.host.advance(Millis::from_secs(180));
    world.send(fresh, Input::Start).await;
    world.manage().await;
    let nominal = world.ports.clock.now();
    world.send_body(encode(&InboxMessage::Sweep { v: MESSAGE_VERSION, nominal })).await;
    let batch = world.receive(&QueueName::Inbox).await;
    assert_eq!(world.manager().handle(&QueueName::Inbox, &batch, None).await, [true]);
    let receipts = batch.into_iter().map(|delivery| delivery.receipt).collect();
    world.host.ports().queues.delete(&QueueName::Inbox, receipts).await.unwrap();

    let bodies = world.host.messages(&QueueName::Inbox);
    let swept: Vec<InboxMessage> = bodies.iter().map(|body| decode(body).unwrap()).collect();
    assert_eq!(swept, [InboxMessage::of_run(lost, Input::Sweep)]);
    world.manage().await;
    assert_eq!(world.run(lost).await.status, RunStatus::Running);
    assert_eq!(world.attempts(&default_pool()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_fails_comes_again() {
    let world = World::new().await;
    world.record("lost").await;
    world.host.advance(Millis::from_secs(180));
    let nominal = world.ports.clock.now();
    world.send_body(encode(&InboxMessage::Sweep { v: MESSAGE_VERSION, nominal })).await;
    let batch = world.receive(&QueueName::Inbox).await;
    let out_of_reach = || PortError::new(ErrorClass::Retry, "WL0304", "send: out of reach");
    let queues = WatchedQueues::refusing(world.host.ports().queues, move |_, _| Some(out_of_reach()));
    let cut_off = World { host: world.host.clone(), ports: queues.on(&world.ports) };
    assert_eq!(cut_off.manager().handle(&QueueName::Inbox, &batch, None).await, [false]);
}

/// Others may have decided and acknowledged the inputs of a process manager that was held up.
#[tokio::test(start_paused = true)]
async fn late_inputs_are_not_decided() {
    let world = World::new().await;
    let run = world.record("held up").await;
    world.send(run, Input::Start).await;
    let batch = world.receive(&QueueName::Inbox).await;
    let now = Instant::now();
    assert_eq!(world.manager().handle(&QueueName::Inbox, &batch, Some(now)).await, [false]);
    assert_eq!(world.run(run).await.status, RunStatus::Submitted);
    assert_eq!(world.attempts(&default_pool()), []);
    assert_eq!(world.manager().handle(&QueueName::Inbox, &batch, Some(now + Duration::from_secs(1))).await, [true]);
    assert_eq!(world.run(run).await.status, RunStatus::Running);
    assert_eq!(world.attempts(&default_pool()).len(), 1);
}

/// A bug in a sweep fails its own message, and nothing beside it.
#[tokio::test(start_paused = true)]
async fn panicking_sweep_comes_again_and_stops_nothing() {
    let world = World::new().await;
    world.record("lost").await;
    world.host.advance(Millis::from_secs(180));
    let now = world.ports.clock.now();
    world.send_body(encode(&InboxMessage::Sweep { v: MESSAGE_VERSION, nominal: now })).await;
    let other = world.record("other").await;
    world.send(other, Input::Start).await;
    let deliveries = world.receive(&QueueName::Inbox).await;
    let panics = WatchedQueues::refusing(world.ports.queues.clone(), |queue, _| {
        assert!(*queue != QueueName::Inbox, "by intent of the test");
        None
    });
    let ports = panics.on(&world.ports);
    let manager = ProcessManager::new(ports, Arc::new(Definitions::new(world.ports.tasks.clone())));
    let done = manager.handle(&QueueName::Inbox, &deliveries, None).await;
    let bodies = deliveries.iter().map(|delivery| delivery.body.contains("sweep"));
    for (is_sweep, done) in bodies.zip(done) {
        assert_eq!(done, !is_sweep);
    }
    assert_eq!(world.host.ports().runs.load(&other).await.unwrap().unwrap().status, RunStatus::Running);
}

/// On some hosts a run that the store hands out rests for a while. So it hands out none whose wake would not be sent.
#[tokio::test(start_paused = true)]
async fn deep_inbox_stops_the_sweep() {
    let world = World::new().await;
    world.record("due").await;
    let inbox = world.host.ports().queues;
    for _ in 0..1001 {
        inbox.send(&QueueName::Inbox, vec![Outgoing::now("{}".to_owned()); 10]).await.unwrap();
    }
    let counted = FaultyHost::failing(world.ports.clone(), usize::MAX, Moment::Before);
    Sweeper::new(counted.ports(), Duration::from_secs(1)).sweep(world.ports.clock.now()).await.unwrap();
    assert_eq!(counted.calls(), 1, "the depth alone");
}
