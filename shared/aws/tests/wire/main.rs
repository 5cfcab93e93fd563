//! The adapters over the wire, against the local stack's emulator: the suite of each port, and what only AWS has.
//!
//! One emulator for this binary, on a port of its own, with one stack whose resources all tests share.

mod agents;
mod bus;
mod emulator;
mod meter;
mod queues;
mod runs;
mod schedules;
mod stack;
mod tasks;
