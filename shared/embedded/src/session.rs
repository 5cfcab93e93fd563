//! The writer's transaction, as a piece of work sees it.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension};
use windlass_engine::ports::QueueName;

use crate::file_clock::{FileClock, MARK_EVERY_MICROS};

/// The writer's knowledge of the file between transactions. A write of another process makes it stale.
#[derive(Debug, Default)]
pub(crate) struct Known {
    data_version: i64,
    queues: HashMap<QueueName, i64>,
    last_message: i64,
    /// When this process last wrote the mark of the file's clock.
    marked_at: i64,
}

/// The transaction of one batch.
pub(crate) struct Session<'a> {
    connection: &'a Connection,
    known: &'a mut Known,
    pub(crate) clock: &'a FileClock,
    /// Queues that have got messages which may be received at once, with how many.
    pub(crate) filled: Vec<(QueueName, usize)>,
    /// Rows written.
    pub(crate) rows: u64,
}

impl<'a> Session<'a> {
    /// Begins a transaction that no other process can come between.
    pub(crate) fn begin(
        connection: &'a Connection,
        known: &'a mut Known,
        clock: &'a FileClock,
    ) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let session = Self { connection, known, clock, filled: Vec::new(), rows: 0 };
        let version = session.prepare("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if session.known.data_version != version {
            let last = session.prepare("SELECT max(id) FROM messages")?.query_row([], |row| row.get(0))?;
            let last_message = session.known.last_message.max(Option::unwrap_or(last, 0));
            let marked_at = session.known.marked_at;
            *session.known = Known { data_version: version, queues: HashMap::new(), last_message, marked_at };
        }
        Ok(session)
    }

    /// Ends the transaction. Its writes are visible to all, and in the operating system's hands.
    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        let now = self.clock.now_micros();
        if self.rows > 0 && now - self.known.marked_at >= MARK_EVERY_MICROS {
            self.clock.mark(self.connection)?;
            self.known.marked_at = now;
        }
        self.prepare("COMMIT")?.execute([]).map(drop)
    }

    /// A statement, prepared once.
    pub(crate) fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.connection.prepare_cached(sql)
    }

    /// Executes a statement that writes; gives how many rows it wrote.
    pub(crate) fn write(&mut self, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<usize> {
        let rows = self.prepare(sql)?.execute(parameters)?;
        self.rows += rows as u64;
        Ok(rows)
    }

    /// A message's id: in the order of sending, and never given twice, so that a receipt stands for one message.
    pub(crate) fn next_message_id(&mut self) -> i64 {
        self.known.last_message = self.clock.now_micros().max(self.known.last_message + 1);
        self.known.last_message
    }

    /// The number of a queue, if it exists.
    pub(crate) fn queue(&mut self, name: &QueueName) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.known.queues.get(name) {
            return Ok(Some(*id));
        }
        let text = name.to_string();
        let found = self.prepare("SELECT id FROM queues WHERE name = ?1")?;
        let found = { found }.query_row([text], |row| row.get(0)).optional()?;
        if let Some(id) = found {
            self.known.queues.insert(name.clone(), id);
        }
        Ok(found)
    }

    /// The number of a queue; makes the queue if it does not exist.
    pub(crate) fn queue_or_make(&mut self, name: &QueueName) -> rusqlite::Result<i64> {
        if let Some(id) = self.queue(name)? {
            return Ok(id);
        }
        self.write("INSERT INTO queues (name) VALUES (?1)", [name.to_string()])?;
        let id = self.connection.last_insert_rowid();
        self.known.queues.insert(name.clone(), id);
        Ok(id)
    }

    /// Forgets a queue that is being removed.
    pub(crate) fn forget_queue(&mut self, name: &QueueName) {
        self.known.queues.remove(name);
    }

    /// The row id of the last insert.
    pub(crate) fn last_row(&self) -> i64 {
        self.connection.last_insert_rowid()
    }
}

/// Takes back a failed transaction, and everything that the session learnt in it.
pub(crate) fn roll_back(connection: &Connection, known: &mut Known) {
    // Some failures (a full disk among them) have already rolled back; then there is nothing to take back.
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::warn!(error = %error, "the transaction could not be rolled back");
    }
    *known = Known { last_message: known.last_message, ..Known::default() };
}
