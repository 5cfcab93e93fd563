//! Due times from the clock to the run: turns, catch-up, and crashes in between.

mod crash;
mod due;
mod interleaving;
mod scheduler;
mod world;
