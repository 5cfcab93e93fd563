//! Ports of which one call fails: before its effect, as if the host had been out of reach, or after it, as if the
//! answer had been lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::RunId;
use windlass_domain::run::Run;
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::{
    Created, Delivery, ErrorClass, EventCursor, LoggedEvent, Outgoing, PortError, QueueName, Queues, Receipt,
    RunFilter, RunPage, Runs,
};

pub struct Faults {
    inner: Ports,
    calls: AtomicUsize,
    at: usize,
    after: bool,
}

enum Fate {
    Good,
    Before,
    After,
}

impl Faults {
    pub fn new(inner: Ports, at: usize, after: bool) -> Self {
        Self { inner, calls: AtomicUsize::new(0), at, after }
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn fate(&self) -> Fate {
        match (self.calls.fetch_add(1, Ordering::SeqCst) == self.at, self.after) {
            (false, _) => Fate::Good,
            (true, false) => Fate::Before,
            (true, true) => Fate::After,
        }
    }
}

fn failure() -> PortError {
    PortError::new(ErrorClass::Retry, "WL0000", "reach the host: by intent")
}

macro_rules! with_fate {
    ($self:ident, $call:expr) => {
        match $self.fate() {
            Fate::Good => $call.await,
            Fate::Before => Err(failure()),
            Fate::After => {
                $call.await?;
                Err(failure())
            }
        }
    };
}

#[async_trait]
impl Queues for Faults {
    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        with_fate!(self, self.inner.queues.send(queue, batch))
    }

    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Delivery>, PortError> {
        // Receives wait; only those that bring something count, and fail as if their answer had been lost.
        let received = self.inner.queues.receive(queue, most, visibility, wait).await?;
        match if received.is_empty() { Fate::Good } else { self.fate() } {
            Fate::Good => Ok(received),
            Fate::Before | Fate::After => Err(failure()),
        }
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        with_fate!(self, self.inner.queues.extend(queue, batch))
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        with_fate!(self, self.inner.queues.delete(queue, batch))
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        with_fate!(self, self.inner.queues.remove(queue))
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        self.inner.queues.depth(queue).await
    }
}

#[async_trait]
impl Runs for Faults {
    async fn create(&self, run: &Run) -> Result<Created, PortError> {
        with_fate!(self, self.inner.runs.create(run))
    }

    async fn load(&self, id: RunId) -> Result<Option<Run>, PortError> {
        with_fate!(self, self.inner.runs.load(id))
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        with_fate!(self, self.inner.runs.commit(before, after, events))
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        self.inner.runs.changed(id, revision, at_most).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.inner.runs.list(filter).await
    }

    async fn stale(&self, now: Timestamp, untouched: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        with_fate!(self, self.inner.runs.stale(now, untouched, most))
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.inner.runs.events(id, after, most).await
    }
}
