//! What the register of agents promises.

use windlass_domain::ids::{AgentId, PoolName};
use windlass_engine::Ports;
use windlass_engine::ports::{AgentRecord, PortError};

use super::{Case, Timing, Verdict, cases, fresh_name, run, same};

const CASES: &[Case] = cases![an_agent_is_as_it_last_said, an_agent_that_has_ended_is_forgotten];

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
