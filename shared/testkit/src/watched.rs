//! Queues that tell what was sent by which request, and refuse what a test wants refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use windlass_engine::Ports;
use windlass_engine::ports::{Delivery, Outgoing, PortError, QueueName, Queues, Receipt};

type Refusal = Box<dyn Fn(&QueueName, &Outgoing) -> Option<PortError> + Send + Sync>;

/// The queues of another host, whose sends are counted and may be refused.
pub struct WatchedQueues {
    inner: Arc<dyn Queues>,
    refusal: Refusal,
    /// Every request that was asked for: its queue, and how many messages it carried.
    sends: Mutex<Vec<(QueueName, usize)>>,
}

impl WatchedQueues {
    /// Refuses nothing.
    pub fn new(inner: Arc<dyn Queues>) -> Arc<Self> {
        Self::refusing(inner, |_, _| None)
    }

    /// A request with a message for which `refusal` gives an error fails with it, and sends nothing.
    pub fn refusing(
        inner: Arc<dyn Queues>,
        refusal: impl Fn(&QueueName, &Outgoing) -> Option<PortError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { inner, refusal: Box::new(refusal), sends: Mutex::default() })
    }

    /// The host with these queues in the place of its own.
    pub fn on(self: &Arc<Self>, ports: &Ports) -> Ports {
        Ports { queues: self.clone(), ..ports.clone() }
    }

    /// The requests to send so far, in order: the queue, and how many messages. Those that were refused are among them.
    pub fn sends(&self) -> Vec<(QueueName, usize)> {
        self.sends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Queues for WatchedQueues {
    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        self.sends.lock().unwrap_or_else(PoisonError::into_inner).push((queue.clone(), batch.len()));
        match batch.iter().find_map(|message| (self.refusal)(queue, message)) {
            Some(error) => Err(error),
            None => self.inner.send(queue, batch).await,
        }
    }

    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Delivery>, PortError> {
        self.inner.receive(queue, most, visibility, wait).await
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        self.inner.extend(queue, batch).await
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        self.inner.delete(queue, batch).await
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        self.inner.remove(queue).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        self.inner.depth(queue).await
    }
}
