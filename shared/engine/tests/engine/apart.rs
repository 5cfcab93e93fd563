//! Inputs of one run that are decided together: one that fails takes no other along.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use windlass_contract::event::PublicEvent;
use windlass_domain::content::Wanted;
use windlass_domain::ids::RunId;
use windlass_domain::limits::MAX_FAILED_DELIVERIES;
use windlass_domain::run::{CancelCause, Input, Run, RunStatus};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{
    Created, EventCursor, Glance, LoggedEvent, Outgoing, PortError, QueueName, Received, Records, RunFilter, RunPage,
    Runs,
};
use windlass_engine::process_manager::ProcessManager;

use crate::world::World;

/// The records of another host. A commit that cancels a run panics.
struct Panicking(Arc<dyn Runs>);

#[async_trait]
impl Records<Run> for Panicking {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        self.0.load(id).await
    }

    async fn glance(&self, id: &RunId) -> Result<Glance<Run>, PortError> {
        self.0.glance(id).await
    }

    async fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        self.0.fill(run, wanted).await
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        assert!(after.cancellation.is_none(), "by intent of the test");
        self.0.commit(before, after, events).await
    }
}

#[async_trait]
impl Runs for Panicking {
    fn sends_with_record(&self) -> bool {
        self.0.sends_with_record()
    }

    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        messages: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError> {
        self.0.create(run, events, messages).await
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        self.0.changed(id, revision, at_most).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.0.list(filter).await
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        self.0.stale(now, untouched_since, most).await
    }

    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        self.0.delete_run(run).await
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.0.events(id, after, most).await
    }
}

/// A run with a pause and a cancellation in its inbox, and a process manager that panics at the second.
async fn pause_and_cancel() -> (World, RunId, ProcessManager, Vec<Received>) {
    let world = World::idle();
    let inner = world.host.ports();
    let ports = Ports { runs: Arc::new(Panicking(inner.runs.clone())), ..inner };
    let manager = ProcessManager::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
    let queues = ports.queues;
    let id = world.submit(&json!({ "task": "t", "actions": { "a": { "native": { "handler": "x" } } } })).await;
    let inbox = async || queues.receive(&QueueName::Inbox, 10, Duration::from_mins(1), Duration::ZERO).await.unwrap();
    let start = inbox().await;
    assert_eq!(manager.handle(&QueueName::Inbox, &start, None).await, [true]);
    world.input(id, Input::Pause { pauses: 0, retries: 0 }).await;
    world.input(id, Input::Cancel { reason: String::new(), cause: CancelCause::Request, retries: 0 }).await;
    let batch = inbox().await;
    (world, id, manager, batch)
}

#[tokio::test(start_paused = true)]
async fn input_that_panics_takes_no_other_along() {
    let (world, id, manager, mut batch) = pause_and_cancel().await;
    for receive_count in 1..=MAX_FAILED_DELIVERIES {
        for received in &mut batch {
            received.receive_count = receive_count;
        }
        let done = manager.handle(&QueueName::Inbox, &batch, None).await;
        assert_eq!(done, [receive_count > 2, receive_count == MAX_FAILED_DELIVERIES], "receive {receive_count}");
    }
    let run = world.run(id).await;
    assert_eq!((run.status, run.cancellation.is_some()), (RunStatus::Paused, false));
    let letters = world.host.messages(&QueueName::DeadLetter);
    assert!(matches!(&letters[..], [letter] if letter.contains("cancel")), "{letters:?}");
}
