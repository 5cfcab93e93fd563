//! Queues, as SQS has them: at least once, in no order, a receive hides a message for its visibility timeout.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::{Millis, Timestamp};

use super::{ErrorClass, PortError};

/// Which queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueName {
    /// Every input of the process manager but those of [`QueueName::Claims`].
    Inbox,
    /// The inputs for which an agent waits, or an attempt for its next agent: claims, renewals and hand-backs. They are
    /// apart from the inbox so that they never wait behind its reports.
    Claims,
    /// The attempts of one pool.
    Pool(PoolName),
    /// The control messages of one agent.
    Control {
        /// The agent's pool.
        pool: PoolName,
        /// Which agent.
        agent: AgentId,
    },
    /// Messages that no process could read or perform, with the reason.
    DeadLetter,
}

impl QueueName {
    /// The queues that bring inputs to the process manager.
    pub const INPUTS: [Self; 2] = [Self::Inbox, Self::Claims];

    /// Whether this queue brings inputs to the process manager.
    pub fn brings_inputs(&self) -> bool {
        Self::INPUTS.contains(self)
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inbox => f.write_str("inbox"),
            Self::Claims => f.write_str("claims"),
            Self::Pool(pool) => write!(f, "pool.{pool}"),
            Self::Control { pool, agent } => write!(f, "control.{pool}.{agent}"),
            Self::DeadLetter => f.write_str("dead-letter"),
        }
    }
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// At most [`windlass_domain::limits::MAX_MESSAGE_BYTES`].
    pub body: String,
    /// How long it stays hidden: at most [`windlass_domain::limits::MAX_DELAY_MS`].
    pub delay: Millis,
}

impl Outgoing {
    /// A message that may be received at once.
    pub fn now(body: String) -> Self {
        Self { body, delay: Millis(0) }
    }
}

/// The handle of one receipt of one message: of no use once the message has been received again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub String);

/// Who sent a message, as far as the host can prove it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sender {
    /// The host itself: its process manager, its API, its schedules. On one machine all are one user.
    #[default]
    Host,
    /// An agent of that pool.
    Agents(PoolName),
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// For extending and deleting.
    pub receipt: Receipt,
    /// The message's id: the same at each receipt.
    pub id: String,
    /// Who sent it.
    pub sender: Sender,
    /// The message's text, as it was sent.
    pub body: String,
    /// How often it has been received, this time included.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: Timestamp,
}

/// Queues. No batch may have more than [`windlass_domain::limits::MAX_BATCH`] entries.
#[async_trait]
pub trait Queues: Send + Sync {
    /// Sends a batch. A batch with a message that no queue takes (too large, delayed for too long) is refused before
    /// anything is sent; beyond that each message is sent by itself, so after an error some may have been, and are
    /// again when the caller repeats the batch.
    ///
    /// A control queue is made by its agent ([`Queues::make`], [`Queues::receive`]), never by a send: no agent would remove
    /// the one of an agent that has ended. What is sent to one that is gone is dropped; a host on
    /// which a queue is nothing but its messages may keep it until [`Queues::remove`]. Any other queue that is missing is
    /// an error ([`super::ErrorClass::Reject`]) where queues are part of a stack.
    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError>;

    /// Sends a batch; says of each message, in their order, whether it was sent. Of a batch that is refused as a whole
    /// each message is sent alone, for one of them may be the fault; a host that tells the messages apart says so by
    /// itself, and sends none a second time.
    async fn send_each(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Vec<Result<(), PortError>> {
        let sent = self.send(queue, batch.clone()).await;
        if batch.len() == 1 || sent.as_ref().err().is_none_or(|error| error.class != ErrorClass::Reject) {
            return vec![sent; batch.len()];
        }
        let mut apart = Vec::with_capacity(batch.len());
        for message in batch {
            apart.push(self.send(queue, vec![message]).await);
        }
        apart
    }

    /// Makes an agent's control queue, if it is not there. On a host where a queue is nothing but its messages there is
    /// nothing to do.
    async fn make(&self, _queue: &QueueName) -> Result<(), PortError> {
        Ok(())
    }

    /// Receives up to `most` messages and hides them for `visibility`; waits up to `wait` for the first one. A control
    /// queue that does not exist is made.
    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, PortError>;

    /// Whether a receive that its caller drops takes no message with it. SQS goes on with a long poll whose caller is
    /// gone, and hides what it then finds.
    fn forgets_dropped_receives(&self) -> bool {
        true
    }

    /// Hides received messages for that long from now on; zero hands them back at once. Messages whose receipt has
    /// been replaced, that were deleted, or that SQS does not hide for longer (12 hours in all) are left alone; gives the
    /// receipts that were still good. Whether a receipt is good after its time has run out differs between hosts.
    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError>;

    /// Deletes received messages. Those whose receipt has been replaced are left alone.
    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError>;

    /// Deletes a queue and what is in it; it is no error if there is none.
    async fn remove(&self, queue: &QueueName) -> Result<(), PortError>;

    /// About how many messages wait in the queue, the hidden ones not counted.
    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError>;
}
