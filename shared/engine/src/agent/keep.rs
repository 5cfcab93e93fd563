//! Keeps the messages that the agent holds: it extends them in batches, three times within the time for which they are
//! safe.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windlass_domain::limits::MAX_BATCH;

use super::Agent;
use super::hold::{Hold, LEASE};
use crate::ports::{QueueName, Receipt};
use crate::send::together;

impl Agent {
    /// Keeps all holds until the agent has ended.
    pub(super) async fn keep_held(self, ended: CancellationToken) {
        let every = self.keeps_every();
        let clock = self.inner.ports.clock.clone();
        let mut kept_at = clock.elapsed();
        loop {
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            // The machine slept, or this process was stopped. What ran out meanwhile may still be this agent's: it asks, and
            // judges in the next round. If another agent has got the attempt, the process manager says so.
            let was_held_up = clock.elapsed().saturating_sub(kept_at) >= every * 3;
            if timeout(every, self.extend_due()).await.is_err() {
                tracing::warn!("keeping what is performed takes too long; it is tried again");
            }
            // A round takes a third of the time for which all is safe at most, so nothing is found too late.
            if !was_held_up {
                self.inner.held.stop_lost();
            }
            kept_at = clock.elapsed();
        }
    }

    /// The time between two looks at what must be kept.
    pub(super) fn keeps_every(&self) -> Duration {
        self.inner.settings.visibility.min(LEASE) / 6
    }

    async fn extend_due(&self) {
        // The message of a leased attempt is refused and deleted by the agent that gets it.
        let is_due = |hold: &Arc<Hold>| !hold.is_leased() && hold.is_due();
        let due = self.inner.held.all().into_iter().filter(is_due);
        let due: Vec<_> = due.filter_map(|hold| hold.receipt().map(|receipt| (hold, receipt))).collect();
        let batches = due.chunks(MAX_BATCH).map(|batch| self.extend(batch));
        together(batches.collect()).await;
    }

    async fn extend(&self, batch: &[(Arc<Hold>, Receipt)]) {
        let pool = QueueName::Pool(self.inner.settings.pool.clone());
        let visibility: Duration = self.inner.settings.visibility;
        let asked_at = self.inner.ports.clock.elapsed();
        let request = batch.iter().map(|(_, receipt)| (receipt.clone(), visibility)).collect();
        match self.inner.ports.queues.extend(&pool, request).await {
            Ok(kept) => {
                for (hold, receipt) in batch {
                    if kept.contains(receipt) {
                        hold.extended(receipt, asked_at, visibility);
                    } else {
                        hold.not_extended(receipt);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error.code = error.code, error = %error, "failed to extend what is performed");
            }
        }
    }
}
