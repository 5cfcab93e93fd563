//! A host whose eventually consistent reads are always old ones: a glance gives a record as it was before its newest
//! write.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;
use windlass_domain::content::Wanted;
use windlass_domain::ids::RunId;
use windlass_domain::run::Run;
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::{
    Created, EventCursor, Glance, LoggedEvent, Outgoing, PortError, QueueName, Records, RunFilter, RunPage, Runs,
};

/// The records of another host, with old glances.
pub struct OldGlances {
    inner: Arc<dyn Runs>,
    /// By run, the record before its newest write, which a glance gives; none: the run was only created.
    before: Mutex<BTreeMap<RunId, Option<Run>>>,
}

impl OldGlances {
    /// The host with these records in the place of its own.
    pub fn on(ports: &Ports) -> Ports {
        Ports { runs: Arc::new(Self { inner: ports.runs.clone(), before: Mutex::default() }), ..ports.clone() }
    }

    fn keep(&self, id: RunId, before: Option<Run>) {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).insert(id, before);
    }
}

#[async_trait]
impl Records<Run> for OldGlances {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        self.inner.load(id).await
    }

    async fn glance(&self, id: &RunId) -> Result<Glance<Run>, PortError> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        match before {
            Some(record) => Ok(Glance { record, is_newest: false }),
            None => self.inner.glance(id).await,
        }
    }

    async fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        self.inner.fill(run, wanted).await
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        self.inner.commit(before, after, events).await?;
        self.keep(before.id, Some(before.clone().bare()));
        Ok(())
    }
}

#[async_trait]
impl Runs for OldGlances {
    fn sends_with_record(&self) -> bool {
        self.inner.sends_with_record()
    }

    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        messages: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError> {
        let created = self.inner.create(run, events, messages).await?;
        if created == Created::New {
            self.keep(run.id, None);
        }
        Ok(created)
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        self.inner.changed(id, revision, at_most).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.inner.list(filter).await
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        self.inner.stale(now, untouched_since, most).await
    }

    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        self.inner.delete_run(run).await
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.inner.events(id, after, most).await
    }
}
