//! An agent's control messages: they confirm or refuse its claims, stop attempts, and have the agent drain.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_contract::message::{Confirmed, ControlMessage, decode};
use windlass_domain::ids::RunId;
use windlass_domain::limits::MAX_BATCH;
use windlass_domain::run::{Input, Report};

use super::Agent;
use super::hold::Key;
use crate::backoff::Backoff;
use crate::ports::{QueueName, Receipt, Received};

/// How long a control message stays hidden while it is obeyed.
const VISIBILITY: Duration = Duration::from_secs(30);
/// How long a receive waits for the first message (SQS's longest).
const WAIT: Duration = Duration::from_secs(20);

impl Agent {
    /// The queue from which this agent receives its control messages.
    pub(super) fn control_queue(&self) -> QueueName {
        let settings = &self.inner.settings;
        QueueName::Control { pool: settings.pool.clone(), agent: settings.id.clone() }
    }

    /// Obeys control messages until the agent has ended: a draining agent still stops attempts on request.
    pub(super) async fn obey(self, ended: CancellationToken) {
        let queue = self.control_queue();
        let queues = &self.inner.ports.queues;
        let mut backoff = Backoff::of_failures();
        loop {
            let received = tokio::select! {
                biased;
                () = ended.cancelled() => return,
                received = queues.receive(&queue, MAX_BATCH, VISIBILITY, WAIT) => received,
            };
            match received {
                Ok(received) if received.is_empty() => {}
                Ok(received) => {
                    let obey = |one: Received| {
                        self.obey_one(&one);
                        one.receipt
                    };
                    let receipts = received.into_iter().map(obey).collect();
                    // In a task of its own: the next message need not wait until these are deleted.
                    tokio::spawn(self.clone().delete_obeyed(receipts));
                    backoff = Backoff::of_failures();
                }
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to read the control queue");
                    backoff.wait().await;
                }
            }
        }
    }

    async fn delete_obeyed(self, receipts: Vec<Receipt>) {
        if let Err(error) = self.inner.ports.queues.delete(&self.control_queue(), receipts).await {
            tracing::warn!(error.code = error.code, error = %error, "failed to delete control messages; they come again");
        }
    }

    fn obey_one(&self, received: &Received) {
        match decode(&received.body) {
            Ok(ControlMessage::Confirm { run, confirmed, .. }) => {
                for one in &confirmed {
                    tracing::trace!(run.id = %run, asked = one.asked, "a claim is answered");
                    self.confirmed(run, one);
                }
            }
            Ok(ControlMessage::Stop { run, stopped, .. }) => {
                for one in &stopped {
                    tracing::trace!(run.id = %run, asked = one.asked, "a claim is answered");
                    let found = self.inner.held.obey(run, one);
                    tracing::debug!(run.id = %run, action.index = one.action.0, delivery = %one.delivery, found, reason = one.reason, "told to stop an attempt");
                }
            }
            Ok(ControlMessage::Drain { agent, deadline_ms, .. }) if agent == self.inner.settings.id => {
                tracing::info!(deadline_ms = deadline_ms.0, "told to drain");
                self.inner.drain_within.get_or_init(|| deadline_ms.as_duration());
                self.inner.draining.cancel();
            }
            Ok(ControlMessage::Drain { .. }) => {}
            Err(error) => tracing::error!(error = %error, "a control message is dropped: it has no known shape"),
        }
    }

    /// The agent hands back a confirmed claim that it has let go of and never began, because the record has it as the
    /// owner.
    fn confirmed(&self, run: RunId, confirmed: &Confirmed) {
        let Confirmed { action, delivery, message, .. } = *confirmed;
        let key = Key { run, action, delivery, message };
        if self.inner.held.confirm(run, confirmed) || self.inner.known.has_begun(&key) {
            return;
        }
        tracing::info!(run.id = %run, action.index = action.0, delivery = %delivery, "a claim is confirmed too late; it is handed back");
        let of = Report { action, delivery, message, agent: self.inner.settings.id.clone() };
        self.inner.reporter.report(run, Input::HandedBack { of, kept: true, checkpoint: None }, None);
    }
}
