//! Saga records: conditional on their revision, in one step with the events that led there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use tokio::time::Instant;
use windlass_contract::event::PublicEvent;
use windlass_contract::record::{StoredRun, decode, encode};
use windlass_domain::content::Wanted;
use windlass_domain::ids::RunId;
use windlass_domain::run::{Origin, Run};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::ports::{
    Created, EventCursor, Glance, LoggedEvent, Outgoing, PortError, QueueName, Records, RunFilter, RunPage, Runs,
};

use crate::error::{Failure, unreadable};
use crate::event_log;
use crate::queues;
use crate::retention;
use crate::run_list;
use crate::run_pages::page_id;
use crate::run_status::status_number;
use crate::run_values::{self, Fresh};
use crate::session::Session;
use crate::store::Store;
use crate::versions;
use crate::writer::Durability;

/// How soon a waiting reader sees a change by another process.
const POLL: Duration = Duration::from_millis(100);

#[async_trait]
impl Records<Run> for Store {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        let id = *id;
        if let Some(run) = self.shared().run_cache.get(id) {
            // An id comes again: a caller may use a key once more when the run is gone.
            match self.readers().read(|connection| place(connection, id))? {
                Some(stored) if stored == (run.submitted_at, run.revision) => return Ok(Some(run)),
                Some(_) | None => {}
            }
        }
        let Some((run, bytes)) = self.read_settled(move |connection| load(connection, id)).await? else {
            return Ok(None);
        };
        self.shared().run_cache.put(run.clone(), bytes);
        Ok(Some(run))
    }

    /// A cached record, without a look at the file whether it is the newest.
    async fn glance(&self, id: &RunId) -> Result<Glance<Run>, PortError> {
        match self.shared().run_cache.get(*id) {
            Some(run) => Ok(Glance { record: Some(run), is_newest: false }),
            None => Ok(Glance { record: self.load(id).await?, is_newest: true }),
        }
    }

    async fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        let (id, references) = (run.id, run_values::references(run, wanted));
        let values = self.readers().read_aside(move |connection| run_values::read(connection, id, &references)).await?;
        for (apart, value) in values {
            run.values.keep(apart, value);
        }
        Ok(())
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        let commit = Commit {
            expected: before.revision,
            row: Row::of(after, encode(after, Some(before))),
            same_place: is_in_same_place(before, after),
            values: run_values::fresh(Some(before), after)?,
            events: event_log::encode(events),
        };
        let (run, bytes, shared) = (after.clone().bare(), commit.row.bytes(), self.shared().clone());
        let keep = move |(): &()| {
            let id = run.id;
            shared.run_cache.replace(run, bytes);
            shared.run_watch.changed(id);
        };
        self.writer().write_and(Durability::Synced, move |session| commit.write(session), keep).await
    }
}

#[async_trait]
impl Runs for Store {
    fn sends_with_record(&self) -> bool {
        true
    }

    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        messages: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError> {
        messages.iter().try_for_each(|(_, message)| queues::check_message(message))?;
        let messages = messages.to_vec();
        let (row, events) = (Row::of(run, encode(run, None)), event_log::encode(events));
        let values = run_values::fresh(None, run)?;
        let shared = self.shared().clone();
        let (run, bytes) = (run.clone().bare(), row.bytes());
        let keep = move |created: &Created| {
            if *created == Created::New {
                shared.run_cache.put(run, bytes);
            }
        };
        let insert = move |session: &mut Session<'_>| {
            let created = row.insert(session, &values, &events)?;
            if created == Created::New {
                for (queue, message) in &messages {
                    queues::insert(session, queue, std::slice::from_ref(message))?;
                }
            }
            Ok(created)
        };
        self.writer().write_and(Durability::Synced, insert, keep).await
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        let deadline = Instant::now() + at_most;
        let waiter = self.shared().run_watch.wait(id);
        loop {
            let changed = waiter.notify.notified();
            tokio::pin!(changed);
            // From here on the reader misses no change.
            changed.as_mut().enable();
            match self.readers().read(|connection| place(connection, id))? {
                Some((_, stored)) if stored <= revision && Instant::now() < deadline => {}
                Some(_) => return Records::<Run>::load(self, &id).await,
                None => return Ok(None),
            }
            // A timeout only means that it is time to look again.
            drop(tokio::time::timeout_at(deadline.min(Instant::now() + POLL), changed).await);
        }
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        let query = run_list::Query::of(filter)?;
        self.read_settled(move |connection| query.read(connection)).await
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        let times = [now, untouched_since].map(|at| self.clock().of_wall(at));
        self.read_settled(move |connection| run_list::stale(connection, times, most)).await
    }

    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        retention::delete(self, run).await
    }

    async fn expire(&self, default: Millis) -> Result<bool, PortError> {
        retention::expire(self, default).await
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.read_settled(move |connection| event_log::read(connection, id, after, most)).await
    }
}

/// The due time that the run stands for.
fn nominal(run: &Run) -> Option<i64> {
    match &run.origin {
        Origin::Request => None,
        Origin::Schedule { nominal } => Some(nominal.as_millis()),
    }
}

/// How long the run is kept from now on, if it has ended and its definition says it.
fn keep(run: &Run) -> Option<i64> {
    let keep = run.own_keep()?;
    let least = if run.origin == Origin::Request { Millis(0) } else { retention::SCHEDULED_AT_LEAST };
    i64::try_from(keep.max(least).0).ok()
}

/// Neither a list nor the sweeper would find the run elsewhere: no index needs to be written.
fn is_in_same_place(before: &Run, after: &Run) -> bool {
    let place = |run: &Run| (run.status, run.started_at, run.finished_at);
    place(before) == place(after)
}

/// A record as its row and its pages.
struct Row {
    id: RunId,
    revision: i64,
    status: i64,
    wake_at: Option<i64>,
    task: Arc<str>,
    version: u32,
    nominal: Option<i64>,
    keep: Option<i64>,
    submitted_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    pages: usize,
    stored: StoredRun,
}

impl Row {
    fn of(run: &Run, stored: StoredRun) -> Self {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        Self {
            id: run.id,
            revision: stored_number(run.revision),
            status: status_number(run.status),
            wake_at: millis(run.wake_at.map(|at| run.steady(at))),
            task: Arc::from(run.task.as_str()),
            version: run.version,
            nominal: nominal(run),
            keep: keep(run),
            submitted_at: run.submitted_at.as_millis(),
            started_at: millis(run.started_at),
            finished_at: millis(run.finished_at),
            pages: if run.actions.pages().len() <= 1 { 0 } else { run.actions.pages().len() },
            stored,
        }
    }

    fn bytes(&self) -> usize {
        self.stored.head.len() + self.stored.pages.iter().map(|(_, page)| page.len()).sum::<usize>()
    }

    fn insert(&self, session: &mut Session<'_>, values: &[Fresh], events: &[String]) -> Result<Created, Failure> {
        let sql =
            "INSERT INTO runs (id, revision, status, wake_at, updated_at, task, version, nominal, keep, submitted_at,
                   started_at, finished_at, pages, head)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                   ON CONFLICT (id) DO NOTHING";
        versions::check(session, &self.task, self.version)?;
        let mut statement = session.prepare(sql)?;
        let inserted = statement.execute(rusqlite::params![
            self.id.as_uuid().as_bytes(),
            self.revision,
            self.status,
            self.wake_at,
            session.clock.now_ms(),
            self.task,
            self.version,
            self.nominal,
            self.keep,
            self.submitted_at,
            self.started_at,
            self.finished_at,
            i64::try_from(self.pages).unwrap_or(i64::MAX),
            self.stored.head,
        ])?;
        if inserted == 0 {
            return Ok(Created::Existing);
        }
        session.rows += 1;
        let seq = session.last_row();
        self.write_pages(session, seq)?;
        run_values::write(session, seq, values)?;
        log(session, seq, events)?;
        Ok(Created::New)
    }

    fn write_pages(&self, session: &mut Session<'_>, seq: i64) -> Result<(), Failure> {
        for (number, page) in &self.stored.pages {
            let sql = "INSERT INTO run_pages (id, body) VALUES (?1, ?2)
                       ON CONFLICT (id) DO UPDATE SET body = excluded.body";
            session.write(sql, (page_id(seq, *number), page))?;
        }
        Ok(())
    }
}

struct Commit {
    expected: u64,
    row: Row,
    same_place: bool,
    values: Vec<Fresh>,
    events: Vec<String>,
}

impl Commit {
    fn write(&self, session: &mut Session<'_>) -> Result<(), Failure> {
        let Some(seq) = self.update(session)? else { return Err(PortError::conflict().into()) };
        session.rows += 1;
        self.row.write_pages(session, seq)?;
        run_values::write(session, seq, &self.values)?;
        log(session, seq, &self.events)
    }

    /// The conditional write; gives the run's number, or nothing if the stored revision is another one.
    fn update(&self, session: &Session<'_>) -> rusqlite::Result<Option<i64>> {
        let row = &self.row;
        let id = row.id.as_uuid();
        let condition = (id.as_bytes(), stored_number(self.expected));
        if self.same_place {
            let sql = "UPDATE runs SET revision = ?3, wake_at = ?4, updated_at = ?5, head = ?6
                       WHERE id = ?1 AND revision = ?2 RETURNING seq";
            let parameters =
                (condition.0, condition.1, row.revision, row.wake_at, session.clock.now_ms(), &row.stored.head);
            return session.prepare(sql)?.query_row(parameters, |row| row.get(0)).optional();
        }
        let sql = "UPDATE runs SET revision = ?3, wake_at = ?4, updated_at = ?5, head = ?6, status = ?7,
                   started_at = ?8, finished_at = ?9, keep = ?10 WHERE id = ?1 AND revision = ?2 RETURNING seq";
        let parameters = (
            condition.0,
            condition.1,
            row.revision,
            row.wake_at,
            session.clock.now_ms(),
            &row.stored.head,
            row.status,
            row.started_at,
            row.finished_at,
            row.keep,
        );
        session.prepare(sql)?.query_row(parameters, |row| row.get(0)).optional()
    }
}

fn log(session: &mut Session<'_>, seq: i64, events: &[String]) -> Result<(), Failure> {
    for events in events {
        session.write("INSERT INTO events (run, body) VALUES (?1, ?2)", (seq, events))?;
    }
    Ok(())
}

/// When the run was submitted, and its revision.
fn place(connection: &Connection, id: RunId) -> Result<Option<(Timestamp, u64)>, Failure> {
    let mut statement = connection.prepare_cached("SELECT submitted_at, revision FROM runs WHERE id = ?1")?;
    let place =
        |row: &rusqlite::Row<'_>| Ok((Timestamp::from_millis(row.get(0)?), row.get::<_, i64>(1)?.unsigned_abs()));
    Ok(statement.query_row([id.as_uuid().as_bytes()], place).optional()?)
}

/// Reads a record with all its pages, as of one instant; gives the bytes that it has as JSON as well.
fn load(connection: &Connection, id: RunId) -> Result<Option<(Run, usize)>, Failure> {
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached("SELECT seq, pages, head FROM runs WHERE id = ?1")?;
    let head = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<(i64, i64, String)> = statement.query_row([id.as_uuid().as_bytes()], head).optional()?;
    let Some((seq, pages, head)) = found else { return Ok(None) };
    let mut statement = snapshot.prepare_cached("SELECT body FROM run_pages WHERE id >= ?1 AND id < ?2 ORDER BY id")?;
    let bodies = statement.query_map((page_id(seq, 0), page_id(seq + 1, 0)), |row| row.get(0))?;
    let bodies = bodies.collect::<Result<Vec<String>, _>>()?;
    let what = format!("run {id}");
    if i64::try_from(bodies.len()).ok() != Some(pages) {
        return Err(unreadable(&what, &format!("it has {} pages of {pages}", bodies.len())).into());
    }
    let run = decode(&head, &bodies).map_err(|error| unreadable(&what, &error))?;
    Ok(Some((run, head.len() + bodies.iter().map(String::len).sum::<usize>())))
}

/// `SQLite`'s integers are signed; revisions are far below the bound.
fn stored_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
