//! Tasks and their versions.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value;
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::limits::MAX_LISTED;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::ports::{DueTask, PortError, PutTask, Records, StoredVersion, TaskRecord, Tasks, VersionRecord};

use crate::error::{Failure, unreadable};
use crate::session::Session;
use crate::store::Store;
use crate::versions;
use crate::writer::Durability;

#[async_trait]
impl Records<TaskRecord> for Store {
    async fn load(&self, name: &TaskName) -> Result<Option<TaskRecord>, PortError> {
        let record = self.readers().read(|connection| {
            let mut statement = connection.prepare_cached("SELECT body FROM tasks WHERE name = ?1")?;
            let body = statement.query_row([name.as_str()], body).optional()?;
            body.map(|body| record(&body)).transpose()
        })?;
        if let Some(record) = &record
            && !self.shared().settled_tasks.has(record)
        {
            self.writer().settled().await?;
            self.shared().settled_tasks.put(record);
        }
        Ok(record)
    }

    async fn commit(&self, before: &TaskRecord, after: &TaskRecord, _: &[PublicEvent]) -> Result<(), PortError> {
        let (before, after) = (before.revision, after.clone());
        self.writer().write(Durability::Synced, move |session| update(session, before, &after)).await
    }
}

#[async_trait]
impl Tasks for Store {
    async fn put(
        &self,
        name: &TaskName,
        source: &Value,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutTask, PortError> {
        let put = Put { name: name.clone(), source: source.clone(), text: source.to_string(), next_due, now };
        self.writer().write(Durability::Synced, move |session| put.write(session)).await
    }

    async fn version(&self, name: &TaskName, version: TaskVersion) -> Result<Option<StoredVersion>, PortError> {
        let name = name.clone();
        self.read_settled(move |connection| stored_version(connection, &name, version)).await
    }

    async fn expire_versions(&self, default: Millis) -> Result<(), PortError> {
        versions::expire(self, default).await
    }

    async fn versions(
        &self,
        name: &TaskName,
        below: Option<TaskVersion>,
        most: usize,
    ) -> Result<Vec<VersionRecord>, PortError> {
        let (name, below) = (name.to_string(), below.map_or(i64::MAX, i64::from));
        let sql = "SELECT version, created_at FROM task_versions WHERE task = ?1 AND version < ?2
                   ORDER BY version DESC LIMIT ?3";
        let listed =
            |row: &Row<'_>| Ok(VersionRecord { version: row.get(0)?, created_at: Timestamp::from_millis(row.get(1)?) });
        let versions = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let found = statement.query_map((name, below, bounded(most)), listed)?;
            Ok(found.collect::<Result<_, _>>()?)
        };
        self.read_settled(versions).await
    }

    async fn list(&self, after: Option<&TaskName>, most: usize) -> Result<Vec<TaskRecord>, PortError> {
        let after = after.map_or_else(String::new, TaskName::to_string);
        let sql = "SELECT body FROM tasks WHERE deleted = 0 AND name > ?1 ORDER BY name LIMIT ?2";
        self.read_settled(move |connection| records(connection, sql, (after, bounded(most)))).await
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<DueTask>, PortError> {
        let sql = "SELECT body FROM tasks WHERE deleted = 0 AND next_due <= ?1 ORDER BY next_due LIMIT ?2";
        let due = (now.as_millis(), bounded(most));
        let records = self.read_settled(move |connection| records(connection, sql, due)).await?;
        Ok(records.into_iter().filter_map(|record| record.next_due.map(|due| DueTask { due, record })).collect())
    }

    async fn earliest_due(&self) -> Result<Option<Timestamp>, PortError> {
        let sql = "SELECT min(next_due) FROM tasks WHERE deleted = 0 AND next_due IS NOT NULL";
        // It only says how long the scheduler sleeps: no caller learns of it before `due` is on the disk.
        let due = self.readers().read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row([], |row| row.get::<_, Option<i64>>(0))?)
        })?;
        Ok(due.map(Timestamp::from_millis))
    }
}

struct Put {
    name: TaskName,
    source: Value,
    text: String,
    next_due: Option<Timestamp>,
    now: Timestamp,
}

impl Put {
    fn write(&self, session: &mut Session<'_>) -> Result<PutTask, Failure> {
        let found = { session.prepare("SELECT body FROM tasks WHERE name = ?1")? }
            .query_row([self.name.as_str()], body)
            .optional()?;
        let Some(found) = found else {
            let record = self.first_record();
            self.write_version(session, record.version)?;
            let sql = "INSERT INTO tasks (name, revision, deleted, next_due, body) VALUES (?1, ?2, 0, ?3, ?4)";
            let (revision, due, body) = columns(&record)?;
            session.write(sql, (self.name.as_str(), revision, due, body))?;
            return Ok(PutTask { version: record.version, created: true });
        };
        self.write_over(session, record(&found)?)
    }

    fn write_over(&self, session: &mut Session<'_>, mut record: TaskRecord) -> Result<PutTask, Failure> {
        let newest = { session.prepare("SELECT source FROM task_versions WHERE task = ?1 AND version = ?2")? }
            .query_row((self.name.as_str(), record.version), body)?;
        let newest: Value = serde_json::from_str(&newest).map_err(|error| unreadable_task(&self.name, &error))?;
        let created = newest != self.source;
        if created {
            record.version += 1;
            record.updated_at = self.now;
            self.write_version(session, record.version)?;
        } else if !record.deleted && record.next_due == self.next_due {
            return Ok(PutTask { version: record.version, created });
        }
        let before = record.revision;
        record.revision += 1;
        record.deleted = false;
        record.next_due = self.next_due;
        update(session, before, &record)?;
        Ok(PutTask { version: record.version, created })
    }

    fn first_record(&self) -> TaskRecord {
        TaskRecord {
            name: self.name.clone(),
            revision: 0,
            version: 1,
            deleted: false,
            updated_at: self.now,
            next_due: self.next_due,
            active: None,
            waiting: Vec::new(),
            passed_over: Vec::new(),
        }
    }

    fn write_version(&self, session: &mut Session<'_>, version: TaskVersion) -> Result<(), Failure> {
        let sql = "INSERT INTO task_versions (task, version, created_at, source) VALUES (?1, ?2, ?3, ?4)";
        session.write(sql, (self.name.as_str(), version, self.now.as_millis(), &self.text))?;
        Ok(())
    }
}

/// Writes a record over the one of that revision.
fn update(session: &mut Session<'_>, before: u64, record: &TaskRecord) -> Result<(), Failure> {
    let expected = i64::try_from(before).unwrap_or(i64::MAX);
    let (revision, due, body) = columns(record)?;
    let sql = "UPDATE tasks SET revision = ?2, deleted = ?3, next_due = ?4, body = ?5
               WHERE name = ?1 AND revision = ?6";
    match session.write(sql, (record.name.as_str(), revision, record.deleted, due, body, expected))? {
        0 => Err(PortError::conflict().into()),
        _ => Ok(()),
    }
}

fn columns(record: &TaskRecord) -> Result<(i64, Option<i64>, String), Failure> {
    let body = serde_json::to_string(record).map_err(|error| unreadable_task(&record.name, &error))?;
    let revision = i64::try_from(record.revision).unwrap_or(i64::MAX);
    Ok((revision, record.next_due.map(Timestamp::as_millis), body))
}

fn stored_version(
    connection: &Connection,
    name: &TaskName,
    version: TaskVersion,
) -> Result<Option<StoredVersion>, Failure> {
    let sql = "SELECT created_at, source FROM task_versions WHERE task = ?1 AND version = ?2";
    let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found = connection.prepare_cached(sql)?.query_row((name.as_str(), version), columns).optional()?;
    let Some((created_at, source)) = found else { return Ok(None) };
    let source: String = source;
    let source = serde_json::from_str(&source).map_err(|error| unreadable_task(name, &error))?;
    Ok(Some(StoredVersion { version, source, created_at: Timestamp::from_millis(created_at) }))
}

fn records(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Result<Vec<TaskRecord>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    let bodies = statement.query_map(parameters, body)?;
    bodies.map(|body| record(&body?)).collect()
}

fn body(row: &Row<'_>) -> rusqlite::Result<String> {
    row.get(0)
}

fn record(body: &str) -> Result<TaskRecord, Failure> {
    serde_json::from_str(body).map_err(|error| unreadable("a task", &error).into())
}

fn unreadable_task(name: &TaskName, cause: &dyn std::fmt::Display) -> Failure {
    unreadable(&format!("task {name}"), cause).into()
}

fn bounded(most: usize) -> i64 {
    i64::try_from(most.min(MAX_LISTED)).unwrap_or(i64::MAX)
}
