//! The promises of the register of agents.

use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::Millis;
use windlass_engine::Ports;
use windlass_engine::ports::{AgentRecord, PortError};

use super::{Case, Timing, Verdict, cases, fresh_name, holds, run, same};

const CASES: &[Case] = cases![
    an_agent_is_as_it_last_said,
    an_agent_that_has_ended_is_forgotten,
    an_agent_that_was_forgotten_may_come_back,
    a_long_register_is_listed_whole,
];

/// Agents whose records together exceed one answer of `DynamoDB`: 1 MiB.
const MANY: usize = 120;

/// The suite of `Agents`.
pub async fn agents(make: impl AsyncFn() -> Ports, timing: Timing) {
    run("agents", CASES, make, timing).await;
}

fn agent(ports: &Ports) -> AgentRecord {
    AgentRecord {
        id: AgentId::new(&fresh_name("agent")).expect("the name has only letters, digits and dashes"),
        pool: PoolName::default(),
        slots: 4,
        busy: 0,
        version: "1.0.0".to_owned(),
        address: "host/1".to_owned(),
        draining: false,
        started_at: ports.clock.now(),
        seen_at: ports.clock.now(),
    }
}

/// The records of these agents: others may share the register.
async fn found(ports: &Ports, agents: &[&AgentRecord]) -> Result<Vec<AgentRecord>, PortError> {
    let ids: Vec<&AgentId> = agents.iter().map(|agent| &agent.id).collect();
    let mut found = ports.agents.list().await?;
    found.retain(|agent| ids.contains(&&agent.id));
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(found)
}

async fn an_agent_is_as_it_last_said(ports: Ports, _: Timing) -> Verdict {
    let (first, other) = (agent(&ports), agent(&ports));
    ports.agents.register(&first).await?;
    ports.agents.register(&other).await?;
    let later = AgentRecord { busy: 3, draining: true, ..first.clone() };
    ports.agents.register(&later).await?;
    let mut expected = vec![later, other.clone()];
    expected.sort_by(|one, other| one.id.cmp(&other.id));
    same("the register", found(&ports, &[&first, &other]).await?, expected)
}

async fn an_agent_that_has_ended_is_forgotten(ports: Ports, _: Timing) -> Verdict {
    let (first, other) = (agent(&ports), agent(&ports));
    ports.agents.register(&first).await?;
    ports.agents.register(&other).await?;
    ports.agents.deregister(&first.id).await?;
    ports.agents.deregister(&first.id).await?;
    same("the register", found(&ports, &[&first, &other]).await?, vec![other])
}

async fn an_agent_that_was_forgotten_may_come_back(ports: Ports, _: Timing) -> Verdict {
    let agent = agent(&ports);
    ports.agents.register(&agent).await?;
    ports.agents.deregister(&agent.id).await?;
    let back = AgentRecord { seen_at: agent.seen_at.plus(Millis::from_secs(120)), ..agent };
    ports.agents.register(&back).await?;
    same("the register", found(&ports, &[&back]).await?, vec![back])
}

async fn a_long_register_is_listed_whole(ports: Ports, _: Timing) -> Verdict {
    let mut ours: Vec<AgentRecord> = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        ours.push(AgentRecord { address: "a".repeat(10_000), ..agent(&ports) });
    }
    for agent in &ours {
        ports.agents.register(agent).await?;
    }
    ours.sort_by(|one, other| one.id.cmp(&other.id));
    let listed = found(&ports, &ours.iter().collect::<Vec<_>>()).await?;
    for agent in &ours {
        ports.agents.deregister(&agent.id).await?;
    }
    same("how many are listed", listed.len(), MANY)?;
    holds("they are as they said", listed == ours)
}
