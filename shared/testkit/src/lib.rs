//! Conformance suites of the ports, the reference model and generators.

pub mod conformance;
pub mod faults;
pub mod memory;
