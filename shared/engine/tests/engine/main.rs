//! The loops of the engine on the host in memory.
#![expect(clippy::unwrap_used, reason = "tests")]

mod apart;
mod claims;
mod definitions;
mod drain;
mod drained;
mod loops;
mod old_reads;
mod process_manager;
mod publishing;
mod reaping;
mod registry;
mod schedule;
mod submit;
mod unserved;
mod world;
