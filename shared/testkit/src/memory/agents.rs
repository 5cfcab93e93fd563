//! The register of agents.

use async_trait::async_trait;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::Millis;
use windlass_engine::ports::{AgentRecord, Agents, PortError};

use super::MemoryHost;

impl MemoryHost {
    /// Registers an agent of the pool, which is there for a day, for tests without a real agent.
    pub fn serve(&self, pool: &PoolName) {
        self.write(|state, now| {
            let id = AgentId::new(pool.as_str()).unwrap_or_else(|_| unreachable!("a pool's name is a name"));
            let agent = AgentRecord {
                id: id.clone(),
                pool: pool.clone(),
                slots: 1,
                busy: 0,
                version: "1".to_owned(),
                address: "memory/1".to_owned(),
                draining: false,
                started_at: now,
                seen_at: now.plus(Millis::from_secs(86_400)),
            };
            state.agents.insert(id, agent);
        });
    }
}

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
