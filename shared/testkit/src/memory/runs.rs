//! Saga records and the event log.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;
use windlass_contract::view::RunSummary;
use windlass_domain::ids::RunId;
use windlass_domain::run::Run;
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{
    Created, ErrorClass, EventCursor, LoggedEvent, Outgoing, PortError, QueueName, RunFilter, RunPage, Runs,
};

use super::{Look, MemoryHost};

#[derive(Default)]
pub(super) struct RunTable {
    rows: BTreeMap<RunId, Row>,
    created: u64,
}

struct Row {
    run: Run,
    /// The number of its creation on this host: the order of lists.
    number: u64,
    written_at: Timestamp,
    events: Vec<PublicEvent>,
}

impl RunTable {
    fn create(&mut self, run: &Run, events: &[PublicEvent], now: Timestamp) -> Created {
        if self.rows.contains_key(&run.id) {
            return Created::Existing;
        }
        self.created += 1;
        let row = Row { run: run.clone(), number: self.created, written_at: now, events: events.to_vec() };
        self.rows.insert(run.id, row);
        Created::New
    }

    fn commit(&mut self, before: &Run, after: &Run, events: &[PublicEvent], now: Timestamp) -> Result<(), PortError> {
        let row = self.rows.get_mut(&before.id).filter(|row| row.run.revision == before.revision);
        let row = row.ok_or_else(PortError::conflict)?;
        row.run = after.clone();
        row.written_at = now;
        row.events.extend_from_slice(events);
        Ok(())
    }

    fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        let before = filter.cursor.as_ref().map(|cursor| cursor.parse::<u64>()).transpose();
        let before =
            before.map_err(|_| PortError::new(ErrorClass::Reject, "WL0315", "read the cursor of a list of runs"))?;
        let fits = |row: &&Row| {
            before.is_none_or(|before| row.number < before)
                && filter.task.as_ref().is_none_or(|task| row.run.task == *task)
                && filter.status.is_none_or(|status| row.run.status == status)
        };
        let mut rows: Vec<_> = self.rows.values().filter(fits).collect();
        rows.sort_unstable_by_key(|row| Reverse(row.number));
        let more = rows.len() > filter.limit;
        rows.truncate(filter.limit);
        let next = rows.last().filter(|_| more).map(|row| row.number.to_string());
        Ok(RunPage { runs: rows.into_iter().map(|row| RunSummary::of(&row.run)).collect(), next })
    }

    fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Vec<RunId> {
        let stale = self.rows.values().filter(|row| {
            let due = row.run.wake_at.is_some_and(|at| at <= now);
            !row.run.status.is_final() && (due || row.written_at < untouched_since)
        });
        stale.take(most).map(|row| row.run.id).collect()
    }

    fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Vec<LoggedEvent> {
        let after = after.map_or(0, |cursor| cursor.0);
        let log = self.rows.get(&id).map(|row| row.events.as_slice()).unwrap_or_default();
        let placed = (1u64..).zip(log).filter(|(place, _)| *place > after).take(most);
        placed.map(|(place, event)| LoggedEvent { cursor: EventCursor(place), event: event.clone() }).collect()
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

    async fn load(&self, id: RunId) -> Result<Option<Run>, PortError> {
        Ok(self.state().runs.rows.get(&id).map(|row| row.run.clone()))
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        self.write(|state, now| state.runs.commit(before, after, events, now))
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        let look = self.look_until(&self.shared.changed, at_most, |state, _| {
            let run = state.runs.rows.get(&id).map(|row| row.run.clone());
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

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        Ok(self.state().runs.events(id, after, most))
    }
}
