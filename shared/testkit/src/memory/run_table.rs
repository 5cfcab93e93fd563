//! Saga records and the event log, as the host keeps them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use windlass_contract::event::PublicEvent;
use windlass_contract::view::RunSummary;
use windlass_domain::content::{Apart, Place, Wanted};
use windlass_domain::ids::RunId;
use windlass_domain::run::Run;
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{Created, ErrorClass, EventCursor, LoggedEvent, PortError, RunFilter, RunPage};

#[derive(Default)]
pub(super) struct RunTable {
    rows: BTreeMap<RunId, Row>,
    /// The values that stand apart from their records.
    values: BTreeMap<(RunId, Place), (Apart, Value)>,
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
    pub(super) fn create(&mut self, run: &Run, events: &[PublicEvent], now: Timestamp) -> Created {
        if self.rows.contains_key(&run.id) {
            return Created::Existing;
        }
        self.created += 1;
        self.keep_values(None, run);
        let row = Row { run: run.clone().bare(), number: self.created, written_at: now, events: events.to_vec() };
        self.rows.insert(run.id, row);
        Created::New
    }

    pub(super) fn load(&self, id: RunId) -> Option<Run> {
        self.rows.get(&id).map(|row| row.run.clone())
    }

    pub(super) fn commit(
        &mut self,
        before: &Run,
        after: &Run,
        events: &[PublicEvent],
        now: Timestamp,
    ) -> Result<(), PortError> {
        let row = self.rows.get_mut(&before.id).filter(|row| row.run.revision == before.revision);
        let row = row.ok_or_else(PortError::conflict)?;
        row.run = after.clone().bare();
        row.written_at = now;
        row.events.extend_from_slice(events);
        self.keep_values(Some(before), after);
        Ok(())
    }

    /// Stores the values of the references that are new to a record.
    fn keep_values(&mut self, before: Option<&Run>, after: &Run) {
        for (place, apart) in after.apart_since(before) {
            let value = after.value(place).expect("a decision that makes a reference has its value");
            self.values.insert((after.id, place), (apart, value.clone()));
        }
    }

    /// Puts the values of these places into a record. It is an old one if another value stands there.
    pub(super) fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        for place in wanted {
            let Some(apart) = run.apart(*place) else { continue };
            let found = self.values.get(&(run.id, *place)).filter(|(there, _)| *there == apart);
            let (_, value) = found.ok_or_else(PortError::conflict)?;
            run.values.keep(apart, Arc::new(value.clone()));
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, run: &Run) -> bool {
        let is_it = self.rows.get(&run.id).is_some_and(|row| row.run.revision == run.revision);
        is_it && self.rows.remove(&run.id).is_some()
    }

    pub(super) fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
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

    pub(super) fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Vec<RunId> {
        let stale = self.rows.values().filter(|row| {
            let due = row.run.wake_at.is_some_and(|at| row.run.steady(at) <= now);
            !row.run.status.is_final() && (due || row.written_at < untouched_since)
        });
        stale.take(most).map(|row| row.run.id).collect()
    }

    pub(super) fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Vec<LoggedEvent> {
        let after = after.map_or(0, |cursor| cursor.0);
        let log = self.rows.get(&id).map(|row| row.events.as_slice()).unwrap_or_default();
        let placed = (1u64..).zip(log).filter(|(place, _)| *place > after).take(most);
        placed.map(|(place, event)| LoggedEvent { cursor: EventCursor(place), event: event.clone() }).collect()
    }
}
