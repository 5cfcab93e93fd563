//! The process manager's other source: the messages that the pools' queues have given up.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_domain::ids::PoolName;
use windlass_domain::limits::MAX_BATCH;
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::QueueName;
use windlass_engine::process_manager::ProcessManager;

const VISIBILITY: Duration = Duration::from_secs(30);
const WAIT: Duration = Duration::from_secs(20);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Lets the process manager handle the messages that a pool gave up, as a queue's event source mapping does.
pub(super) async fn run(ports: Ports, given_up: Ports, definitions: Arc<Definitions>, shutdown: &CancellationToken) {
    let manager = ProcessManager::new(ports, definitions);
    let pool = QueueName::Pool(PoolName::default());
    let queues = &given_up.queues;
    loop {
        let received = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            received = queues.receive(&pool, MAX_BATCH, VISIBILITY, WAIT) => received,
        };
        let Ok(deliveries) = received else {
            tokio::time::sleep(AGAIN_AFTER).await;
            continue;
        };
        let done = manager.handle_dead(&pool, &deliveries).await;
        let done: Vec<_> = deliveries.into_iter().zip(done).filter(|(_, done)| *done).collect();
        let receipts: Vec<_> = done.into_iter().map(|(delivery, _)| delivery.receipt).collect();
        if !receipts.is_empty() && queues.delete(&pool, receipts).await.is_err() {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}
