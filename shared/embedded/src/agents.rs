//! The register of agents.

use async_trait::async_trait;
use windlass_domain::ids::AgentId;
use windlass_engine::ports::{AgentRecord, Agents, PortError};

use crate::error::{Failure, unreadable};
use crate::store::Store;
use crate::writer::Durability;

#[async_trait]
impl Agents for Store {
    async fn register(&self, agent: &AgentRecord) -> Result<(), PortError> {
        let body = serde_json::to_string(agent).map_err(|error| unreadable("an agent", &error))?;
        let id = agent.id.clone();
        let sql = "INSERT INTO agents (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET body = excluded.body";
        let write = move |session: &mut crate::session::Session<'_>| {
            session.write(sql, (id.as_str(), &body))?;
            Ok(())
        };
        self.writer().write(Durability::Ordered, write).await
    }

    async fn deregister(&self, id: &AgentId) -> Result<(), PortError> {
        let id = id.clone();
        let write = move |session: &mut crate::session::Session<'_>| {
            session.write("DELETE FROM agents WHERE id = ?1", [id.as_str()])?;
            Ok(())
        };
        self.writer().write(Durability::Ordered, write).await
    }

    async fn list(&self) -> Result<Vec<AgentRecord>, PortError> {
        let read = |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached("SELECT body FROM agents ORDER BY id")?;
            let bodies = statement.query_map([], |row| row.get::<_, String>(0))?;
            let record = |body: String| {
                serde_json::from_str(&body).map_err(|error| Failure::from(unreadable("an agent", &error)))
            };
            bodies.map(|body| record(body?)).collect()
        };
        self.readers().read_aside(read).await
    }
}
