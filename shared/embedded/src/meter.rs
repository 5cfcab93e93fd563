//! Counts of the store's work since it was opened, for benchmarks and for operators.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters, each growing from 0 at open.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) requests: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) wal_pages: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) busy_micros: AtomicU64,
}

/// The writes of this process since it opened the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Requests to write: a send, a receive, a commit of a run, and so on.
    pub requests: u64,
    /// Transactions that were committed: one for all writes that waited together.
    pub commits: u64,
    /// `fdatasync` calls that made commits durable.
    pub syncs: u64,
    /// Rows inserted, updated or deleted.
    pub rows: u64,
    /// Bytes written to the write-ahead log.
    pub wal_bytes: u64,
    /// Checkpoints from the log to the file.
    pub checkpoints: u64,
    /// Time that the writer was at work, in microseconds; the rest of the time it waited for requests.
    pub busy_micros: u64,
}

impl Meter {
    pub(crate) fn read(&self, page_bytes: u64) -> Written {
        Written {
            requests: self.requests.load(Relaxed),
            commits: self.commits.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            rows: self.rows.load(Relaxed),
            wal_bytes: self.wal_pages.load(Relaxed) * page_bytes,
            checkpoints: self.checkpoints.load(Relaxed),
            busy_micros: self.busy_micros.load(Relaxed),
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Relaxed);
}
