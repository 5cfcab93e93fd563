//! A host on one machine, for any Rust program that wants one inside itself.
//!
//! One process, one data folder, every loop of the engine: process manager, sweeper, scheduler, the agents of this
//! process and the HTTP API. [`Host::builder`] says how, [`HostBuilder::start`] starts it, [`Host::shutdown`] ends it in
//! order. An agent in a process of its own, on the folder of a host, is a [`SeparateAgent`].
//!
//! ```no_run
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! use windlass_host::{Handlers, Host};
//!
//! let handlers = Handlers::new().with("greet", |input, _control| async move { Ok(input) });
//! let host = Host::builder("/var/lib/my-program").handlers(handlers).start().await?;
//! println!("the API answers at {}", host.url());
//! host.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/embed.rs` puts a task and runs it. This crate decides nothing: the engine does. It takes no signals, sets
//! no logging up and ends no process, for these belong to the program that it is in.

mod agent;
mod error;
mod folder;
mod host;
mod listen;
mod parts;
mod performing;
mod serve;
mod tls;

pub use agent::SeparateAgent;
pub use error::HostError;
pub use folder::{TOKEN_FILE, URL_FILE};
pub use host::{Host, HostBuilder};

// A program that embeds the host also needs these types to write handlers, put tasks, start runs and read results.
pub use windlass_domain::caller::Caller;
pub use windlass_domain::definition::Definition;
pub use windlass_domain::ids::{PoolName, RunId, TaskName};
pub use windlass_domain::run::{ErrorInfo, Run, RunStatus};
pub use windlass_domain::time::Millis;
pub use windlass_engine::perform::{AttemptControl, Performer};
pub use windlass_engine::ports::PortError;
pub use windlass_engine::submit::StartRequest;
pub use windlass_facade::{
    Credentials, GUARD_COMMAND, Handlers, IpNet, Targets, guard_command, prepare_for_programs, run_guard,
};
