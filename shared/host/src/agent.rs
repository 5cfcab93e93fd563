//! An agent in a process of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windlass_domain::ids::PoolName;
use windlass_domain::time::Millis;
use windlass_embedded::{Role, Store};
use windlass_engine::agent::Agent;
use windlass_engine::definitions::Definitions;
use windlass_engine::perform::Performer;
use windlass_facade::{Credentials, Handlers, Targets};

use crate::error::{HostError, store_broken};
use crate::parts::{AgentPlan, settings_of};
use crate::performing::Performing;

/// How long running attempts may take when the agent ends, unless its program says otherwise.
const DRAIN: Millis = Millis::from_secs(30);

/// An agent of one pool that works on the data folder of a host, from a process of its own. Any number may do so.
pub struct SeparateAgent {
    data: PathBuf,
    plan: AgentPlan,
    performing: Performing,
}

impl SeparateAgent {
    /// An agent that performs so many actions of the pool at once.
    pub fn new(data: impl Into<PathBuf>, pool: PoolName, slots: u32) -> Self {
        let plan = AgentPlan { pool, slots, drain: DRAIN };
        Self { data: data.into(), plan, performing: Performing::default() }
    }

    /// How long running attempts may take when the agent ends; it hands back the rest. 30 seconds unless said.
    #[must_use]
    pub fn drain(mut self, drain: Millis) -> Self {
        self.plan.drain = drain;
        self
    }

    /// The Rust functions that `native` actions call.
    #[must_use]
    pub fn handlers(mut self, handlers: Handlers) -> Self {
        self.performing.handlers = handlers;
        self
    }

    /// As [`HostBuilder::guard`](crate::HostBuilder::guard).
    #[must_use]
    pub fn guard(mut self, command: Option<Vec<OsString>>) -> Self {
        self.performing.guard = command;
        self
    }

    /// As [`HostBuilder::credentials`](crate::HostBuilder::credentials).
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.performing.credentials = credentials;
        self
    }

    /// As [`HostBuilder::env_allow`](crate::HostBuilder::env_allow).
    #[must_use]
    pub fn env_allow(mut self, names: Option<Vec<String>>) -> Self {
        self.performing.env_allow = names;
        self
    }

    /// As [`HostBuilder::targets`](crate::HostBuilder::targets).
    #[must_use]
    pub fn targets(mut self, targets: Targets) -> Self {
        self.performing.targets = targets;
        self
    }

    /// As [`HostBuilder::performer`](crate::HostBuilder::performer).
    #[must_use]
    pub fn performer(mut self, performer: Arc<dyn Performer>) -> Self {
        self.performing.performer = Some(performer);
        self
    }

    /// Works until `stop` is cancelled or a caller of the API drains the agent. It holds no attempt then.
    pub async fn run(self, stop: &CancellationToken) -> Result<(), HostError> {
        let store = Store::open(&self.data, Role::Agent)?;
        let ports = store.ports();
        let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
        let performer = self.performing.performer(ports.clock.clone())?;
        let agent = Agent::new(ports, definitions, performer, settings_of(self.plan));
        tokio::select! {
            biased;
            () = agent.run(stop) => Ok(()),
            broken = store_broken(&store) => Err(broken),
        }
    }
}
