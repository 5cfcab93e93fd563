//! A drain beside a long poll that the queue does not give up, as SQS does not.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::Timestamp;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{Outgoing, QueueName};
use windlass_testkit::idle::Idle;
use windlass_testkit::memory::MemoryHost;
use windlass_testkit::watched::WatchedQueues;

#[tokio::test(start_paused = true)]
async fn what_an_open_receive_brings_during_a_drain_is_handed_back_at_once() {
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
    ports.queues.send(&pool, vec![Outgoing::now("handed back by another".to_owned())]).await.expect("sent");
    running.await.expect("the agent ends by itself");
    let visible = ports.queues.depth(&pool).await.expect("counted");
    assert_eq!(visible, 1, "the next one need not wait for its visibility timeout");
}
