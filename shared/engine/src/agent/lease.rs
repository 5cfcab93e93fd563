//! Work for longer than a queue hides a message: SQS gives a message up 12 hours after it was received, however often it
//! was extended (Amazon SQS Developer Guide, "Visibility timeout").
//!
//! Long before that the agent asks the process manager to keep the attempt for it, and deletes the message. From then
//! on it renews that lease. If it ends, or cannot renew, the lease runs out, and the process manager resends the
//! attempt.

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use windlass_domain::run::{Input, Report};

use super::Agent;
use super::hold::{DueRenewal, Hold};
use crate::ports::QueueName;

impl Agent {
    /// Keeps all leases until the agent has ended. The next round begins when all renewals of this one are sent, so that
    /// they do not pile up while their queue is out of reach.
    pub(super) async fn keep_leased(self, ended: CancellationToken) {
        let rounds = async {
            loop {
                tokio::time::sleep(self.keeps_every()).await;
                self.keep_leases().await;
            }
        };
        tokio::select! {
            biased;
            () = ended.cancelled() => {}
            () = rounds => {}
        }
    }

    /// Asks for the due renewals, and deletes the messages of leased attempts.
    async fn keep_leases(&self) {
        let holds = self.inner.held.all();
        let due = holds.iter().filter_map(|hold| hold.due_renewal(self.inner.settings.lease_after));
        join_all(due.map(|due| self.renew(due))).await;
        for hold in holds.iter().filter(|hold| hold.is_leased()) {
            self.delete_message(hold).await;
        }
    }

    async fn renew(&self, due: DueRenewal) {
        let DueRenewal { key, started_at, number } = due;
        let agent = self.inner.settings.id.clone();
        let of = Report { action: key.action, delivery: key.delivery, message: key.message, agent };
        self.inner.reporter.tell(key.run, Input::Renewed { of, started_at, number }).await;
    }

    /// Deletes a message that no attempt needs. If that fails, the agent tries again. The process manager refuses an
    /// agent that gets the message before.
    async fn delete_message(&self, hold: &Hold) {
        let Some(receipt) = hold.receipt() else { return };
        let pool = QueueName::Pool(self.inner.settings.pool.clone());
        match self.inner.ports.queues.delete(&pool, vec![receipt.clone()]).await {
            Ok(()) => hold.forget(&receipt),
            Err(error) => {
                tracing::warn!(error.code = error.code, error = %error, "failed to delete the message of an attempt");
            }
        }
    }
}
