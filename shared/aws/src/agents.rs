//! The register of agents in the table.
//!
//! An agent says that it is there every ten seconds. That is written when anything but the time has changed, and once
//! a minute: an idle agent costs one write unit a minute instead of six.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use windlass_domain::ids::AgentId;
use windlass_domain::time::Millis;
use windlass_engine::ports::{AgentRecord, Agents, PortError, REGISTER_EVERY};

use crate::Clients;
use crate::settings::Settings;
use crate::table::requests::{Expression, Query, Table};
use crate::table::{Item, PK, SK, agent, text};

/// A registration that changes nothing but its time is written when the one before is this old.
const WRITE_AFTER: Millis = Millis::from_secs(60);
/// Agents of one list.
const MAX_AGENTS: usize = 10_000;

/// The register of agents in `DynamoDB`.
pub struct AgentTable {
    table: Table,
    /// What this program wrote last: of its own agent, in an agent's process.
    written: Mutex<HashMap<AgentId, AgentRecord>>,
}

impl AgentTable {
    /// The register of a stack.
    pub fn new(clients: &Clients, settings: &Settings) -> Self {
        Self { table: Table::new(clients.dynamodb.clone(), &settings.table), written: Mutex::default() }
    }

    fn written(&self) -> MutexGuard<'_, HashMap<AgentId, AgentRecord>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the register would tell what an agent says, but for a time that is less than a minute old.
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
        self.written().remove(id);
        self.table.remove(agent::agent_key(id)).await
    }

    async fn list(&self) -> Result<Vec<AgentRecord>, PortError> {
        let query = Query {
            index: None,
            key: "#pk = :pk",
            expression: Expression::names(&[PK]).value(PK, text(agent::PARTITION)),
            ascending: true,
            limit: None,
            after: None,
        };
        let items = self.table.query_all(query, MAX_AGENTS).await?;
        Ok(items.iter().filter_map(read).collect())
    }
}

/// One that can not be read is told in the log and left out: lists and the sweeper go on for all other agents, and the
/// agent itself, if it lives, writes its registration anew within a minute.
fn read(item: &Item) -> Option<AgentRecord> {
    let id = item.get(SK).and_then(|id| id.as_s().ok()).map_or("without an id", String::as_str);
    match agent::decode(item).map_err(|damage| damage.of(format_args!("agent {id}"))) {
        Ok(agent) => Some(agent),
        Err(error) => {
            tracing::error!(error.code = error.code, error = %error, "an agent's registration can not be read; it is left out");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_domain::ids::PoolName;
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
