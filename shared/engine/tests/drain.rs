//! A drain beside a long poll that the queue does not give up, as SQS does not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::run::Outcome;
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::definitions::Definitions;
use windlass_engine::perform::{Attempt, AttemptControl, Performer};
use windlass_engine::ports::{Delivery, Outgoing, PortError, QueueName, Queues, Receipt};
use windlass_testkit::memory::MemoryHost;

/// There is nothing to perform in these tests.
struct Nothing;

#[async_trait]
impl Performer for Nothing {
    async fn perform(&self, _: Attempt, _: AttemptControl) -> Outcome {
        Outcome::Cancelled
    }
}

/// Receives that go on when their caller is gone.
struct LongPolls(Arc<dyn Queues>);

#[async_trait]
impl Queues for LongPolls {
    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        self.0.send(queue, batch).await
    }

    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Delivery>, PortError> {
        let (queues, queue) = (self.0.clone(), queue.clone());
        let poll = tokio::spawn(async move { queues.receive(&queue, most, visibility, wait).await });
        poll.await.expect("a poll does not panic")
    }

    fn forgets_dropped_receives(&self) -> bool {
        false
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        self.0.extend(queue, batch).await
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        self.0.delete(queue, batch).await
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        self.0.remove(queue).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        self.0.depth(queue).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_open_receive_brings_during_a_drain_is_handed_back_at_once() {
    let host = MemoryHost::new(Timestamp::from_millis(1_800_000_000_000));
    let ports = Ports { queues: Arc::new(LongPolls(host.ports().queues)), ..host.ports() };
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let id = AgentId::new("drained").expect("a name");
    let agent =
        Agent::new(ports.clone(), definitions, Arc::new(Nothing), AgentSettings::new(id, PoolName::default(), 4));
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move { agent.run(&stop).await });
    tokio::time::sleep(Duration::from_secs(1)).await;

    shutdown.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pool = QueueName::Pool(PoolName::default());
    ports.queues.send(&pool, vec![Outgoing::now("handed back by another".to_owned())]).await.expect("sent");
    running.await.expect("the agent ends by itself");
    let visible = ports.queues.depth(&pool).await.expect("counted");
    assert_eq!(visible, 1, "the next one need not wait for its visibility timeout");
}
