//! Versioned wire formats: messages between the parts, public events, the run as the API shows it, and records.
//!
//! A reader accepts the version it was written for and the one before. Each version that was ever sent or stored
//! has golden files in `golden/`, and each public type a JSON Schema in the top-level `schemas/`.

pub mod event;
mod instant;
pub mod message;
pub mod record;
pub mod schema;
pub mod trace;
pub mod view;
