//! The loops of Windlass over ports: the same on AWS, on one machine and in the simulated world.
//!
//! Nothing here knows AWS or SQL.

use std::sync::Arc;

pub mod agent;
mod aside;
pub mod backoff;
pub mod control;
mod dead_letter;
pub mod definitions;
mod effects;
pub mod perform;
pub mod pools;
pub mod ports;
pub mod process_manager;
pub mod registry;
pub mod retention;
mod runs;
pub mod scheduler;
mod send;
pub mod settle;
pub mod step;
pub mod subject;
pub mod submit;
pub mod sweeper;
mod turns;

use ports::{Agents, Bus, Clock, Queues, Runs, Schedules, Tasks};

/// Everything that the loops need of a host.
#[derive(Clone)]
pub struct Ports {
    /// Queues.
    pub queues: Arc<dyn Queues>,
    /// Saga records and the event log.
    pub runs: Arc<dyn Runs>,
    /// Tasks and their versions.
    pub tasks: Arc<dyn Tasks>,
    /// Who fires due times.
    pub schedules: Arc<dyn Schedules>,
    /// The event bus.
    pub bus: Arc<dyn Bus>,
    /// The register of agents.
    pub agents: Arc<dyn Agents>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}
