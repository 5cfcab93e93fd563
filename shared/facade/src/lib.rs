//! How an agent performs an action: a program (`exec`), an HTTP call (`http`), a Rust handler (`native`).
//!
//! [`Facades`] is the [`Performer`](windlass_engine::perform::Performer) of a real agent. `docs/exec.md` and
//! `docs/http.md` are the contracts with authors of programs and of endpoints; a change there is a change of a
//! contract.
//!
//! A host that runs programs sets [`ExecSettings::guard`] to a command of its own that calls [`run_guard`]. Then a
//! killed host takes its programs with it.
//!
//! This crate never decides what a failure means: it names the kind, and the action's retry policy decides.

mod bounded;
mod error;
mod exec;
mod facades;
mod http;
mod identity;
mod inheritance;
pub mod kinds;
mod native;
mod open_files;
mod starved;
mod time;

pub use error::FacadeError;
pub use exec::{Credentials, ExecSettings, run_guard};
pub use facades::{FacadeSettings, Facades};
pub use http::{HttpSettings, IpNet, Targets, http_client};
pub use identity::{GUARD_COMMAND, address, guard_command, made_id};
pub use inheritance::prepare_for_programs;
pub use native::Handlers;
