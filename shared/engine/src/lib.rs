//! The loops of Windlass over ports: what runs on AWS, on one machine and in the simulated world alike.
//!
//! Nothing here knows AWS or SQL.

pub mod ports;
