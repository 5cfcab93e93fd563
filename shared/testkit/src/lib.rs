//! Conformance suites of the ports, the reference model and generators.

pub mod attempt_model;
pub mod conformance;
pub mod faults;
pub mod generate;
pub mod idle;
pub mod memory;
pub mod model;
pub mod old_reads;
pub mod simulation;
pub mod sketch;
pub mod watched;
pub mod world;
