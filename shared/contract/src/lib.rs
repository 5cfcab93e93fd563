//! Versioned wire formats: messages between the parts, public events, the run as the API shows it, and records.
//!
//! A reader accepts the version that it was written for, and no other. Each version has golden files in `golden/`, and each
//! public type has a JSON Schema in the top-level `schemas/`.

pub mod event;
pub mod message;
pub mod record;
pub mod report_limits;
pub mod schema;
pub mod trace;
pub mod view;
