//! Due times from the clock to the run: turns, catch-up, and crashes in between.
#![expect(clippy::unwrap_used, reason = "tests")]

mod crash;
mod due;
mod interleaving;
mod scheduler;
mod world;
