//! Scenarios that the software is judged by, on the decisions alone: no store, no queue, a clock that is set.

#![expect(clippy::expect_used, reason = "tests")]

mod answers;
mod control;
mod crash;
mod expressions;
mod joins;
mod kills;
mod leases;
mod pauses;
mod published;
mod repeated;
mod repeats;
mod retries;
mod steps;
mod timers;
mod told;
mod wide;
