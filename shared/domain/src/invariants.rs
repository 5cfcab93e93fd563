//! The invariants of a run, each with a name: what tests, simulation and metrics check.
