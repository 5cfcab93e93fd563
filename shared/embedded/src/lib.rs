//! The engine's ports on one durable `SQLite` file.
//!
//! Several processes may work on one data folder: a host and any number of agents. Each has one thread that writes, and
//! commits all waiting requests together ([`writer`]). The store syncs a write to the disk before it acknowledges it as
//! durable.

#![cfg_attr(doc, expect(rustdoc::private_intra_doc_links, reason = "the map is for those who work in here"))]

mod agents;
mod backup;
mod bus;
mod cache;
mod clock;
mod condition;
mod database;
mod error;
mod event_log;
mod file_clock;
mod folder;
mod host_lock;
mod meter;
mod queues;
mod readers;
mod retention;
mod run_list;
mod run_pages;
mod run_status;
mod run_values;
mod run_watch;
mod runs;
mod schema;
mod session;
mod settled;
mod store;
mod syncer;
mod tasks;
mod versions;
mod watch;
mod writer;

pub use backup::{BackupError, back_up};
pub use clock::SystemClock;
pub use error::OpenError;
pub use host_lock::has_host;
pub use meter::Written;
pub use store::{FILE_NAME, Role, Stats, Store};
