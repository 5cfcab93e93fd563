//! Scenarios that the software is judged by, on the decisions alone: no store, no queue, a clock that is set.

#![expect(clippy::expect_used, reason = "tests")]

mod apart;
mod bounded;
mod control;
mod crash;
mod expressions;
mod joins;
mod kills;
mod leases;
mod published;
mod repeats;
mod retries;
mod steps;
mod timers;
mod told;
mod wide;
