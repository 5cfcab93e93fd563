//! Tasks in the table: a record for each, written conditionally, and its versions, which never change.
//!
//! `EventBridge` Scheduler keeps the due times ([`crate::AwsSchedules`]), so the table has no index of them.

mod sources;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::limits::MAX_LISTED;
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{PortError, PutTask, Records, StoredVersion, TaskRecord, Tasks, VersionRecord};

use crate::Clients;
use crate::settings::Settings;
use crate::table::requests::{ConditionalPut, Expression, Put, Query, Reading, Table};
use crate::table::task_version::Stored;
use crate::table::{Item, PK, REVISION, SK, number, task, task_version, text};
use sources::Sources;

/// Attempts of one put while others write the same record. If the last one fails too, the caller gets the conflict.
const MAX_ATTEMPTS: u32 = 8;
/// The wait after the first of them; each is longer by as much.
const WAIT: Duration = Duration::from_millis(15);

const IS_NEW: &str = "attribute_not_exists(#pk)";
const IS_AS_READ: &str = "#r = :r";

/// Tasks in `DynamoDB`, with large definitions in S3.
pub struct TaskTable {
    table: Table,
    sources: Sources,
}

impl TaskTable {
    /// The tasks of a stack.
    pub fn new(clients: &Clients, settings: &Settings) -> Self {
        Self {
            table: Table::new(clients.dynamodb.clone(), &settings.table),
            sources: Sources::new(clients.s3.clone(), &settings.bucket),
        }
    }

    async fn record(&self, name: &TaskName) -> Result<Option<TaskRecord>, PortError> {
        let item = self.table.get(task::task_key(name), Reading::Consistent).await?;
        item.map(|item| read(&item, name)).transpose()
    }

    /// One attempt. Fails with a conflict if another writer changes the record between its read and its write.
    async fn try_put(&self, put: &Wanted<'_>) -> Result<PutTask, PortError> {
        let Some(before) = self.record(put.name).await? else {
            return self.write_version(put, None, put.first_record()).await;
        };
        let newest = self.version(put.name, before.version).await?;
        if newest.is_none_or(|newest| newest.source != *put.source) {
            return self.write_version(put, Some(before.revision), put.next_version(&before)).await;
        }
        let version = before.version;
        if before.deleted || before.next_due != put.next_due {
            let revision = before.revision + 1;
            let after = TaskRecord { deleted: false, next_due: put.next_due, revision, ..before.clone() };
            self.commit(&before, &after, &[]).await?;
        }
        Ok(PutTask { version, created: false })
    }

    /// Writes the version and the record that names it, both or none.
    async fn write_version(
        &self,
        put: &Wanted<'_>,
        before: Option<u64>,
        record: TaskRecord,
    ) -> Result<PutTask, PortError> {
        let source = self.sources.put(put.source).await?;
        let stored = Stored { created_at: put.now, source };
        let version = ConditionalPut {
            item: task_version::encode(put.name, record.version, &stored),
            condition: IS_NEW,
            expression: Expression::names(&[PK]),
        };
        let (condition, expression) = match before {
            None => (IS_NEW, Expression::names(&[PK])),
            Some(revision) => (IS_AS_READ, Expression::names(&[REVISION]).value(REVISION, number(revision))),
        };
        let named = ConditionalPut { item: task::encode(&record), condition, expression };
        self.table.put_together(vec![version, named]).await?;
        Ok(PutTask { version: record.version, created: true })
    }
}

/// The arguments of a put.
struct Wanted<'a> {
    name: &'a TaskName,
    source: &'a Value,
    next_due: Option<Timestamp>,
    now: Timestamp,
}

impl Wanted<'_> {
    fn first_record(&self) -> TaskRecord {
        TaskRecord {
            name: self.name.clone(),
            revision: 1,
            version: 1,
            deleted: false,
            updated_at: self.now,
            next_due: self.next_due,
            active: None,
            waiting: Vec::new(),
            passed_over: Vec::new(),
        }
    }

    fn next_version(&self, before: &TaskRecord) -> TaskRecord {
        TaskRecord {
            revision: before.revision + 1,
            version: before.version + 1,
            deleted: false,
            updated_at: self.now,
            next_due: self.next_due,
            ..before.clone()
        }
    }
}

#[async_trait]
impl Records<TaskRecord> for TaskTable {
    async fn load(&self, name: &TaskName) -> Result<Option<TaskRecord>, PortError> {
        self.record(name).await
    }

    async fn commit(&self, before: &TaskRecord, after: &TaskRecord, _: &[PublicEvent]) -> Result<(), PortError> {
        let expression = Expression::names(&[REVISION]).value(REVISION, number(before.revision));
        match self.table.put(task::encode(after), IS_AS_READ, expression).await? {
            Put::Done => Ok(()),
            Put::Refused => Err(PortError::conflict()),
        }
    }
}

#[async_trait]
impl Tasks for TaskTable {
    async fn put(
        &self,
        name: &TaskName,
        source: &Value,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutTask, PortError> {
        let wanted = Wanted { name, source, next_due, now };
        for attempt in 1..MAX_ATTEMPTS {
            match self.try_put(&wanted).await {
                Err(error) if error.is_conflict() => tokio::time::sleep(WAIT * attempt).await,
                done => return done,
            }
        }
        self.try_put(&wanted).await
    }

    async fn version(&self, name: &TaskName, version: TaskVersion) -> Result<Option<StoredVersion>, PortError> {
        // A version never changes, so a cheap read that finds it is right. A read that misses it may be behind.
        let key = task_version::version_key(name, version);
        let item = match self.table.get(key.clone(), Reading::Eventual).await? {
            None => self.table.get(key, Reading::Consistent).await?,
            found => found,
        };
        let Some(item) = item else { return Ok(None) };
        let subject = || format!("version {version} of task {name}");
        let Stored { created_at, source } = task_version::decode(&item).map_err(|damage| damage.of(subject()))?;
        let source = self.sources.get(source, &subject()).await?;
        Ok(Some(StoredVersion { version, source, created_at }))
    }

    async fn versions(
        &self,
        name: &TaskName,
        below: Option<TaskVersion>,
        most: usize,
    ) -> Result<Vec<VersionRecord>, PortError> {
        // `DynamoDB` reads the whole items, and hands over only what is asked for: no definition, also none in S3.
        let items = self.table.query_shown(task_version::below(name, below, most), task_version::LISTED, most).await?;
        let listed = |item: &Item| task_version::listed(item).map_err(|damage| damage.of(format_args!("task {name}")));
        items.iter().map(listed).collect()
    }

    async fn list(&self, after: Option<&TaskName>, most: usize) -> Result<Vec<TaskRecord>, PortError> {
        let most = most.min(MAX_LISTED);
        let mut query = Query {
            index: None,
            key: "#pk = :pk",
            expression: Expression::names(&[PK]).value(PK, text(task::PARTITION)),
            ascending: true,
            limit: Some(most),
            after: after.map(task::task_key),
        };
        let mut records = Vec::new();
        // A page leaves out deleted tasks, so it may need several answers.
        while records.len() < most {
            let page = self.table.query(query.clone()).await?;
            for item in &page.items {
                let record = task::decode(item).map_err(|damage| damage.of(subject_of(item)))?;
                records.extend((!record.deleted).then_some(record));
            }
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        records.truncate(most);
        Ok(records)
    }
}

fn read(item: &Item, name: &TaskName) -> Result<TaskRecord, PortError> {
    task::decode(item).map_err(|damage| damage.of(format_args!("task {name}")))
}

fn subject_of(item: &Item) -> String {
    let name = item.get(SK).and_then(|name| name.as_s().ok());
    format!("task {}", name.map_or("without a name", String::as_str))
}
