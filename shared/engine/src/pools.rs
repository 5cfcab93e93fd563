//! Which pools have an agent, by the register of agents.
//!
//! The register only informs people: messages keep work alive, also that of an unregistered agent. The engine reads the
//! register rarely, and an unreadable register is no reason to report anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::ports::{AgentRecord, Agents, Clock};

/// How old the register may be if it says that a pool is served.
const KNOWN_FOR: Millis = Millis::from_secs(10);
/// How old it may be if it says that one is not.
const SURE_FOR: Millis = Millis::from_secs(2);
/// How long an attempt lies in a pool without an agent before the run reports it. A replaced agent comes back sooner.
/// The run promises to report within a minute, and the rest of that minute is for the messages.
pub(crate) const TELL_AFTER: Millis = Millis::from_secs(45);
/// How long the engine remembers when the agents of a pool last renewed their entries.
const REMEMBERED_FOR: Millis = Millis::from_secs(3600);
/// The longest wait for the register.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// By how much an agent may be late to renew its entry, differences of clocks included.
const LATE: Duration = Duration::from_secs(20);

/// The register of agents as it was read a moment ago.
pub struct Pools {
    agents: Arc<dyn Agents>,
    clock: Arc<dyn Clock>,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    asked_at: Option<Timestamp>,
    /// The agents that the last successful read found.
    known: Option<Vec<AgentRecord>>,
    /// When an agent of each pool last renewed its entry, gone agents included.
    heard: BTreeMap<PoolName, Timestamp>,
}

impl Pools {
    /// The pools of a host.
    pub fn new(ports: &Ports) -> Self {
        Self { agents: ports.agents.clone(), clock: ports.clock.clone(), read: Mutex::default() }
    }

    /// Since when no living agent serves the pool, as far as is known; `None`: one does, or the register could not be
    /// read.
    ///
    /// A process reads the register every ten seconds at most, and every two as long as a pool is without an agent.
    pub(crate) async fn unserved_since(&self, pool: &PoolName) -> Option<Timestamp> {
        let now = self.clock.now();
        let mut read = self.read.lock().await;
        self.refresh(&mut read, now, KNOWN_FOR).await;
        self.judge(&read, pool, now)?;
        self.refresh(&mut read, now, SURE_FOR).await;
        self.judge(&read, pool, now)
    }

    fn judge(&self, read: &Read, pool: &PoolName, now: Timestamp) -> Option<Timestamp> {
        let silent_after = silent_after(self.agents.as_ref());
        let of_pool = || read.known.iter().flatten().filter(|agent| agent.pool == *pool);
        if read.known.is_none() || of_pool().any(|agent| is_serving(agent, now, silent_after)) {
            return None;
        }
        // A pool that never had an agent has no time here: its attempts have waited without one since they were queued.
        let heard = read.heard.get(pool).copied().unwrap_or(Timestamp::from_millis(0));
        Some(heard.min(now))
    }

    /// Reads the register again, unless the last read is younger than that.
    async fn refresh(&self, read: &mut Read, now: Timestamp, known_for: Millis) {
        let is_fresh = |asked_at: Timestamp| asked_at <= now && now.since(asked_at) < known_for;
        if !read.asked_at.is_some_and(is_fresh) {
            read.asked_at = Some(now);
            read.known = self.look().await;
            read.heard.retain(|_, heard| now.since(*heard) < REMEMBERED_FOR);
            for agent in read.known.iter().flatten() {
                let heard = read.heard.entry(agent.pool.clone()).or_insert(agent.seen_at);
                *heard = agent.seen_at.max(*heard);
            }
        }
    }

    async fn look(&self) -> Option<Vec<AgentRecord>> {
        match tokio::time::timeout(READ_WITHIN, self.agents.list()).await {
            Ok(Ok(agents)) => Some(agents),
            Ok(Err(error)) => {
                tracing::warn!(error.code = error.code, error = %error, "failed to read which pools have an agent");
                None
            }
            Err(_) => {
                tracing::warn!("reading which pools have an agent takes too long; it is left out");
                None
            }
        }
    }
}

/// The agents that have registered and are silent, and when each last renewed its entry. Empty if the register cannot
/// be read soon: it only informs people.
pub async fn silent_agents(ports: &Ports) -> BTreeMap<AgentId, Timestamp> {
    let agents = Pools::new(ports).look().await.unwrap_or_default();
    let silent = agents.into_iter().filter(|agent| is_silent(ports, agent));
    silent.map(|agent| (agent.id, agent.seen_at)).collect()
}

/// Whether an agent has not renewed its entry for so long that it was killed, or is cut off.
pub fn is_silent(ports: &Ports, agent: &AgentRecord) -> bool {
    ports.clock.now().since(agent.seen_at).as_duration() >= silent_after(ports.agents.as_ref())
}

/// An agent whose entry is older than this does not count as serving its pool.
pub(crate) fn silent_after(agents: &dyn Agents) -> Duration {
    agents.heard_every() + LATE
}

/// Whether the agent takes attempts, as far as the register knows.
fn is_serving(agent: &AgentRecord, now: Timestamp, silent_after: Duration) -> bool {
    !agent.draining && now.since(agent.seen_at).as_duration() < silent_after
}

/// When each pool was last seen with an agent that takes attempts: to notice that one has lost its last.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pools: BTreeMap<PoolName, Seen>,
}

#[derive(Debug)]
struct Seen {
    at: Timestamp,
    /// `look` has reported the loss.
    told: bool,
}

impl Served {
    /// Takes note of the register; says whether a pool has lost its last agent since the last look. It reports each
    /// loss once.
    pub(crate) fn look(&mut self, agents: &[AgentRecord], now: Timestamp, silent_after: Duration) -> bool {
        for agent in agents {
            // A draining agent took attempts once, and takes no more.
            let at = if agent.draining { agent.started_at } else { agent.seen_at };
            let seen = self.pools.entry(agent.pool.clone()).or_insert(Seen { at, told: false });
            seen.at = seen.at.max(at);
        }
        let mut lost = false;
        for seen in self.pools.values_mut() {
            let is_silent = now.since(seen.at).as_duration() >= silent_after;
            lost |= is_silent && !seen.told;
            seen.told = is_silent;
        }
        self.pools.retain(|pool, seen| !seen.told || agents.iter().any(|agent| agent.pool == *pool));
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_domain::ids::AgentId;

    const SILENT_AFTER: Duration = Duration::from_secs(30);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).plus(Millis::from_secs(secs))
    }

    fn agent(name: &str, pool: &str, seen_at: u64) -> AgentRecord {
        AgentRecord {
            id: AgentId::new(name).expect("a name"),
            pool: PoolName::new(pool).expect("a name"),
            slots: 1,
            busy: 0,
            version: "1".to_owned(),
            address: "host/1".to_owned(),
            draining: false,
            started_at: at(0),
            seen_at: at(seen_at),
        }
    }

    #[test]
    fn pool_is_lost_once_with_last_agent() {
        let mut served = Served::default();
        let mut look = |agents: &[AgentRecord], secs| served.look(agents, at(secs), SILENT_AFTER);
        assert!(!look(&[], 0), "there never was an agent");
        assert!(!look(&[agent("a", "p", 1), agent("b", "p", 2), agent("c", "q", 2)], 2));
        assert!(!look(&[agent("b", "p", 12), agent("c", "q", 12)], 12), "another serves it");
        assert!(!look(&[agent("c", "q", 30)], 30), "it left a moment ago");
        assert!(look(&[agent("c", "q", 40)], 42), "nobody was seen for 30 s");
        assert!(!look(&[agent("c", "q", 50)], 52), "it was told");
        let silent = [agent("c", "q", 50)];
        assert!(look(&silent, 80), "it is silent, and still there");
        assert!(!look(&silent, 90), "that was told");
        assert!(!look(&[agent("c", "q", 95)], 95), "it is back");
        assert!(look(&[agent("c", "q", 95)], 125), "and gone again");
    }

    #[test]
    fn an_agent_that_drains_serves_nobody() {
        let draining = AgentRecord { draining: true, ..agent("a", "p", 10) };
        let mut served = Served::default();
        assert!(!served.look(&[agent("a", "p", 0)], at(0), SILENT_AFTER));
        assert!(!served.look(std::slice::from_ref(&draining), at(10), SILENT_AFTER));
        assert!(served.look(std::slice::from_ref(&draining), at(30), SILENT_AFTER));
        assert!(!served.look(&[draining], at(40), SILENT_AFTER));
    }
}
