//! Old reads: the record of a run, its answers and all its messages are those of a host whose every read is the newest.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use windlass_contract::event::PublicEvent;
use windlass_contract::message::{ControlMessage, InboxMessage, PerformMessage, decode};
use windlass_domain::content::Place;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName, RunId, TaskName};
use windlass_domain::run::{Claim, Input, Origin, Outcome, Report, Run};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{Clock, QueueName};
use windlass_engine::settle::{Settled, advance};
use windlass_engine::subject::{Engine, Given};
use windlass_testkit::generate::{Move, agent_of, moves, sketches};
use windlass_testkit::memory::MemoryHost;
use windlass_testkit::old_reads::OldGlances;
use windlass_testkit::sketch::{ActionSketch, Sketch, input};

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A clock that stands still between inputs: a conflict costs time, which would be the only difference.
struct Standing(Mutex<Timestamp>);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A host with one run.
struct World {
    host: MemoryHost,
    engine: Engine,
    clock: Arc<Standing>,
    id: RunId,
}

impl World {
    async fn new(sketch: &Sketch, are_old: bool) -> Self {
        let host = MemoryHost::new(START);
        let clock = Arc::new(Standing(Mutex::new(START)));
        let ports = Ports { clock: clock.clone(), ..host.ports() };
        let ports = if are_old { OldGlances::on(&ports) } else { ports };
        let task = TaskName::new("sketch").unwrap();
        let mut source = sketch.source();
        source["events"] = "all".into();
        ports.tasks.put(&task, &source, None, START).await.unwrap();
        let id = RunId::from_key(&task, "drawn");
        let run = Run::submitted(id, (task, 1), sketch.actions.len(), input(), Origin::Request, START);
        ports.runs.create(&run, &[], &[]).await.unwrap();
        let engine = Engine::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
        Self { host, engine, clock, id }
    }

    async fn run(&self) -> Run {
        self.host.ports().runs.load(&self.id).await.unwrap().unwrap()
    }

    /// The answers to a batch of inputs; `repeated` as after a redelivery.
    async fn take(&self, now: Timestamp, inputs: &[Input], repeated: bool) -> Vec<String> {
        *self.clock.0.lock().unwrap() = now;
        let given = |input: &Input| Given { repeated, ..Given::new(input.clone()) };
        let inputs: Vec<Given<Input>> = inputs.iter().map(given).collect();
        match advance::<Run>(&self.engine, &self.id, &inputs, None).await.unwrap() {
            Settled::Decided { answers } => answers.iter().map(|answer| format!("{answer:?}")).collect(),
            other @ (Settled::Unknown | Settled::Late) => panic!("the run is there: {other:?}"),
        }
    }

    /// Every message that was sent, but for when it may be received.
    fn sent(&self) -> Vec<String> {
        let pool = PoolName::default;
        let agents = (0..4).map(agent_of).map(|agent| QueueName::Control { pool: pool(), agent });
        let pools = [QueueName::Inbox, QueueName::Pool(pool()), QueueName::DeadLetter];
        pools.into_iter().chain(agents).flat_map(|queue| self.host.messages(&queue)).flat_map(apart).collect()
    }
}

/// The single parts of a message: the process manager puts all it sends one agent about one run into one message.
fn apart(body: String) -> Vec<String> {
    match decode(&body) {
        Ok(ControlMessage::Confirm { confirmed, .. }) => confirmed.iter().map(|one| format!("{one:?}")).collect(),
        Ok(ControlMessage::Stop { stopped, .. }) => stopped.iter().map(|one| format!("{one:?}")).collect(),
        Ok(ControlMessage::Drain { .. }) | Err(_) => vec![body],
    }
}

/// The events without repeats.
fn once(mut events: Vec<PublicEvent>) -> Vec<PublicEvent> {
    let mut known = BTreeSet::new();
    events.retain(|event| known.insert(event.id));
    events
}

/// An old read ends in a conflict. If the newest write decided the same input, it may have been the process's own. So the
/// process manager may resend what still stands: the same messages, wakes, attempts that an agent must claim, and the stop of an agent that
/// was told to stop as an answer.
fn check_sent(old: &[String], new: &[String]) {
    let mut surplus = old.to_vec();
    for body in new {
        let at = surplus.iter().position(|sent| sent == body);
        surplus.swap_remove(at.unwrap_or_else(|| panic!("never sent: {body}")));
    }
    let attempts: Vec<PerformMessage> = new.iter().filter_map(|body| decode(body).ok()).collect();
    let is_claimed = |body: &str| {
        let sent = decode::<PerformMessage>(body).ok().filter(|sent| sent.issue > 0);
        sent.is_some_and(|sent| attempts.iter().any(|attempt| attempt.of == sent.of))
    };
    let is_wake = |body: &str| matches!(decode(body), Ok(InboxMessage::Run { input: Input::Wake { .. }, .. }));
    let unasked = |body: &str| body.split_once("asked").map(|(before, _)| before.to_owned());
    let is_stop = |body: &str| {
        let stops = |sent: &&String| sent.contains("fate: Report") && unasked(sent) == unasked(body);
        body.contains("fate: Report") && new.iter().any(|sent| stops(&sent))
    };
    let surplus: Vec<&String> = surplus.iter().filter(|body| !new.contains(body)).collect();
    assert!(
        surplus.iter().all(|body| is_claimed(body) || is_wake(body) || is_stop(body)),
        "sent only after old reads: {surplus:?}"
    );
}

async fn drive(sketch: &Sketch, moves: &[(Move, bool)]) {
    let (new, old) = (World::new(sketch, false).await, World::new(sketch, true).await);
    let mut now = START;
    for (a_move, is_repeated) in moves {
        let before = new.run().await;
        now = a_move.pass.after(&before, now).plus(Millis(1));
        let input = a_move.what.input(&before, now);
        // The same input twice in one batch, or delivered again.
        let inputs = if *is_repeated { vec![input.clone(), input.clone()] } else { vec![input.clone()] };
        let expected = new.take(now, &inputs, *is_repeated).await;
        assert_eq!(old.take(now, &inputs, *is_repeated).await, expected, "{input:?}");
        assert_eq!(old.run().await, new.run().await, "{input:?}");
        check_sent(&old.sent(), &new.sent());
        assert_eq!(once(old.host.published()), once(new.host.published()), "{input:?}");
    }
    let log = |world: &World| world.host.ports().runs;
    let (log, expected) = (log(&old).events(old.id, None, 10_000).await, log(&new).events(new.id, None, 10_000).await);
    assert_eq!(log.unwrap(), expected.unwrap(), "everything is logged once");
}

#[test]
fn old_read_changes_no_decision() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let drawn = (sketches(), moves(30), proptest::collection::vec(proptest::bool::weighted(0.2), 30));
    let result = runner.run(&drawn, |(sketch, moves, repeats)| {
        let moves: Vec<(Move, bool)> = moves.into_iter().zip(repeats).collect();
        runtime.block_on(drive(&sketch, &moves));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// A report meets the write of another report, which queued the next action.
#[tokio::test(start_paused = true)]
async fn write_of_another_report_resends_nothing() {
    let world = World::new(&Sketch::of(vec![ActionSketch::needing([]), ActionSketch::needing([0])]), true).await;
    let agent = AgentId::new("one").unwrap();
    let of = || Report { action: ActionIndex(0), delivery: Delivery::new(1, 0, 1), message: 7, agent: agent.clone() };
    let outcome = Outcome::Succeeded { output: "done".into() };
    let completed = Input::Completed { of: of(), started_at: START, outcome, checkpoint: None };
    world.take(START, &[Input::Start], false).await;
    assert_eq!(world.take(START, &[completed], false).await[0], "Accepted");
    let attempts = || world.host.messages(&QueueName::Pool(PoolName::default()));
    assert_eq!(attempts().len(), 2);
    let started = Input::Started { of: of(), started_at: START };
    assert_eq!(world.take(START, &[started], false).await[0], "Refused(Settled)");
    assert_eq!(attempts().len(), 2, "{:?}", attempts());
}

/// Two agents claim by the same message, and the old record would confirm both under one fence.
#[tokio::test(start_paused = true)]
async fn second_claim_on_old_record_displaces_the_first() {
    const ACTION: ActionIndex = ActionIndex(0);
    let world = World::new(&Sketch::of(vec![ActionSketch::needing([])]), true).await;
    let agent = |name| AgentId::new(name).unwrap();
    let delivery = |receive| Delivery::new(1, 0, receive);
    world.take(START, &[Input::Start], false).await;
    for (name, receive) in [("one", 2), ("two", 3)] {
        let claims = vec![Claim { action: ACTION, delivery: delivery(receive), message: 7, asked: 1 }];
        assert_eq!(world.take(START, &[Input::Claim { agent: agent(name), claims }], false).await[0], "Accepted");
    }
    let state = world.run().await.action(ACTION).clone();
    assert_eq!((state.fence, state.agent()), (3, Some(&agent("two"))));
    assert_eq!(state.losses, [delivery(1), delivery(2)]);
    let report = |name, receive, output: &str| Input::Completed {
        of: Report { action: ACTION, delivery: delivery(receive), message: 7, agent: agent(name) },
        started_at: START,
        outcome: Outcome::Succeeded { output: output.into() },
        checkpoint: None,
    };
    // The report of the displaced agent does not count, but it says that this agent was not lost.
    for _ in 0..2 {
        assert_eq!(world.take(START, &[report("one", 2, "first")], false).await[0], "Refused(Stale)");
        assert_eq!(world.run().await.action(ACTION).losses, [delivery(1)]);
    }
    assert_eq!(world.take(START, &[report("two", 3, "second")], false).await[0], "Accepted");
    world.take(START, &[report("two", 3, "again")], true).await;
    assert_eq!(world.run().await.value(Place::Output(ACTION)), Some(&"second".into()));
    let log = world.engine.ports.runs.events(world.id, None, 100).await.unwrap();
    assert_eq!(log.iter().filter(|logged| logged.event.kind == "action.succeeded").count(), 1);
}
