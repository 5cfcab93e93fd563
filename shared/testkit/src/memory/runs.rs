//! The runs of the host.

use std::time::Duration;

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;
use windlass_domain::content::Wanted;
use windlass_domain::ids::RunId;
use windlass_domain::run::Run;
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{
    Created, EventCursor, LoggedEvent, Outgoing, PortError, QueueName, Records, RunFilter, RunPage, Runs,
};

use super::{Look, MemoryHost};

#[async_trait]
impl Records<Run> for MemoryHost {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        Ok(self.state().runs.load(*id))
    }

    async fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        self.state().runs.fill(run, wanted)
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        self.write(|state, now| state.runs.commit(before, after, events, now))
    }
}

#[async_trait]
impl Runs for MemoryHost {
    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        _: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError> {
        Ok(self.write(|state, now| state.runs.create(run, events, now)))
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        let look = self.look_until(&self.shared.changed, at_most, |state, _| {
            let run = state.runs.load(id);
            if run.as_ref().is_some_and(|run| run.revision > revision) {
                return Look::Found(run);
            }
            Look::Nothing { last: run, again_at: None }
        });
        Ok(look.await)
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.state().runs.list(filter)
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        Ok(self.state().runs.stale(now, untouched_since, most))
    }

    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        Ok(self.write(|state, _| state.runs.delete(run)))
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        Ok(self.state().runs.events(id, after, most))
    }
}
