//! Lists of runs: pages for people, and the runs for the sweeper.

use rusqlite::{Connection, Row, ToSql};
use windlass_contract::view::RunSummary;
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::limits::MAX_LISTED;
use windlass_domain::run::RunStatus;
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{ErrorClass, PortError, RunFilter, RunPage};

use crate::error::{CURSOR, Failure, unreadable};
use crate::run_status::status_number;

/// A request for a list. Its pages end at a run's number, so that runs that come in between move nothing.
pub(crate) struct Query {
    task: Option<TaskName>,
    status: Option<RunStatus>,
    before: Option<i64>,
    limit: usize,
}

impl Query {
    pub(crate) fn of(filter: &RunFilter) -> Result<Self, PortError> {
        let before = filter.cursor.as_deref().map(read_cursor).transpose()?;
        let limit = filter.limit.clamp(1, MAX_LISTED);
        Ok(Self { task: filter.task.clone(), status: filter.status, before, limit })
    }

    pub(crate) fn read(&self, connection: &Connection) -> Result<RunPage, Failure> {
        let mut conditions = Vec::new();
        let mut parameters: Vec<Box<dyn ToSql>> = Vec::new();
        if let Some(task) = &self.task {
            conditions.push("task = ?");
            parameters.push(Box::new(task.as_str().to_owned()));
        }
        if let Some(status) = self.status {
            conditions.push("status = ?");
            parameters.push(Box::new(status_number(status)));
        }
        if let Some(before) = self.before {
            conditions.push("seq < ?");
            parameters.push(Box::new(before));
        }
        let filter = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
        let sql = format!(
            "SELECT seq, id, task, version, status, submitted_at, started_at, finished_at FROM runs
             WHERE {filter} ORDER BY seq DESC LIMIT {}",
            self.limit + 1
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map(rusqlite::params_from_iter(parameters), Listed::read)?;
        self.page(rows.collect::<Result<_, _>>()?)
    }

    /// The query reads one more than asked for, to know whether there is a further page.
    fn page(&self, mut rows: Vec<Listed>) -> Result<RunPage, Failure> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = rows.last().filter(|_| more).map(|last| format!("r{:x}", last.seq));
        let runs = rows.into_iter().map(Listed::summary).collect::<Result<_, _>>()?;
        Ok(RunPage { runs, next })
    }
}

struct Listed {
    seq: i64,
    id: [u8; 16],
    task: String,
    version: u32,
    status: i64,
    submitted_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
}

impl Listed {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            id: row.get(1)?,
            task: row.get(2)?,
            version: row.get(3)?,
            status: row.get(4)?,
            submitted_at: row.get(5)?,
            started_at: row.get(6)?,
            finished_at: row.get(7)?,
        })
    }

    fn summary(self) -> Result<RunSummary, Failure> {
        let id = run_id(self.id);
        let what = format!("run {id}");
        let status = RunStatus::ALL.into_iter().find(|status| status_number(*status) == self.status);
        let shown = |at: i64| Timestamp::from_millis(at).to_string();
        Ok(RunSummary {
            id,
            task: TaskName::new(&self.task).map_err(|error| unreadable(&what, &error))?,
            version: self.version,
            status: status.ok_or_else(|| unreadable(&what, &format!("its status is {}", self.status)))?,
            submitted_at: shown(self.submitted_at),
            started_at: self.started_at.map(shown),
            finished_at: self.finished_at.map(shown),
        })
    }
}

/// Open runs that are due, and then those without a write since `untouched_since`. Both times are the file's, and so are
/// those in the rows. The runs come in no order: if there are more than fit, a run that stays as it is must not hold up
/// others.
pub(crate) fn stale(
    connection: &Connection,
    [now, untouched_since]: [i64; 2],
    most: usize,
) -> Result<Vec<RunId>, Failure> {
    let sql = "SELECT id FROM runs WHERE status IN (0, 1, 2, 3) AND (wake_at <= ?1 OR updated_at < ?2)
               ORDER BY ifnull(wake_at <= ?1, 0) DESC, random() LIMIT ?3";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let parameters = (now, untouched_since, most);
    let ids = statement.query_map(parameters, |row| row.get(0).map(run_id))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

fn run_id(bytes: [u8; 16]) -> RunId {
    RunId::from_uuid(uuid::Uuid::from_bytes(bytes))
}

fn read_cursor(text: &str) -> Result<i64, PortError> {
    let seq = text.strip_prefix('r').and_then(|digits| i64::from_str_radix(digits, 16).ok());
    let refused = || PortError::new(ErrorClass::Reject, CURSOR, "list runs: the cursor is not one that a list gave");
    seq.filter(|seq| *seq > 0).ok_or_else(refused)
}
