//! The register of agents. An entry says by the file's clock when its agent was heard: nothing that sets the wall clock makes
//! a living agent silent.

use async_trait::async_trait;
use serde_json::Value;
use windlass_domain::ids::AgentId;
use windlass_engine::ports::{AgentRecord, Agents, PortError};

use crate::error::{Failure, unreadable};
use crate::file_clock::FileClock;
use crate::store::Store;
use crate::writer::Durability;

#[async_trait]
impl Agents for Store {
    async fn register(&self, agent: &AgentRecord) -> Result<(), PortError> {
        let body = Entry::of(agent, self.clock())?;
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
        let clock = self.clock().clone();
        let read = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached("SELECT body FROM agents ORDER BY id")?;
            let bodies = statement.query_map([], |row| row.get::<_, String>(0))?;
            bodies.map(|body| Entry::read(&body?, &clock).map_err(Failure::from)).collect()
        };
        self.readers().read_aside(read).await
    }
}

/// The key of an entry that holds when the agent was heard, by the file's clock.
const HEARD_AT: &str = "heard_at";
/// The two clocks are not read at the same instant: so much between them is no step of the wall clock.
const CLOCKS_DIFFER_MS: u64 = 1000;

/// What stands in the table for an agent: its record, and when it was heard.
struct Entry;

impl Entry {
    fn of(agent: &AgentRecord, clock: &FileClock) -> Result<String, PortError> {
        let mut entry = serde_json::to_value(agent).map_err(|error| unreadable("an agent", &error))?;
        entry[HEARD_AT] = clock.of_wall(agent.seen_at).into();
        Ok(entry.to_string())
    }

    /// The record. If the wall clock was set since, `seen_at` is what it would have shown then.
    fn read(body: &str, clock: &FileClock) -> Result<AgentRecord, PortError> {
        let entry: Value = serde_json::from_str(body).map_err(|error| unreadable("an agent", &error))?;
        let heard_at = entry.get(HEARD_AT).and_then(Value::as_i64);
        let mut agent: AgentRecord = serde_json::from_value(entry).map_err(|error| unreadable("an agent", &error))?;
        if let Some(heard_at) = heard_at {
            let heard = clock.to_wall(heard_at);
            let apart = heard.as_millis().abs_diff(agent.seen_at.as_millis());
            if apart > CLOCKS_DIFFER_MS {
                agent.seen_at = heard;
            }
        }
        Ok(agent)
    }
}
