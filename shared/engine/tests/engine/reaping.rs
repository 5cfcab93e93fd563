//! Agents that end without a word, and agents that come back.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_contract::message::{ControlMessage, MESSAGE_VERSION, encode};
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{AgentRecord, ErrorClass, Outgoing, PortError, QueueName};
use windlass_engine::sweeper::Sweeper;
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::idle::Idle;
use windlass_testkit::memory::MemoryHost;
use windlass_testkit::watched::WatchedQueues;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn id(name: &str) -> AgentId {
    AgentId::new(name).expect("a name")
}

fn control(name: &str) -> QueueName {
    QueueName::Control { pool: PoolName::default(), agent: id(name) }
}

fn record(name: &str, seen_at: Timestamp) -> AgentRecord {
    AgentRecord {
        id: id(name),
        pool: PoolName::default(),
        slots: 1,
        busy: 0,
        version: "1".to_owned(),
        address: "host/1".to_owned(),
        draining: false,
        started_at: START,
        seen_at,
    }
}

fn drain(name: &str) -> Vec<Outgoing> {
    let message = ControlMessage::Drain { v: MESSAGE_VERSION, deadline_ms: Millis(0), agent: id(name) };
    vec![Outgoing::now(encode(&message))]
}

async fn registered(ports: &Ports) -> Vec<String> {
    let agents = ports.agents.list().await.expect("the register can be read");
    agents.into_iter().map(|agent| agent.id.to_string()).collect()
}

fn start_sweeper(ports: Ports) {
    tokio::spawn(async move { Sweeper::new(ports, Duration::from_mins(1)).run(&CancellationToken::new()).await });
}

fn start_agent(ports: &Ports, name: &str) -> tokio::task::JoinHandle<()> {
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let settings = AgentSettings::new(id(name), PoolName::default(), 1);
    let agent = Agent::new(ports.clone(), definitions, Arc::new(Idle), settings);
    tokio::spawn(async move { agent.run(&CancellationToken::new()).await })
}

#[tokio::test(start_paused = true)]
async fn dead_agent_is_forgotten_with_its_queue() {
    let host = MemoryHost::new(START);
    let ports = host.ports();
    ports.agents.register(&record("dead", START)).await.unwrap();
    ports.queues.send(&control("dead"), drain("dead")).await.unwrap();
    let _living = start_agent(&ports, "living");
    start_sweeper(ports.clone());

    tokio::time::sleep(Duration::from_secs(179)).await;
    assert_eq!(registered(&ports).await, ["dead", "living"]);
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(registered(&ports).await, ["living"]);
    assert_eq!(host.messages(&control("dead")), Vec::<String>::new());
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(registered(&ports).await, ["living"]);
}

#[tokio::test(start_paused = true)]
async fn returning_agent_registers_again_and_obeys() {
    let host = MemoryHost::new(START);
    let ports = host.ports();
    let back = start_agent(&ports, "back");
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(registered(&ports).await, ["back"]);

    // By the register it was stopped for long enough.
    Sweeper::new(ports.clone(), Duration::from_mins(1)).reap(START.plus(Millis::from_secs(600))).await.unwrap();
    assert_eq!(registered(&ports).await, Vec::<String>::new());
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(registered(&ports).await, ["back"]);

    ports.queues.send(&control("back"), drain("back")).await.unwrap();
    back.await.expect("it drains and ends");
    assert_eq!(registered(&ports).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn crash_while_reaping_leaves_rest_for_next_round() {
    for moment in [Moment::Before, Moment::After] {
        for call in 0.. {
            let host = MemoryHost::new(START);
            let ports = host.ports();
            for name in ["one", "two"] {
                ports.agents.register(&record(name, START)).await.unwrap();
                ports.queues.send(&control(name), drain(name)).await.unwrap();
            }
            let later = START.plus(Millis::from_secs(180));
            let dying = FaultyHost::crashing(ports.clone(), call, moment);
            let ended = Sweeper::new(dying.ports(), Duration::from_mins(1)).reap(later).await;
            Sweeper::new(ports.clone(), Duration::from_mins(1)).reap(later).await.unwrap();
            assert_eq!(registered(&ports).await, Vec::<String>::new());
            for name in ["one", "two"] {
                assert_eq!(host.messages(&control(name)), Vec::<String>::new());
            }
            if ended.is_ok() {
                break;
            }
        }
    }
}

/// The receives of the control queue fail for a while, as after its removal.
#[tokio::test(start_paused = true)]
async fn agent_without_control_queue_does_not_spin() {
    let host = MemoryHost::new(START);
    let gone = || PortError::new(ErrorClass::Reject, "WL0331", "receive: there is no such queue");
    let refused = move |queue: &QueueName, before| (*queue == control("agent") && before < 5).then(gone);
    let queues = WatchedQueues::refusing_receives(host.ports().queues, refused);
    let ports = queues.on(&host.ports());
    let agent = start_agent(&ports, "agent");
    tokio::time::sleep(Duration::from_mins(2)).await;
    let asked = queues.receives(&control("agent"));
    assert!((6..=12).contains(&asked), "asked {asked} times");
    ports.queues.send(&control("agent"), drain("agent")).await.unwrap();
    agent.await.expect("it drains and ends");
}
