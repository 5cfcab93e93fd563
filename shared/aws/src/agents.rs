//! The register of agents in the table: one partition for each pool, so that an agent may write that of its own.
//!
//! To list all agents is one query for each pool of the stack. The template names the pools to the programs that list, so
//! no index of pools has to be kept.
//!
//! An agent says that it is there every ten seconds. An agent writes its item when anything but the time has changed,
//! and once a minute. So an idle agent costs one write unit a minute instead of six.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::Millis;
use windlass_engine::ports::{AgentRecord, Agents, PortError, REGISTER_EVERY};

use crate::Clients;
use crate::settings::Settings;
use crate::table::requests::{Expression, Query, Table};
use crate::table::{Item, PK, SK, agent, text};

/// An agent writes a registration that changes only its time when the last one is this old.
const WRITE_AFTER: Millis = Millis::from_secs(60);
/// Agents that are listed of one pool.
const MAX_AGENTS: usize = 10_000;
/// Queries that are open at once.
const MAX_REQUESTS: usize = 16;

/// The register of agents in `DynamoDB`.
pub struct AgentTable {
    table: Table,
    /// The pools of the stack; none in an agent's process, which lists no agents.
    pools: Vec<PoolName>,
    /// The last entry that this program wrote: its own agent's, in an agent's process.
    written: Mutex<HashMap<AgentId, AgentRecord>>,
    /// The pools of the agents that this program listed last.
    listed: Mutex<HashMap<AgentId, PoolName>>,
}

impl AgentTable {
    /// The register of a stack.
    pub fn new(clients: &Clients, settings: &Settings) -> Self {
        let table = Table::new(clients.dynamodb.clone(), &settings.table);
        Self { table, pools: settings.pools.clone(), written: Mutex::default(), listed: Mutex::default() }
    }

    fn written(&self) -> MutexGuard<'_, HashMap<AgentId, AgentRecord>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(&self) -> MutexGuard<'_, HashMap<AgentId, PoolName>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn list_pool(&self, pool: &PoolName) -> Result<Vec<AgentRecord>, PortError> {
        let query = Query {
            index: None,
            key: "#pk = :pk",
            expression: Expression::names(&[PK]).value(PK, text(agent::partition(pool))),
            ascending: true,
            limit: None,
            after: None,
        };
        let items = self.table.query_all(query, MAX_AGENTS).await?;
        Ok(items.iter().filter_map(|item| read(pool, item)).collect())
    }
}

/// Whether the register has the agent's entry already, but for a time that is less than a minute old.
fn is_told(written: &AgentRecord, agent: &AgentRecord) -> bool {
    let unchanged = AgentRecord { seen_at: agent.seen_at, ..written.clone() } == *agent;
    unchanged && written.seen_at <= agent.seen_at && agent.seen_at.since(written.seen_at) < WRITE_AFTER
}

#[async_trait]
impl Agents for AgentTable {
    async fn register(&self, agent: &AgentRecord) -> Result<(), PortError> {
        if self.written().get(&agent.id).is_some_and(|written| is_told(written, agent)) {
            return Ok(());
        }
        self.table.replace(agent::encode(agent)).await?;
        self.written().insert(agent.id.clone(), agent.clone());
        Ok(())
    }

    fn heard_every(&self) -> Duration {
        WRITE_AFTER.as_duration() + REGISTER_EVERY
    }

    async fn deregister(&self, id: &AgentId) -> Result<(), PortError> {
        let written = self.written().remove(id).map(|agent| agent.pool);
        let listed = self.listed().remove(id);
        // An agent forgets itself, and the sweeper an agent that it listed. Any other program knows no agent to forget.
        let Some(pool) = written.or(listed) else { return Ok(()) };
        self.table.remove(agent::agent_key(&pool, id)).await
    }

    async fn list(&self) -> Result<Vec<AgentRecord>, PortError> {
        let queries: Vec<_> = self.pools.iter().map(|pool| self.list_pool(pool)).collect();
        let agents: Vec<Vec<AgentRecord>> = stream::iter(queries).buffered(MAX_REQUESTS).try_collect().await?;
        let agents: Vec<AgentRecord> = agents.into_iter().flatten().collect();
        *self.listed() = agents.iter().map(|agent| (agent.id.clone(), agent.pool.clone())).collect();
        Ok(agents)
    }
}

/// This leaves an unreadable registration out and logs it, so that lists and the sweeper go on for all other agents. A
/// living agent writes its entry again within a minute.
fn read(pool: &PoolName, item: &Item) -> Option<AgentRecord> {
    let id = item.get(SK).and_then(|id| id.as_s().ok()).map_or("without an id", String::as_str);
    match agent::decode(pool, item).map_err(|damage| damage.of(format_args!("agent {id}"))) {
        Ok(agent) => Some(agent),
        Err(error) => {
            tracing::error!(error.code = error.code, error = %error, "an agent's registration cannot be read; it is left out");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_domain::time::Timestamp;

    use super::*;

    #[test]
    fn unchanged_agent_is_written_once_a_minute() {
        let start = Timestamp::from_millis(1_800_000_000_000);
        let first = AgentRecord {
            id: AgentId::new("a").expect("a name"),
            pool: PoolName::default(),
            slots: 1,
            busy: 0,
            version: "1".to_owned(),
            address: "host/1".to_owned(),
            draining: false,
            started_at: start,
            seen_at: start,
        };
        let later = |millis| AgentRecord { seen_at: start.plus(Millis(millis)), ..first.clone() };
        assert!(is_told(&first, &later(0)));
        assert!(is_told(&first, &later(59_999)));
        assert!(!is_told(&first, &later(60_000)));
        assert!(!is_told(&first, &AgentRecord { busy: 1, ..later(10_000) }));
        assert!(!is_told(&first, &AgentRecord { draining: true, ..later(10_000) }));
        assert!(!is_told(&later(10_000), &first), "a clock that was put back");
    }
}
