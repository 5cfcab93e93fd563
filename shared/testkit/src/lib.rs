//! Conformance suites of the ports, the reference model and generators.

pub mod conformance;
pub mod faults;
pub mod generate;
pub mod memory;
pub mod model;
pub mod sketch;
pub mod world;
