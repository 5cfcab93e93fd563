//! Work for longer than a queue hides a message: SQS gives a message up 12 hours after it was received, however often it
//! was extended (Amazon SQS Developer Guide, "Visibility timeout").
//!
//! Long before that the agent has the record keep the attempt for it, and deletes the message. From then on it renews
//! that lease, with a write each time. If it ends, or can not write, the lease runs out, and the attempt is sent again.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use tokio::time::Instant;
use windlass_domain::ids::RunId;
use windlass_domain::limits::MAX_BATCH;
use windlass_domain::run::{ActionAt, Input};
use windlass_domain::time::Timestamp;

use super::Agent;
use super::held::{Hold, Stopped};
use crate::advance::{Advanced, Delivered, advance};
use crate::ports::QueueName;

/// An attempt whose lease is to be renewed.
struct Due {
    hold: Arc<Hold>,
    of: ActionAt,
    started_at: Timestamp,
}

impl Agent {
    /// Renews the leases that are due, and leases what has been held for long: with one write a run.
    pub(super) async fn keep_leases(&self) {
        let mut due: BTreeMap<RunId, Vec<Due>> = BTreeMap::new();
        for hold in self.inner.held.all() {
            if let Some((message, started_at)) = hold.due_lease(self.inner.settings.lease_after) {
                due.entry(message.run).or_default().push(Due { hold, of: message.of, started_at });
            }
        }
        join_all(due.into_iter().map(|(run, due)| self.renew(run, due))).await;
        let leased = self.inner.held.all().into_iter().filter(|hold| hold.is_leased());
        for hold in leased {
            self.delete_messages(&hold).await;
        }
    }

    async fn renew(&self, run: RunId, due: Vec<Due>) {
        let (inner, asked_at) = (&self.inner, Instant::now());
        let renewed = |due: &Due| {
            let agent = inner.settings.id.clone();
            Input::Renewed { of: due.of, agent, started_at: due.started_at }
        };
        let inputs: Vec<Input> = due.iter().map(renewed).collect();
        match advance(&inner.ports, &inner.definitions, run, &inputs, Delivered::default()).await {
            Ok(Advanced::Decided { answers, .. }) => {
                for (due, answer) in due.iter().zip(answers) {
                    if answer.is_none() {
                        tracing::debug!(run.id = %run, action = due.of.action.0, attempt = due.of.attempt, "leased");
                        due.hold.leased(asked_at);
                    } else {
                        due.hold.stop(Stopped::Told);
                    }
                }
            }
            Ok(Advanced::Unknown | Advanced::Late) => due.iter().for_each(|due| due.hold.stop(Stopped::Told)),
            Err(error) => {
                tracing::warn!(run.id = %run, error.code = error.code, error = %error, "failed to renew leases; it is tried again");
            }
        }
    }

    /// Deletes what no attempt needs any more. What can not be deleted is tried again; if it comes to somebody before, it
    /// is refused.
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
