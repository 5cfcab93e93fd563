//! Work for longer than a queue hides a message: SQS gives a message up 12 hours after it was received, however often it
//! was extended.
//!
//! Long before that the agent sends a copy of the message to the pool, under the same attempt and fence, that names it
//! as the holder. Whoever receives the copy does not claim it, but passes its receipt on to the holder, which extends the
//! copy from then on and deletes the message that it replaces only after that. There is always one message that would
//! come again if the holder ended; where there are two for a while, the record lets only one of them be claimed.

use std::time::Duration;

use tokio::time::Instant;
use windlass_contract::message::{ControlMessage, MESSAGE_VERSION, PerformMessage, encode};
use windlass_domain::ids::{AgentId, RunId};
use windlass_domain::limits::{MAX_BATCH, MAX_DELIVERIES};
use windlass_domain::run::ActionAt;

use super::Agent;
use super::held::Hold;
use crate::backoff::Backoff;
use crate::ports::{Delivery, ErrorClass, Outgoing, PortError, QueueName, Receipt};

/// How long a copy stays hidden for its holder to adopt it. Then it comes again, to be claimed.
const ADOPT_WITHIN: Duration = Duration::from_mins(2);
/// A message that was received so often is replaced by a copy when it is handed back, so that many deployments in a row
/// do not make it look like one that nobody can perform.
const WORN_AFTER: u32 = MAX_DELIVERIES / 2;

impl Agent {
    fn pool(&self) -> QueueName {
        QueueName::Pool(self.inner.settings.pool.clone())
    }

    /// Sends copies of what has been held for long, and deletes what has been replaced.
    pub(super) async fn replace_due(&self) {
        let settings = &self.inner.settings;
        for hold in self.inner.held.all() {
            if let Some(copy) = hold.due_copy(settings.reissue_after) {
                tracing::info!(run.id = %copy.run, copy = copy.copy, "the queue would give up a message soon; sending a copy");
                let copy = PerformMessage { claim: true, holder: Some(settings.id.clone()), ..copy };
                if let Err(error) = self.send_copy(&copy).await {
                    tracing::warn!(error.code = error.code, error = %error, "failed to send a copy; it is sent again");
                }
            }
            if hold.due_look() && self.inner.slots.available_permits() == 0 {
                self.look_for_copies().await;
            }
            self.delete_replaced(&hold).await;
        }
    }

    /// Receives what is in the pool although there is no slot for it, for its own copies may be there and nobody else
    /// may have a slot either. What is not a copy is handed back at once.
    async fn look_for_copies(&self) {
        let (pool, visibility) = (self.pool(), self.inner.settings.visibility);
        match self.inner.ports.queues.receive(&pool, MAX_BATCH, visibility, Duration::ZERO).await {
            Ok(found) => self.give_back_all(&pool, found).await,
            Err(error) => {
                tracing::warn!(error.code = error.code, error = %error, "failed to look for copies");
            }
        }
    }

    async fn send_copy(&self, copy: &PerformMessage) -> Result<(), PortError> {
        self.inner.ports.queues.send(&self.pool(), vec![Outgoing::now(encode(copy))]).await
    }

    /// Deletes what has been replaced. What can not be deleted is kept hidden and tried again.
    pub(super) async fn delete_replaced(&self, hold: &Hold) {
        let replaced = hold.replaced();
        for batch in replaced.chunks(MAX_BATCH) {
            match self.inner.ports.queues.delete(&self.pool(), batch.to_vec()).await {
                Ok(()) => hold.forget(batch),
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to delete a message that was replaced");
                }
            }
        }
    }

    /// Goes on with a copy instead of the message that it replaces. A copy that can not be extended, or whose attempt has
    /// ended here, is left alone: it comes again, and is claimed or refused by the record.
    pub(super) async fn adopt(&self, run: RunId, of: ActionAt, copy: u32, receipt: Receipt) {
        if !self.inner.held.has(run, of) {
            return;
        }
        let (visibility, asked_at) = (self.inner.settings.visibility, Instant::now());
        match self.inner.ports.queues.extend(&self.pool(), vec![(receipt.clone(), visibility)]).await {
            Ok(kept) if kept.contains(&receipt) => {
                tracing::info!(run.id = %run, action = of.action.0, attempt = of.attempt, copy, "went on with a copy");
                self.inner.held.adopt(run, of, (copy, receipt), asked_at + visibility);
            }
            Ok(_) => tracing::warn!(run.id = %run, copy, "a copy came too late"),
            Err(error) => {
                tracing::warn!(run.id = %run, error.code = error.code, error = %error, "failed to go on with a copy");
            }
        }
    }

    /// Takes a copy out of the way of claims, if it has a holder that may still want it; whether it did.
    pub(super) async fn divert(&self, message: &PerformMessage, delivery: &Delivery, hold: &Hold) -> bool {
        let Some(holder) = &message.holder else { return false };
        if *holder == self.inner.settings.id {
            if !self.inner.held.has(message.run, message.of) {
                return false;
            }
            self.inner.held.release(hold);
            self.adopt(message.run, message.of, message.copy, hold.receipt()).await;
            return true;
        }
        if delivery.receive_count > 1 {
            return false;
        }
        let mut backoff = Backoff::of_failures();
        while let Err(error) = self.pass_on(holder, message, hold.receipt()).await {
            tracing::warn!(holder = %holder, error.code = error.code, error = %error, "failed to pass a copy on");
            if error.class == ErrorClass::Reject || hold.stop.is_cancelled() {
                break;
            }
            backoff.wait().await;
        }
        self.inner.held.release(hold);
        true
    }

    /// Hides a copy for its holder to adopt it, and tells it.
    pub(super) async fn pass_on(
        &self,
        holder: &AgentId,
        message: &PerformMessage,
        receipt: Receipt,
    ) -> Result<(), PortError> {
        let queues = self.inner.ports.queues.as_ref();
        queues.extend(&self.pool(), vec![(receipt.clone(), ADOPT_WITHIN)]).await?;
        let (run, of, copy) = (message.run, message.of, message.copy);
        let agent = holder.clone();
        let adopt = ControlMessage::Adopt { v: MESSAGE_VERSION, agent, run, of, copy, receipt: receipt.0 };
        queues.send(&QueueName::Control(holder.clone()), vec![Outgoing::now(encode(&adopt))]).await
    }

    /// Puts a copy that anybody may claim in the place of a message that was received often; whether it did.
    pub(super) async fn replace_worn(&self, hold: &Hold) -> bool {
        if hold.receive_count < WORN_AFTER {
            return false;
        }
        let Some(copy) = hold.last_copy() else { return false };
        match self.send_copy(&PerformMessage { claim: true, holder: None, ..copy }).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(error.code = error.code, error = %error, "failed to replace a message by a copy");
                false
            }
        }
    }
}
