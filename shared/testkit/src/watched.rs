//! Queues that count their requests, and refuse those that a test names.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use windlass_engine::Ports;
use windlass_engine::ports::{Outgoing, PortError, QueueName, Queues, Receipt, Received};

type Refusal = Box<dyn Fn(&QueueName, &Outgoing) -> Option<PortError> + Send + Sync>;
type ReceiveRefusal = Box<dyn Fn(&QueueName, usize) -> Option<PortError> + Send + Sync>;

/// The queues of another host, whose sends and receives are counted and may be refused.
pub struct WatchedQueues {
    inner: Arc<dyn Queues>,
    refusal: Refusal,
    receive_refusal: ReceiveRefusal,
    /// A receive goes on when its caller is gone, as SQS's long polls do.
    polls_on: bool,
    /// Every request: its queue, and how many messages it carried.
    sends: Mutex<Vec<(QueueName, usize)>>,
    /// The queue of every receive.
    receives: Mutex<Vec<QueueName>>,
}

impl WatchedQueues {
    /// Refuses nothing.
    pub fn new(inner: Arc<dyn Queues>) -> Arc<Self> {
        Arc::new(Self::of(inner))
    }

    /// A request with a message for which `refusal` gives an error fails with it, and sends nothing.
    pub fn refusing(
        inner: Arc<dyn Queues>,
        refusal: impl Fn(&QueueName, &Outgoing) -> Option<PortError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { refusal: Box::new(refusal), ..Self::of(inner) })
    }

    /// A receive for which `refusal` gives an error fails with it. `refusal` gets the queue and the number of earlier
    /// receives of it.
    pub fn refusing_receives(
        inner: Arc<dyn Queues>,
        refusal: impl Fn(&QueueName, usize) -> Option<PortError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { receive_refusal: Box::new(refusal), ..Self::of(inner) })
    }

    /// A receive goes on when its caller is gone, as SQS's long polls do, and hides what it then finds.
    pub fn polling_on(inner: Arc<dyn Queues>) -> Arc<Self> {
        Arc::new(Self { polls_on: true, ..Self::of(inner) })
    }

    fn of(inner: Arc<dyn Queues>) -> Self {
        Self {
            inner,
            refusal: Box::new(|_, _| None),
            receive_refusal: Box::new(|_, _| None),
            polls_on: false,
            sends: Mutex::default(),
            receives: Mutex::default(),
        }
    }

    /// The host with these queues in the place of its own.
    pub fn on(self: &Arc<Self>, ports: &Ports) -> Ports {
        Ports { queues: self.clone(), ..ports.clone() }
    }

    /// The requests to send so far, in order: the queue, and how many messages. Those that were refused are among them.
    pub fn sends(&self) -> Vec<(QueueName, usize)> {
        self.sends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often that queue was received from; refused receives are among them.
    pub fn receives(&self, queue: &QueueName) -> usize {
        let receives = self.receives.lock().unwrap_or_else(PoisonError::into_inner);
        receives.iter().filter(|received| *received == queue).count()
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
    ) -> Result<Vec<Received>, PortError> {
        let before = self.receives(queue);
        self.receives.lock().unwrap_or_else(PoisonError::into_inner).push(queue.clone());
        if let Some(error) = (self.receive_refusal)(queue, before) {
            return Err(error);
        }
        let (inner, queue) = (self.inner.clone(), queue.clone());
        let receive = async move { inner.receive(&queue, most, visibility, wait).await };
        if self.polls_on { tokio::spawn(receive).await.unwrap_or_else(|_| Ok(Vec::new())) } else { receive.await }
    }

    fn forgets_dropped_receives(&self) -> bool {
        !self.polls_on && self.inner.forgets_dropped_receives()
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
