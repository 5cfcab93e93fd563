//! Forgets agents that ended without a word, and removes their control queues.
//!
//! This is housekeeping: the work of a dead agent comes back by its messages' visibility, long before. An agent that
//! was only held up (SIGSTOP, a suspended machine) registers again within a minute. Its next receive makes its control
//! queue again. It loses the control messages sent in between, as a dead agent does, and the record refuses its
//! reports.

use std::time::Duration;

use windlass_domain::time::Timestamp;

use super::Sweeper;
use crate::ports::{AgentRecord, PortError, QueueName};

/// The sweeper forgets an agent that has not renewed its entry for this long. An agent renews its entry at least once a
/// minute, so it has failed twice by then. The rest is for clocks that differ.
const FORGET_AFTER: Duration = Duration::from_mins(3);

impl Sweeper {
    /// Forgets the agents that were last seen three minutes before `now`, and removes their control queues.
    pub async fn reap(&self, now: Timestamp) -> Result<(), PortError> {
        let agents = self.ports.agents.list().await?;
        for agent in agents.iter().filter(|agent| is_gone(agent, now)) {
            let silent_ms = now.since(agent.seen_at).0;
            tracing::info!(agent.id = %agent.id, agent.address = %agent.address, silent_ms, "an agent is gone; it is forgotten");
            // The queue first: a crash in between leaves the agent in the register, and the next round finds it again.
            let queue = QueueName::Control { pool: agent.pool.clone(), agent: agent.id.clone() };
            self.ports.queues.remove(&queue).await?;
            self.ports.agents.deregister(&agent.id).await?;
        }
        Ok(())
    }
}

fn is_gone(agent: &AgentRecord, now: Timestamp) -> bool {
    now.since(agent.seen_at).as_duration() >= FORGET_AFTER
}
