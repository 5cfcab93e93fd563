//! A drain beside a long poll that the queue does not give up, as SQS does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::run::Outcome;
use windlass_domain::time::Timestamp;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::definitions::Definitions;
use windlass_engine::perform::{Attempt, AttemptControl, Performer};
use windlass_engine::ports::{ErrorClass, Outgoing, PortError, QueueName};
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::idle::Idle;
use windlass_testkit::memory::MemoryHost;
use windlass_testkit::watched::WatchedQueues;

/// Performs until the agent stops it.
struct Endless;

#[async_trait]
impl Performer for Endless {
    async fn perform(&self, _: Attempt, control: AttemptControl) -> Outcome {
        control.stop.cancelled().await;
        Outcome::Cancelled
    }
}

/// Cannot perform for want of something of its agent's, the first time.
#[derive(Default)]
struct Starved(AtomicBool);

const PAUSE: Duration = Duration::from_secs(7);

#[async_trait]
impl Performer for Starved {
    async fn perform(&self, _: Attempt, control: AttemptControl) -> Outcome {
        if self.0.swap(true, Ordering::Relaxed) {
            return Outcome::Succeeded { output: json!(null) };
        }
        control.hand_back(PAUSE)
    }
}

fn message(issue: u64, queued_at: Timestamp) -> String {
    let of = json!({ "action": 0, "attempt": 1 });
    json!({
        "v": 1, "run": "0190b36e-0000-7000-8000-000000000001", "task": "long", "version": 1, "name": "a", "of": of,
        "work": { "facade": "native", "handler": "x", "input": null }, "queued_at": queued_at, "issue": issue, "fence": 1,
    })
    .to_string()
}

/// A draining agent receives another message of a running attempt. It goes on until its deadline, and hands back once.
#[tokio::test(start_paused = true)]
async fn draining_agent_leaves_second_message_of_attempt() {
    let host = MemoryHost::new(Timestamp::from_millis(1_800_000_000_000));
    let ports = WatchedQueues::polling_on(host.ports().queues).on(&host.ports());
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let id = AgentId::new("drained").expect("a name");
    let settings = AgentSettings::new(id, PoolName::default(), 4);
    let agent = Agent::new(ports.clone(), definitions, Arc::new(Endless), settings);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let pool = QueueName::Pool(PoolName::default());
    ports.queues.send(&pool, vec![Outgoing::now(message(0, ports.clock.now()))]).await.expect("sent");
    let running = tokio::spawn(async move { agent.run(&stop).await });
    tokio::time::sleep(Duration::from_secs(3)).await;

    shutdown.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let other = message(5, ports.clock.now());
    ports.queues.send(&pool, vec![Outgoing::now(other.clone())]).await.expect("sent");
    let handed_back = || host.messages(&QueueName::Claims).iter().filter(|body| body.contains("handed_back")).count();
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(handed_back(), 0, "it still performs it");
    running.await.expect("the agent ends by itself");
    assert_eq!(handed_back(), 1);
    assert_eq!(host.messages(&pool), [other], "the agent deletes its own message, and lets the other one be");
}

/// The agent keeps the attempt and its slot for the pause, and hands the attempt back then, or when it drains.
#[tokio::test(start_paused = true)]
async fn attempt_is_handed_back_after_pause() {
    for (drains, within) in [(false, PAUSE), (true, Duration::from_secs(1))] {
        let host = MemoryHost::new(Timestamp::from_millis(1_800_000_000_000));
        let ports = host.ports();
        let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
        let id = AgentId::new("starved").expect("a name");
        let settings = AgentSettings::new(id, PoolName::default(), 1);
        let agent = Agent::new(ports.clone(), definitions, Arc::new(Starved::default()), settings);
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let pool = QueueName::Pool(PoolName::default());
        ports.queues.send(&pool, vec![Outgoing::now(message(0, ports.clock.now()))]).await.expect("sent");
        let running = tokio::spawn(async move { agent.run(&stop).await });
        tokio::time::sleep(Duration::from_millis(500)).await;
        if drains {
            shutdown.cancel();
        }
        let reports = || host.messages(&QueueName::Claims).into_iter().chain(host.messages(&QueueName::Inbox));
        assert!(drains || reports().next().is_none(), "it waits");
        tokio::time::sleep(within).await;
        let reports: Vec<_> = reports().collect();
        assert!(matches!(&reports[..], [report] if report.contains("handed_back")), "{reports:?}");
        assert_eq!(host.messages(&pool), [""; 0], "the process manager sends it again");
        shutdown.cancel();
        running.await.expect("the agent ends by itself");
    }
}

/// The agent hands back a first message. It makes any other visible, so that the next agent claims it.
#[tokio::test(start_paused = true)]
async fn open_receive_during_drain_is_handed_back() {
    let host = MemoryHost::new(Timestamp::from_millis(1_800_000_000_000));
    let ports = WatchedQueues::polling_on(host.ports().queues).on(&host.ports());
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let id = AgentId::new("drained").expect("a name");
    let agent = Agent::new(ports.clone(), definitions, Arc::new(Idle), AgentSettings::new(id, PoolName::default(), 4));
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move { agent.run(&stop).await });
    tokio::time::sleep(Duration::from_secs(1)).await;

    shutdown.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pool = QueueName::Pool(PoolName::default());
    let queues = host.ports().queues;
    let before = message(7, ports.clock.now());
    queues.send(&pool, vec![Outgoing::now(before.clone())]).await.expect("sent");
    queues.receive(&pool, 1, Duration::ZERO, Duration::ZERO).await.expect("received");
    queues.send(&pool, vec![Outgoing::now(message(0, ports.clock.now()))]).await.expect("sent");
    running.await.expect("the agent ends by itself");
    let visible = ports.queues.depth(&pool).await.expect("counted");
    assert_eq!(visible, 1, "the next one need not wait for its visibility timeout");
    assert_eq!(host.messages(&pool), [before]);
    let reports = host.messages(&QueueName::Claims);
    assert!(matches!(&reports[..], [report] if report.contains("handed_back")), "{reports:?}");
}

/// Its control queue cannot be made.
#[tokio::test(start_paused = true)]
async fn agent_that_cannot_start_ends_on_request() {
    let host = MemoryHost::new(Timestamp::from_millis(1_800_000_000_000));
    let ports = FaultyHost::crashing(host.ports(), 0, Moment::Before).ports();
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let id = AgentId::new("cut-off").expect("a name");
    let agent = Agent::new(ports, definitions, Arc::new(Idle), AgentSettings::new(id, PoolName::default(), 4));
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move { agent.run(&stop).await });
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert!(!running.is_finished(), "it tries again");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(1), running).await.expect("it ends").expect("it does not panic");
}

/// The inbox is gone, and takes nothing ever again.
#[tokio::test(start_paused = true)]
async fn rejected_report_holds_up_no_drain() {
    let host = MemoryHost::new(Timestamp::from_millis(1_800_000_000_000));
    let refused = |queue: &QueueName, _: &Outgoing| {
        (*queue == QueueName::Inbox).then(|| PortError::new(ErrorClass::Reject, "WL0331", "there is no such queue"))
    };
    let ports = WatchedQueues::refusing(host.ports().queues, refused).on(&host.ports());
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let id = AgentId::new("reporting").expect("a name");
    let settings = AgentSettings::new(id, PoolName::default(), 4);
    let agent = Agent::new(ports.clone(), definitions, Arc::new(Idle), settings);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let pool = QueueName::Pool(PoolName::default());
    ports.queues.send(&pool, vec![Outgoing::now(message(0, ports.clock.now()))]).await.expect("sent");
    let running = tokio::spawn(async move { agent.run(&stop).await });
    tokio::time::sleep(Duration::from_secs(3)).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it ends").expect("it does not panic");
}
