//! Deletes runs that were kept for their time, and gives their room back to the disk.
//!
//! Each step is one request to the writer, among those of others: it deletes a few rows. The record of a run goes first,
//! and with it the run. What else it left goes in the same step or, of a large run, in later ones; until then its number
//! is in `deleted_runs`. The pages of the file that become free take new runs. Only when far more are free than new runs
//! use are some given back, a few at a time.

use rusqlite::{Connection, OptionalExtension};
use windlass_domain::ids::RunId;
use windlass_domain::limits::DUE_COMES_AGAIN_WITHIN_MS;
use windlass_domain::run::Run;
use windlass_domain::time::Millis;
use windlass_engine::ports::PortError;

use crate::database::INCREMENTAL;
use crate::error::Failure;
use crate::run_pages::first_page;
use crate::session::Session;
use crate::store::Store;
use crate::writer::Durability;

/// The least that the run of a due time is kept: its message may come again for so long.
pub(crate) const SCHEDULED_AT_LEAST: Millis = Millis(DUE_COMES_AGAIN_WITHIN_MS);

/// Runs that one step deletes.
const MAX_RUNS: usize = 32;
/// Rows beside the records of runs that one step deletes, more or less.
const MAX_ROWS: usize = 400;
/// Pages of the file that one step gives back.
const PAGES_GIVEN_BACK: i64 = 64;
/// Free pages that stay in the file for new runs: a twentieth of it, and this many at least.
const LEAST_FREE_PAGES: i64 = 256;

/// A run whose time is over.
struct Expired {
    seq: i64,
    /// Its end, by the file's clock.
    updated_at: i64,
}

/// One step; gives whether there may be more to do.
pub(crate) async fn expire(store: &Store, default: Millis) -> Result<bool, PortError> {
    let now = store.clock().now_ms();
    let work = store.readers().read_aside(move |connection| Work::find(connection, now, default)).await?;
    let Some(work) = work else { return Ok(false) };
    let shared = store.shared().clone();
    let forget = move |gone: &Vec<RunId>| gone.iter().for_each(|id| shared.run_cache.remove(*id));
    store.writer().write_and(Durability::Ordered, move |session| work.perform(session), forget).await?;
    Ok(true)
}

/// Deletes this run, if it still is at that revision.
pub(crate) async fn delete(store: &Store, run: &Run) -> Result<bool, PortError> {
    let (id, revision) = (run.id, i64::try_from(run.revision).unwrap_or(i64::MAX));
    let shared = store.shared().clone();
    let forget = move |deleted: &bool| {
        if *deleted {
            shared.run_cache.remove(id);
        }
    };
    let delete = move |session: &mut Session<'_>| {
        let sql = "DELETE FROM runs WHERE id = ?1 AND revision = ?2 RETURNING seq";
        let seq: Option<i64> =
            session.prepare(sql)?.query_row((id.as_uuid().as_bytes(), revision), |row| row.get(0)).optional()?;
        let Some(seq) = seq else { return Ok(false) };
        session.rows += 1;
        // A later step deletes the rest.
        session.write("INSERT INTO deleted_runs (seq) VALUES (?1)", [seq])?;
        Ok(true)
    };
    store.writer().write_and(Durability::Synced, delete, forget).await
}

/// What one step does.
enum Work {
    /// Deletes these records, with what belongs to them as far as the step reaches.
    Runs(Vec<Expired>),
    /// Deletes what is left of runs whose record is gone.
    Leftovers,
    /// Gives pages of the file back.
    Pages,
}

impl Work {
    fn find(connection: &Connection, now: i64, default: Millis) -> Result<Option<Self>, Failure> {
        let left =
            connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM deleted_runs)")?.query_row([], |row| row.get(0));
        if left? {
            return Ok(Some(Self::Leftovers));
        }
        let expired = expired(connection, now, default)?;
        if !expired.is_empty() {
            return Ok(Some(Self::Runs(expired)));
        }
        Ok(has_room_to_give(connection)?.then_some(Self::Pages))
    }

    /// Gives the runs that are gone.
    fn perform(&self, session: &mut Session<'_>) -> Result<Vec<RunId>, Failure> {
        match self {
            Self::Runs(expired) => delete_runs(session, expired),
            Self::Leftovers => delete_leftovers(session).map(|()| Vec::new()),
            Self::Pages => give_pages_back(session).map(|()| Vec::new()),
        }
    }
}

/// Runs whose time is over. It leaves out the run of the due time that had the last turn of its task, because the next due
/// time looks at it (`windlass_domain::retention`). Each query reads its own index from the oldest entry on.
fn expired(connection: &Connection, now: i64, default: Millis) -> Result<Vec<Expired>, Failure> {
    const UNHELD: &str = "NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.name = runs.task AND tasks.deleted = 0
        AND json_extract(tasks.body, '$.active') = runs.nominal)";
    let before = |span: Millis| now.saturating_sub(i64::try_from(span.0).unwrap_or(i64::MAX));
    let queries = [
        (
            format!(
                "keep IS NOT NULL AND updated_at + keep <= ?1 AND (nominal IS NULL OR {UNHELD}) ORDER BY updated_at + keep"
            ),
            now,
        ),
        ("keep IS NULL AND nominal IS NULL AND updated_at <= ?1 ORDER BY updated_at".to_owned(), before(default)),
        (
            format!("keep IS NULL AND nominal IS NOT NULL AND updated_at <= ?1 AND {UNHELD} ORDER BY updated_at"),
            before(default.max(SCHEDULED_AT_LEAST)),
        ),
    ];
    let mut expired: Vec<Expired> = Vec::new();
    for (condition, until) in queries {
        let sql = format!("SELECT seq, updated_at FROM runs WHERE finished_at IS NOT NULL AND {condition} LIMIT ?2");
        let room = i64::try_from(MAX_RUNS - expired.len()).unwrap_or(0);
        let mut statement = connection.prepare_cached(&sql)?;
        let row = |row: &rusqlite::Row<'_>| Ok(Expired { seq: row.get(0)?, updated_at: row.get(1)? });
        let found = statement.query_map((until, room), row)?;
        expired.extend(found.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(expired)
}

fn delete_runs(session: &mut Session<'_>, expired: &[Expired]) -> Result<Vec<RunId>, Failure> {
    let mut gone = Vec::with_capacity(expired.len());
    let mut room = MAX_ROWS;
    for Expired { seq, updated_at } in expired {
        // A caller may have retried it meanwhile.
        let sql = "DELETE FROM runs WHERE seq = ?1 AND updated_at = ?2 AND finished_at IS NOT NULL RETURNING id";
        let id: Option<[u8; 16]> = session.prepare(sql)?.query_row((seq, updated_at), |row| row.get(0)).optional()?;
        let Some(id) = id else { continue };
        session.rows += 1;
        gone.push(RunId::from_uuid(uuid::Uuid::from_bytes(id)));
        if !delete_rest(session, *seq, &mut room)? {
            session.write("INSERT INTO deleted_runs (seq) VALUES (?1)", [seq])?;
        }
    }
    Ok(gone)
}

fn delete_leftovers(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut room = MAX_ROWS;
    while room > 0 {
        let sql = "SELECT seq FROM deleted_runs LIMIT 1";
        let Some(seq) = session.prepare(sql)?.query_row([], |row| row.get::<_, i64>(0)).optional()? else { break };
        if delete_rest(session, seq, &mut room)? {
            session.write("DELETE FROM deleted_runs WHERE seq = ?1", [seq])?;
        }
    }
    Ok(())
}

/// Deletes what belongs to a run whose record is gone, within the rows that the step may still delete; gives whether
/// nothing is left.
fn delete_rest(session: &mut Session<'_>, seq: i64, room: &mut usize) -> Result<bool, Failure> {
    let events = "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE run = ?1 LIMIT ?2)";
    let pages = "DELETE FROM run_pages WHERE id IN (SELECT id FROM run_pages WHERE id >= ?1 AND id < ?2 LIMIT ?3)";
    let most = |room: usize| i64::try_from(room).unwrap_or(i64::MAX);
    let values = "DELETE FROM run_values WHERE id IN (SELECT id FROM run_values WHERE id >= ?1 AND id < ?2 LIMIT ?3)";
    *room = room.saturating_sub(session.write(events, (seq, most(*room)))?);
    *room = room.saturating_sub(session.write(values, (first_page(seq), first_page(seq + 1), most(*room)))?);
    *room = room.saturating_sub(session.write(pages, (first_page(seq), first_page(seq + 1), most(*room)))?);
    Ok(*room > 0)
}

/// Whether far more pages are free than new runs use.
fn has_room_to_give(connection: &Connection) -> Result<bool, Failure> {
    let pragma =
        |name: &str| connection.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get::<_, i64>(0));
    let (free, pages) = (pragma("freelist_count")?, pragma("page_count")?);
    Ok(free > LEAST_FREE_PAGES.max(pages / 20) && pragma("auto_vacuum")? == INCREMENTAL)
}

fn give_pages_back(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut statement = session.prepare(&format!("PRAGMA incremental_vacuum({PAGES_GIVEN_BACK})"))?;
    let mut rows = statement.query([])?;
    // Each step of the statement gives one page back.
    while rows.next()?.is_some() {}
    drop(rows);
    session.rows += 1;
    Ok(())
}

#[cfg(test)]
mod tests;
