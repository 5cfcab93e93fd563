//! The bugs of a host, or of how it is used: what stands between a process and its wire does something else than was asked.
//! Those of decisions and loops are in their own places.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::RunId;
use windlass_domain::run::Run;
use windlass_domain::sabotage::{Bug, sabotaged};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::{
    Bus, Created, Delivery, EventCursor, LoggedEvent, Outgoing, PortError, QueueName, Queues, Receipt, RunFilter,
    RunPage, Runs,
};

/// The ports that the bugs are in; the other ports are as they are.
pub(super) fn sabotage(ports: Ports) -> Ports {
    let saboteur = Arc::new(Saboteur { inner: ports.clone() });
    Ports { queues: saboteur.clone(), runs: saboteur.clone(), bus: saboteur, ..ports }
}

struct Saboteur {
    inner: Ports,
}

#[async_trait]
impl Queues for Saboteur {
    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Delivery>, PortError> {
        let deliveries = self.inner.queues.receive(queue, most, visibility, wait).await?;
        let is_early = match queue {
            QueueName::Inbox => sabotaged(Bug::AcknowledgeFirst),
            QueueName::Pool(_) => sabotaged(Bug::AcknowledgeWork),
            QueueName::Control(_) | QueueName::DeadLetter => false,
        };
        if is_early && !deliveries.is_empty() {
            let receipts = deliveries.iter().map(|delivery| delivery.receipt.clone()).collect();
            self.inner.queues.delete(queue, receipts).await?;
        }
        Ok(deliveries)
    }

    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        self.inner.queues.send(queue, batch).await
    }

    fn forgets_dropped_receives(&self) -> bool {
        self.inner.queues.forgets_dropped_receives()
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        self.inner.queues.extend(queue, batch).await
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        self.inner.queues.delete(queue, batch).await
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        self.inner.queues.remove(queue).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        self.inner.queues.depth(queue).await
    }
}

#[async_trait]
impl Runs for Saboteur {
    async fn create(&self, run: &Run, events: &[PublicEvent]) -> Result<Created, PortError> {
        let created = self.inner.runs.create(run, events).await?;
        if created == Created::Existing
            && sabotaged(Bug::CreateReplaces)
            && let Some(found) = self.inner.runs.load(run.id).await?
        {
            self.inner.runs.commit(&found, &at_revision(run, found.revision + 1), events).await?;
            return Ok(Created::New);
        }
        Ok(created)
    }

    async fn load(&self, id: RunId) -> Result<Option<Run>, PortError> {
        if sabotaged(Bug::OldReads) { self.glance(id).await } else { self.inner.runs.load(id).await }
    }

    async fn glance(&self, id: RunId) -> Result<Option<Run>, PortError> {
        self.inner.runs.glance(id).await
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        if sabotaged(Bug::ForgetVersion)
            && let Some(found) = self.inner.runs.load(before.id).await?
        {
            let (before, after) = (at_revision(before, found.revision), at_revision(after, found.revision + 1));
            return self.inner.runs.commit(&before, &after, events).await;
        }
        match self.inner.runs.commit(before, after, events).await {
            Err(error) if error.is_conflict() && sabotaged(Bug::ConflictIsDone) => Ok(()),
            committed => committed,
        }
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        self.inner.runs.changed(id, revision, at_most).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.inner.runs.list(filter).await
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        self.inner.runs.stale(now, untouched_since, most).await
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.inner.runs.events(id, after, most).await
    }
}

fn at_revision(run: &Run, revision: u64) -> Run {
    Run { revision, ..run.clone() }
}

#[async_trait]
impl Bus for Saboteur {
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError> {
        if sabotaged(Bug::PublishUnawaited) {
            let (bus, events) = (self.inner.bus.clone(), events.to_vec());
            tokio::spawn(async move { bus.publish(&events).await });
            return Ok(());
        }
        if sabotaged(Bug::FreshEventIds) {
            let fresh = |event: &PublicEvent| PublicEvent { id: Uuid::from_u128(fastrand::u128(..)), ..event.clone() };
            return self.inner.bus.publish(&events.iter().map(fresh).collect::<Vec<_>>()).await;
        }
        self.inner.bus.publish(events).await
    }
}
