//! What an agent is told: stop an attempt, drain.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_contract::message::{ControlMessage, decode};
use windlass_domain::limits::MAX_BATCH;

use super::Agent;
use crate::backoff::Backoff;
use crate::ports::{Delivery, QueueName, Receipt};

/// How long a control message stays hidden while it is obeyed.
const VISIBILITY: Duration = Duration::from_secs(30);
/// How long a receive waits for the first message (SQS's longest).
const WAIT: Duration = Duration::from_secs(20);

impl Agent {
    /// Obeys until the agent has ended: a draining agent still stops what it is told to stop.
    pub(super) async fn obey(self, ended: CancellationToken) {
        let queue = QueueName::Control(self.inner.settings.id.clone());
        let queues = &self.inner.ports.queues;
        let mut backoff = Backoff::of_failures();
        loop {
            let received = tokio::select! {
                biased;
                () = ended.cancelled() => return,
                received = queues.receive(&queue, MAX_BATCH, VISIBILITY, WAIT) => received,
            };
            let obeyed = match received {
                Ok(deliveries) if deliveries.is_empty() => continue,
                Ok(deliveries) => {
                    let receipts: Vec<Receipt> = deliveries.iter().map(receipt).collect();
                    for delivery in &deliveries {
                        self.obey_one(delivery);
                    }
                    queues.delete(&queue, receipts).await
                }
                Err(error) => Err(error),
            };
            match obeyed {
                Ok(()) => backoff = Backoff::of_failures(),
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to read the control queue");
                    backoff.wait().await;
                }
            }
        }
    }

    fn obey_one(&self, delivery: &Delivery) {
        match decode(&delivery.body) {
            Ok(ControlMessage::Stop { run, of, .. }) => {
                let found = self.inner.held.stop_attempt(run, of);
                tracing::info!(run.id = %run, action = of.action.0, attempt = of.attempt, found, "told to stop an attempt");
            }
            Ok(ControlMessage::Drain { agent, deadline_ms, .. }) if agent == self.inner.settings.id => {
                tracing::info!(deadline_ms = deadline_ms.0, "told to drain");
                self.inner.drain_within.get_or_init(|| deadline_ms.as_duration());
                self.inner.draining.cancel();
            }
            Ok(ControlMessage::Drain { .. }) => {}
            Err(error) => tracing::error!(error = %error, "a control message can not be read; it is dropped"),
        }
    }
}

fn receipt(delivery: &Delivery) -> Receipt {
    delivery.receipt.clone()
}
