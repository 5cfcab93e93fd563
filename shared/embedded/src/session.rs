//! The writer's transaction, as a piece of work sees it.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension};
use windlass_engine::ports::QueueName;

use crate::file_clock::{FileClock, MARK_EVERY_MICROS};

/// The stored number of receives of a message that no reader has received. `SQLite` stores 0 and 1 without a byte. It
/// rewrites a row whose size changes, body included, but a row of the same size only where it differs.
pub(crate) const NEVER_RECEIVED: i64 = 2;
/// A writer that was not about for so long was held up.
const HELD_UP_MS: i64 = 10_000;
/// For so long its messages stay hidden that would be visible. An agent keeps its own within 6 s.
const SPARED_MS: i64 = 15_000;

/// The writer's knowledge of the file between transactions. A write of another process makes it stale.
#[derive(Debug, Default)]
pub(crate) struct Known {
    data_version: i64,
    queues: HashMap<QueueName, i64>,
    last_message: i64,
    /// When this process last wrote the mark of the file's clock.
    marked_at: i64,
    /// When the writer was last about, in milliseconds of the file's clock; 0: it has just begun.
    about_at: i64,
    /// Since when it was held up, until what ran out meanwhile is spared.
    held_up_since: Option<i64>,
    /// Until when what was spared last is hidden. It is not spared again.
    spared_until: i64,
}

impl Known {
    /// The writer is about: it says so every few seconds. A longer gap means that the machine slept, or that this process
    /// was stopped.
    pub(crate) fn is_about(&mut self, clock: &FileClock) {
        let now = clock.now_ms();
        if self.about_at > 0 && now - self.about_at >= HELD_UP_MS {
            self.held_up_since.get_or_insert(self.about_at);
        }
        self.about_at = now;
    }

    /// What holds for every transaction, whatever another process wrote.
    fn lasting(&self) -> Self {
        let Self { last_message, marked_at, about_at, held_up_since, spared_until, .. } = *self;
        Self { last_message, marked_at, about_at, held_up_since, spared_until, ..Self::default() }
    }
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
        let mut session = Self { connection, known, clock, filled: Vec::new(), rows: 0 };
        let version = session.prepare("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if session.known.data_version != version {
            let last = session.prepare("SELECT max(id) FROM messages")?.query_row([], |row| row.get(0))?;
            let last_message = session.known.last_message.max(Option::unwrap_or(last, 0));
            *session.known = Known { data_version: version, last_message, ..session.known.lasting() };
        }
        session.known.is_about(clock);
        session.spare_what_ran_out()?;
        Ok(session)
    }

    /// Ends the transaction. Its writes are visible to all, and in the operating system's hands.
    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        let now = self.clock.now_micros();
        if self.rows > 0 && now - self.known.marked_at >= MARK_EVERY_MICROS {
            self.clock.mark(self.connection)?;
            self.known.marked_at = now;
        }
        self.prepare("COMMIT")?.execute([])?;
        self.known.held_up_since = None;
        Ok(())
    }

    /// Hides what came into sight by time alone while every process was held up for a little longer, once. If the machine slept,
    /// the holders of these messages slept too, and keep them as soon as they wake. So no attempt that goes on is begun
    /// again, and no timer takes its agent for lost.
    fn spare_what_ran_out(&mut self) -> rusqlite::Result<()> {
        let Some(since) = self.known.held_up_since else { return Ok(()) };
        let now = self.clock.now_ms();
        let marked: Option<i64> = self.prepare("SELECT max(at) FROM clock")?.query_row([], |row| row.get(0))?;
        if marked.is_some_and(|marked| now - marked / 1000 < HELD_UP_MS) {
            // Another process was about: this one alone was stopped.
            self.known.held_up_since = None;
            return Ok(());
        }
        let sql = "UPDATE messages SET visible_at = ?1 WHERE visible_at > ?2 AND visible_at <= ?3
                   AND (receives > ?4 OR visible_at > id / 1000 + 1000) AND visible_at <> ?5";
        let spared = self.write(sql, (now + SPARED_MS, since, now, NEVER_RECEIVED, self.known.spared_until))?;
        self.known.spared_until = now + SPARED_MS;
        tracing::info!(
            held_up_ms = now - since,
            spared,
            "the machine slept, or this process was held up; what ran out meanwhile waits a little longer"
        );
        Ok(())
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
    *known = Known { marked_at: 0, ..known.lasting() };
}
