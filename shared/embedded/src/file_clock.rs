//! The clock of the file: elapsed time that all processes on one file read alike.
//!
//! # Why the file has a clock
//! A queue hides a message for a span, not until a date. By the wall clock, a step back of an hour (by NTP or a person)
//! would hide every delayed message for an hour more. A step forward would redeliver the messages of all running
//! attempts. So [`FileClock`] counts elapsed time. `visible_at`, `updated_at`, `wake_at` and the ids of messages are times of
//! this clock. A run counts its own times by it, from the wall clock's time of its start (`Run::clock`). Wall time are `sent_at`
//! and schedules.
//!
//! # How it counts
//! The time of the file is the machine's `CLOCK_BOOTTIME` plus a number, `ahead`. Nothing steps `CLOCK_BOOTTIME`, and it
//! counts while the machine sleeps. It begins at 0 at each boot, so `ahead` holds for one boot only. The file keeps the last
//! **mark**: the name of the boot, `ahead`, and what both clocks showed then. Each process writes a mark about once a
//! second while it writes, and every few seconds otherwise. A process settles `ahead` once, in [`FileClock::start`]:
//! - **No mark**: the file is new. Its time begins as the wall clock shows; from then on the two go apart freely.
//! - **A mark of this boot**: the process takes over its `ahead`.
//! - **A mark of another boot**: the file's time goes on from the mark, plus the time that has passed since. Only the wall
//!   clock knows that time, and it is believed for this span alone. If it went back, no time has passed.
//! - **A mark of this boot that lies ahead**: a virtual machine went back to a snapshot, or there is no boot id. The
//!   process treats it as a mark of another boot.
//!
//! # What happens
//! - **Two processes** share `ahead`, so a span that one writes is right for the other. `SQLite`'s lock for writing covers
//!   reading and writing the mark: of two that start first after a boot, one settles `ahead`.
//! - **The wall clock steps**, by seconds or hours, either way, while the machine runs: nothing changes.
//! - **The host restarts**: the time in between counts. Steps of the wall clock do not.
//! - **The machine boots again**: the time that it was off counts, by the wall clock. A machine whose clock starts in
//!   the past counts none. Then each message stays hidden for the rest of its span, and at most for the age of the mark
//!   more. If the wall clock was set forward meanwhile, messages come early. That does no harm: the boot has ended
//!   their receivers, and a run decides by its own record whether its time has come.
//! - **The machine sleeps**: the time counts. What ran out meanwhile stays hidden for a little longer (`session.rs`): its
//!   receiver slept, too, and keeps it when it wakes.
//! - **The file is copied to another machine**, or comes back: as after a boot, by the wall clocks of the two.
//! - **A backup of this boot is restored**: the time since the backup counts.
//! - **Containers with time namespaces of their own** share a file: each has its own name of the boot and its own
//!   `ahead`. They differ by as much as the wall clock was stepped between the last mark and the start.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::Clock;

use crate::clock::Machine;

/// How old the mark may get while a process writes, in microseconds.
pub(crate) const MARK_EVERY_MICROS: i64 = 1_000_000;

/// The clock of a file, in this process. Its clones show the same time.
#[derive(Clone)]
pub(crate) struct FileClock {
    machine: Arc<dyn Machine>,
    boot: Arc<str>,
    /// Microseconds that the file's time is ahead of the machine's elapsed time.
    ahead: i64,
}

/// The stored time of the file.
struct Mark {
    boot: String,
    ahead: i64,
    /// The file's time and the wall clock at the mark, in microseconds.
    at: i64,
    wall: i64,
}

impl FileClock {
    /// Goes on with the time of a file.
    pub(crate) fn start(connection: &mut Connection, machine: Arc<dyn Machine>) -> rusqlite::Result<Self> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mark = read(&transaction)?;
        let boot = machine.boot();
        let (elapsed, wall) = (machine.elapsed_micros(), machine.wall_micros());
        let ahead = match &mark {
            None => wall - elapsed,
            Some(mark) if mark.boot == boot && elapsed + mark.ahead >= mark.at => mark.ahead,
            Some(mark) => mark.at + (wall - mark.wall).max(0) - elapsed,
        };
        let clock = Self { machine, boot: boot.into(), ahead };
        // A full disk keeps no process from working off the messages that are there. The next process settles the same
        // time again.
        if let Err(error) = clock.mark(&transaction).and_then(|()| transaction.commit()) {
            tracing::warn!(error = %error, "failed to keep the time of the file");
        }
        Ok(clock)
    }

    /// The file's time in milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_micros().div_euclid(1000)
    }

    /// The file's time in microseconds.
    pub(crate) fn now_micros(&self) -> i64 {
        self.machine.elapsed_micros() + self.ahead
    }

    /// The time that people read, in milliseconds since the epoch.
    pub(crate) fn wall_ms(&self) -> i64 {
        self.machine.wall_micros().div_euclid(1000)
    }

    /// The file's time when the wall clock showed `at`, if it has not been set since.
    pub(crate) fn of_wall(&self, at: Timestamp) -> i64 {
        at.as_millis().saturating_sub(self.wall_ms()).saturating_add(self.now_ms())
    }

    /// What the wall clock shows of that time of the file, as it is set now.
    pub(crate) fn to_wall(&self, at: i64) -> Timestamp {
        Timestamp::from_millis(at.saturating_sub(self.now_ms()).saturating_add(self.wall_ms()))
    }

    /// Writes the mark.
    pub(crate) fn mark(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "INSERT INTO clock (id, boot, ahead, at, wall) VALUES (1, ?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE
                   SET boot = excluded.boot, ahead = excluded.ahead, at = excluded.at, wall = excluded.wall";
        let mark = (&*self.boot, self.ahead, self.now_micros(), self.machine.wall_micros());
        connection.prepare_cached(sql)?.execute(mark).map(drop)
    }
}

impl Clock for FileClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall_ms())
    }

    fn steady(&self) -> Option<Timestamp> {
        Some(Timestamp::from_millis(self.now_ms()))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.machine.elapsed_micros().max(0).unsigned_abs())
    }
}

fn read(connection: &Connection) -> rusqlite::Result<Option<Mark>> {
    let mark = |row: &rusqlite::Row<'_>| {
        Ok(Mark { boot: row.get(0)?, ahead: row.get(1)?, at: row.get(2)?, wall: row.get(3)? })
    };
    connection.query_row("SELECT boot, ahead, at, wall FROM clock", [], mark).optional()
}

#[cfg(test)]
pub(crate) mod tests;
