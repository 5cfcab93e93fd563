//! The tables, as migrations in order: each is applied once, and none that was shipped is ever edited.

/// Marks a file as Windlass's: `WNDL` as a number.
pub(crate) const APPLICATION_ID: i64 = 0x574e_444c;

/// The migrations; the schema's version is how many of them a file has seen.
pub(crate) const MIGRATIONS: &[&str] = &[FIRST, CLOCK, RETENTION, VALUES];

/// Messages have ids in the order of sending, and no two have the same. A message is visible once `visible_at`
/// (milliseconds of [`crate::file_clock`]) has passed, so an expired receipt needs no work to expire.
///
/// A run is known by its `seq` inside the file; a run of more than one page keeps page `n` under `seq << 16 | n`.
/// A row of `events` holds the events of one commit, as a JSON array: one row, however much a commit decides.
const FIRST: &str = "
CREATE TABLE queues (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    visible_at INTEGER NOT NULL,
    receives INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX messages_by_turn ON messages (queue, visible_at);
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    status INTEGER NOT NULL,
    wake_at INTEGER,
    updated_at INTEGER NOT NULL,
    task TEXT NOT NULL,
    version INTEGER NOT NULL,
    submitted_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    pages INTEGER NOT NULL,
    head TEXT NOT NULL
);
CREATE INDEX runs_by_task ON runs (task);
CREATE INDEX runs_by_status ON runs (status);
CREATE TABLE run_pages (
    id INTEGER PRIMARY KEY,
    body TEXT NOT NULL
);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX events_by_run ON events (run);
CREATE TABLE tasks (
    name TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    next_due INTEGER,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX tasks_by_due ON tasks (next_due) WHERE deleted = 0 AND next_due IS NOT NULL;
CREATE TABLE task_versions (
    task TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (task, version)
);
CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL
) WITHOUT ROWID;
";

/// The last mark of [`crate::file_clock`]: one row.
const CLOCK: &str = "
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    boot TEXT NOT NULL,
    ahead INTEGER NOT NULL,
    at INTEGER NOT NULL,
    wall INTEGER NOT NULL
);
";

/// Runs know the due time that they stand for, and how long they are kept after their end, in milliseconds, if their
/// definition says it. A run's `updated_at` is its end once it has ended. A number of a run is never given twice, because
/// what is left of a deleted one goes later: [`crate::retention`].
const RETENTION: &str = "
CREATE TABLE kept_runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    status INTEGER NOT NULL,
    wake_at INTEGER,
    updated_at INTEGER NOT NULL,
    task TEXT NOT NULL,
    version INTEGER NOT NULL,
    nominal INTEGER,
    keep INTEGER,
    submitted_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    pages INTEGER NOT NULL,
    head TEXT NOT NULL
);
INSERT INTO kept_runs (seq, id, revision, status, wake_at, updated_at, task, version, nominal, submitted_at,
                       started_at, finished_at, pages, head)
    SELECT seq, id, revision, status, wake_at, updated_at, task, version, json_extract(head, '$.run.origin.nominal'),
           submitted_at, started_at, finished_at, pages, head FROM runs;
DROP TABLE runs;
ALTER TABLE kept_runs RENAME TO runs;
CREATE INDEX runs_by_task ON runs (task);
CREATE INDEX runs_by_status ON runs (status);
CREATE INDEX runs_by_end ON runs (updated_at) WHERE finished_at IS NOT NULL AND keep IS NULL AND nominal IS NULL;
CREATE INDEX runs_due_by_end ON runs (updated_at) WHERE finished_at IS NOT NULL AND keep IS NULL AND nominal IS NOT NULL;
CREATE INDEX runs_by_keep ON runs (updated_at + keep) WHERE finished_at IS NOT NULL AND keep IS NOT NULL;
CREATE TABLE deleted_runs (
    seq INTEGER PRIMARY KEY
);
";

/// The values that stand apart from their records ([`crate::run_values`]): the output of action `n` of a run under
/// `seq << 16 | n`, its input under `seq << 16 | 0xffff`.
const VALUES: &str = "
CREATE TABLE run_values (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    body TEXT NOT NULL
);
";
