//! Work for longer than a queue hides a message: SQS gives a message up 12 hours after it was received, however often it
//! was extended (Amazon SQS Developer Guide, "Visibility timeout").
//!
//! Long before that the agent has the record keep the attempt for it, and deletes the message. From then on it renews
//! that lease, with a write each time. If it ends, or can not write, the lease runs out, and the attempt is sent again.

use std::sync::Arc;

use futures::future::join_all;
use tokio::time::Instant;
use windlass_domain::limits::MAX_BATCH;
use windlass_domain::run::Input;

use super::Agent;
use super::held::{Hold, Stopped};
use crate::advance::{Advanced, advance};
use crate::ports::QueueName;

impl Agent {
    /// Renews the leases that are due, and leases what has been held for long.
    pub(super) async fn keep_leases(&self) {
        join_all(self.inner.held.all().iter().map(|hold| self.keep_lease(hold))).await;
    }

    async fn keep_lease(&self, hold: &Arc<Hold>) {
        let inner = &self.inner;
        if let Some((message, started_at)) = hold.due_lease(inner.settings.lease_after) {
            let (run, of) = (message.run, message.of);
            let renewed = Input::Renewed { of, agent: inner.settings.id.clone(), started_at };
            let asked_at = Instant::now();
            match advance(&inner.ports, &inner.definitions, run, &[renewed], None).await {
                Ok(Advanced::Decided { answers, .. }) if answers.iter().all(Option::is_none) => {
                    tracing::debug!(run.id = %run, action = of.action.0, attempt = of.attempt, "leased");
                    hold.leased(asked_at);
                }
                Ok(_) => hold.stop(Stopped::Told),
                Err(error) => {
                    tracing::warn!(run.id = %run, error.code = error.code, error = %error, "failed to renew a lease; it is tried again");
                }
            }
        }
        if hold.is_leased() {
            self.delete_messages(hold).await;
        }
    }

    /// Deletes what no attempt needs any more. What can not be deleted is kept hidden and tried again.
    async fn delete_messages(&self, hold: &Hold) {
        let pool = QueueName::Pool(self.inner.settings.pool.clone());
        for batch in hold.receipts().chunks(MAX_BATCH) {
            match self.inner.ports.queues.delete(&pool, batch.to_vec()).await {
                Ok(()) => hold.forget(batch),
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to delete the message of an attempt");
                }
            }
        }
    }
}
