//! The API, called without a network on the host in memory. The tests hold every answer against the OpenAPI document.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bodies;
mod document;
mod events;
mod gateway;
mod guard;
mod large;
mod prune;
mod runs;
mod served;
mod tasks;
mod waiting;
mod world;
