//! Tests of the domain through its public functions: the texts it reads, its refusals and its decisions.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "tests, and they read files")]

mod aliases;
mod bounds;
mod brackets;
mod definitions;
mod expressions;
mod faults;
mod functions;
mod growth;
mod inputs;
mod instants;
mod names;
mod pages;
mod paths;
mod places;
mod rules;
mod scalars;
mod statuses;
mod turns;
mod wording;
mod work;
