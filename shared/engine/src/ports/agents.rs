//! The register of agents.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::Timestamp;

use super::PortError;

/// An agent, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentRecord {
    /// Who it is.
    pub id: AgentId,
    /// The pool it consumes.
    pub pool: PoolName,
    /// How many attempts it performs at once.
    pub slots: u32,
    /// How many it performs.
    pub busy: u32,
    /// The version of its program.
    pub version: String,
    /// Its machine and process: `host/pid`.
    pub address: String,
    /// It takes nothing further and ends when what it performs has ended.
    pub draining: bool,
    /// When it came up, in milliseconds since the epoch.
    pub started_at: Timestamp,
    /// When it last said so, in milliseconds since the epoch.
    pub seen_at: Timestamp,
}

/// How often an agent says of itself that it is there.
pub const REGISTER_EVERY: Duration = Duration::from_secs(10);

/// The register of agents. It is for people: liveness of work is its message's visibility.
#[async_trait]
pub trait Agents: Send + Sync {
    /// Writes what an agent says of itself. A host where a write costs something may leave out one that changes nothing
    /// but `seen_at`, as long as one comes through each minute: the register is never further behind than that.
    async fn register(&self, agent: &AgentRecord) -> Result<(), PortError>;

    /// How old `seen_at` of a living agent may become at most, if every call of its goes through.
    fn heard_every(&self) -> Duration {
        REGISTER_EVERY
    }

    /// Forgets an agent that has ended; it is no error if it is not there.
    async fn deregister(&self, id: &AgentId) -> Result<(), PortError>;

    /// Every agent that is registered.
    async fn list(&self) -> Result<Vec<AgentRecord>, PortError>;
}
