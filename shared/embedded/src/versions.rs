//! Deletes versions of definitions that nothing needs any more.

use std::collections::BTreeSet;

use rusqlite::Connection;
use windlass_domain::ids::TaskVersion;
use windlass_domain::time::Millis;
use windlass_engine::ports::{ErrorClass, PortError};

use crate::error::{Failure, NO_VERSION};
use crate::session::Session;
use crate::store::Store;
use crate::writer::Durability;

/// Versions that one call deletes at most; the rest have their turn in the next.
const MAX_VERSIONS: usize = 1000;

/// A version that no run has, as of the newest run of that time.
struct Unneeded {
    task: String,
    version: TaskVersion,
    newest_run: i64,
}

/// Deletes the versions that no run has, and that a newer one replaced longer ago than that.
pub(crate) async fn expire(store: &Store, after: Millis) -> Result<(), PortError> {
    let before = store.clock().wall_ms().saturating_sub(i64::try_from(after.0).unwrap_or(i64::MAX));
    let unneeded = store.readers().read_aside(move |connection| find(connection, before)).await?;
    if unneeded.is_empty() {
        return Ok(());
    }
    store.writer().write(Durability::Ordered, move |session| delete(session, &unneeded)).await
}

fn find(connection: &Connection, replaced_before: i64) -> Result<Vec<Unneeded>, Failure> {
    let replaced = "SELECT task, version FROM task_versions AS old WHERE EXISTS (SELECT 1 FROM task_versions AS new
                    WHERE new.task = old.task AND new.version > old.version AND new.created_at < ?1) ORDER BY task";
    let mut statement = connection.prepare_cached(replaced)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let replaced: Vec<(String, TaskVersion)> =
        statement.query_map([replaced_before], row)?.collect::<Result<_, _>>()?;
    let mut unneeded = Vec::new();
    for of_one in replaced.chunk_by(|(one, _), (other, _)| one == other) {
        let newest_run = newest_run(connection)?;
        let has_runs = versions_with_runs(connection, &of_one[0].0)?;
        let without = of_one.iter().filter(|(_, version)| !has_runs.contains(version));
        unneeded.extend(without.map(|(task, version)| Unneeded { task: task.clone(), version: *version, newest_run }));
    }
    unneeded.truncate(MAX_VERSIONS);
    Ok(unneeded)
}

fn newest_run(connection: &Connection) -> Result<i64, Failure> {
    let mut statement = connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM runs")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

fn versions_with_runs(connection: &Connection, task: &str) -> Result<BTreeSet<TaskVersion>, Failure> {
    let mut statement = connection.prepare_cached("SELECT DISTINCT version FROM runs WHERE task = ?1")?;
    Ok(statement.query_map([task], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// A run may have come since they were found: it keeps its version.
fn delete(session: &mut Session<'_>, unneeded: &[Unneeded]) -> Result<(), Failure> {
    let sql = "DELETE FROM task_versions WHERE task = ?1 AND version = ?2 AND NOT EXISTS
               (SELECT 1 FROM runs WHERE task = ?1 AND version = ?2 AND seq > ?3)";
    for Unneeded { task, version, newest_run } in unneeded {
        session.write(sql, (task, version, newest_run))?;
    }
    Ok(())
}

/// Refuses a run of a version that was deleted a moment ago. A run of a task that is not there is not the store's to refuse.
pub(crate) fn check(session: &Session<'_>, task: &str, version: TaskVersion) -> Result<(), Failure> {
    let sql = "SELECT EXISTS (SELECT 1 FROM task_versions WHERE task = ?1 AND version = ?2)
               OR NOT EXISTS (SELECT 1 FROM task_versions WHERE task = ?1)";
    if session.prepare(sql)?.query_row((task, version), |row| row.get(0))? {
        return Ok(());
    }
    let message = format!("start a run of version {version} of the task `{task}`: it was deleted");
    Err(PortError::new(ErrorClass::Reject, NO_VERSION, message).into())
}
