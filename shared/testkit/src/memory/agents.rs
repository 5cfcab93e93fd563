//! The register of agents.

use async_trait::async_trait;
use windlass_domain::ids::AgentId;
use windlass_engine::ports::{AgentRecord, Agents, PortError};

use super::MemoryHost;

#[async_trait]
impl Agents for MemoryHost {
    async fn register(&self, agent: &AgentRecord) -> Result<(), PortError> {
        self.write(|state, _| state.agents.insert(agent.id.clone(), agent.clone()));
        Ok(())
    }

    async fn deregister(&self, id: &AgentId) -> Result<(), PortError> {
        self.write(|state, _| state.agents.remove(id));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<AgentRecord>, PortError> {
        Ok(self.state().agents.values().cloned().collect())
    }
}
