//! The API, called without a network on the host in memory. Every answer is held against the OpenAPI document.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bodies;
mod document;
mod events;
mod gateway;
mod guard;
mod runs;
mod served;
mod tasks;
mod waiting;
mod world;
