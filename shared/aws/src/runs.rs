//! Saga records in the table.
//!
//! A transition is one conditional write of the run's head. A small run is its head alone. The head of a large run
//! spills states to pages, which never change once they are written. So a process keeps the pages that it has read in
//! memory. A load is one read of the head, and of the unknown pages.

mod layout;
mod list;
mod read;
mod stale;
mod write;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use windlass_contract::event::PublicEvent;
use windlass_domain::content::{Apart, Wanted};
use windlass_domain::history::{Placed, history, wanted};
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::retention::Retention;
use windlass_domain::run::Run;
use windlass_domain::time::Timestamp;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{
    Clock, Created, EventCursor, Glance, LoggedEvent, Outgoing, PortError, QueueName, Records, RunFilter, RunPage, Runs,
};

use crate::Clients;
use crate::payload::Payloads;
use crate::recent::Recent;
use crate::runs::layout::Layout;
use crate::settings::Settings;
use crate::table::head::{head_key, subject};
use crate::table::requests::{Expression, Reading, Table};
use crate::table::{REVISION, list as list_item, number, read_number};

/// About how many bytes of runs a process keeps in memory.
const MAX_CACHED_BYTES: usize = 64 * 1024 * 1024;
/// How many tasks a process remembers that have their item in the list of lists.
const MAX_LISTED_TASKS: usize = 100_000;
/// The first wait for a change of a run, and the longest.
const POLLS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A run as it is stored, and where its states stand.
struct Known {
    run: Run,
    layout: Layout,
}

/// Saga records in `DynamoDB`, with their large values in S3.
pub struct RunTable {
    table: Table,
    payloads: Payloads,
    clock: Arc<dyn Clock>,
    definitions: Arc<Definitions>,
    known: Recent<RunId, Arc<Known>>,
    retention: Retention,
    /// Tasks whose item in the list of lists is known to be there.
    listed: Mutex<BTreeSet<TaskName>>,
}

impl RunTable {
    /// The runs of a stack. The definitions are needed to name a run's events.
    pub fn new(clients: &Clients, settings: &Settings, definitions: Arc<Definitions>, clock: Arc<dyn Clock>) -> Self {
        Self {
            table: Table::new(clients.dynamodb.clone(), &settings.table),
            payloads: Payloads::new(clients.s3.clone(), &settings.bucket),
            clock,
            definitions,
            known: Recent::new(MAX_CACHED_BYTES),
            retention: settings.retention(),
            listed: Mutex::default(),
        }
    }

    /// The stored run at the revision of `before`. None if there is no such run, or if it is at another revision.
    async fn known_at(&self, before: &Run) -> Result<Option<Arc<Known>>, PortError> {
        let known = match self.known.get(before.id) {
            // A revision never comes again.
            Some(known) if known.run.revision >= before.revision => Some(known),
            Some(_) | None => self.read(before.id, Reading::Consistent).await?,
        };
        Ok(known.filter(|known| known.run.revision == before.revision))
    }

    /// Sees to it that the task's runs are in the list of all runs.
    async fn enlist(&self, task: &TaskName) -> Result<(), PortError> {
        if self.listed.lock().unwrap_or_else(PoisonError::into_inner).contains(task) {
            return Ok(());
        }
        let item = list_item::item(task);
        if self.table.get(item.clone(), Reading::Eventual).await?.is_none() {
            self.table.replace(item).await?;
        }
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.len() >= MAX_LISTED_TASKS {
            listed.clear();
        }
        listed.insert(task.clone());
        Ok(())
    }

    /// The revision of a run as it lately was.
    async fn revision(&self, id: RunId) -> Result<Option<u64>, PortError> {
        let Some(item) = self.table.get(head_key(id), Reading::Eventual).await? else { return Ok(None) };
        read_number(&item, REVISION).map(Some).map_err(|damage| damage.of(subject(id)))
    }
}

#[async_trait]
impl Records<Run> for RunTable {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        Ok(self.read(*id, Reading::Consistent).await?.map(|known| known.run.clone()))
    }

    async fn glance(&self, id: &RunId) -> Result<Glance<Run>, PortError> {
        let known = self.read(*id, Reading::Eventual).await?;
        Ok(Glance { record: known.map(|known| known.run.clone()), is_newest: false })
    }

    async fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        let references = wanted.iter().filter_map(|place| run.apart(*place));
        let references: Vec<Apart> = references.collect();
        let incoming = self.payloads.get(references.iter().copied()).await?;
        for apart in references {
            let value = incoming.get(&apart.digest).ok_or_else(PortError::conflict)?;
            run.values.keep(apart, value.clone());
        }
        Ok(())
    }

    async fn commit(&self, before: &Run, after: &Run, _: &[PublicEvent]) -> Result<(), PortError> {
        let known = self.known_at(before).await?.ok_or_else(PortError::conflict)?;
        if self.write(Some(&known), after).await? { Ok(()) } else { Err(PortError::conflict()) }
    }
}

#[async_trait]
impl Runs for RunTable {
    async fn create(&self, run: &Run, _: &[PublicEvent], _: &[(QueueName, Outgoing)]) -> Result<Created, PortError> {
        self.enlist(&run.task).await?;
        Ok(if self.write(None, run).await? { Created::New } else { Created::Existing })
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        let (deadline, mut wait) = (Instant::now() + at_most, POLLS.0);
        loop {
            match self.revision(id).await? {
                Some(stored) if stored <= revision && Instant::now() < deadline => {}
                Some(_) | None => return self.load(&id).await,
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + wait)).await;
            wait = (wait * 3 / 2).min(POLLS.1);
        }
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.list_page(filter).await
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        self.look(now, untouched_since, most).await
    }

    /// A run without its head is not there. Its pages expire by themselves since it has ended, and payloads, which other
    /// runs may share, by the bucket's rule.
    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        let expected = Expression::names(&[REVISION]).value(REVISION, number(run.revision));
        self.table.remove_if(head_key(run.id), "#r = :r", expected).await
    }

    /// There is no log. These are the events that the record shows, at the places of the commits that changed it last.
    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        let Some(known) = self.read(id, Reading::Consistent).await? else { return Ok(Vec::new()) };
        let mut run = known.run.clone();
        let definition = self.definitions.get(&run.task, run.version).await?;
        let after = after.map_or(0, |cursor| cursor.0);
        let page = |run: &Run| {
            let placed = history(&definition, run).into_iter();
            let shown = |placed: &Placed| placed.place > after && placed.fact.kind.is_public();
            placed.filter(shown).take(most).collect::<Vec<_>>()
        };
        let wanted = wanted(&run, &page(&run));
        self.fill(&mut run, &wanted).await?;
        let logged = page(&run).into_iter().filter_map(|placed| {
            let event = PublicEvent::of(&definition, &run, &placed.fact)?;
            Some(LoggedEvent { cursor: EventCursor(placed.place), event })
        });
        Ok(logged.collect())
    }
}
