//! Measures the embedded host with workloads of native actions that do nothing, on a durable data folder.
//!
//! Everything is as in `windlass serve` but the API: the same store, the same loops, every commit synced.

mod measure;
mod report;
mod workload;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use windlass_domain::definition::Definition;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::Millis;
use windlass_embedded::{Role, Store};
use windlass_engine::Ports;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::definitions::Definitions;
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::retention::Pruner;
use windlass_engine::sweeper::Sweeper;
use windlass_facade::{FacadeSettings, Facades, Handlers};

pub(crate) use report::Report;
pub(crate) use workload::Workload;

/// How many inputs the host decides at once.
const PROCESS_MANAGERS: usize = 4;
/// How many attempts the agents perform at once.
const SLOTS: u32 = 2048;
/// Receives that wait at once.
const RECEIVERS: usize = 2;

/// What is measured.
pub(crate) struct Load {
    pub(crate) workload: Workload,
    pub(crate) runs: usize,
    /// Runs in flight at once.
    pub(crate) in_flight: usize,
    /// How long the host keeps runs after their end.
    pub(crate) keep: Millis,
    /// How long the host goes on without work, once the runs have ended.
    pub(crate) rest: Millis,
}

/// Runs a workload on a host of its own in `folder`, and measures it.
pub(crate) async fn run(load: &Load, folder: &Path) -> anyhow::Result<Report> {
    let Load { workload, runs, in_flight, .. } = *load;
    let store = Store::open(folder, Role::Host)?;
    let ports = store.ports();
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let shutdown = CancellationToken::new();
    let loops = start(&ports, &definitions, load.keep, &shutdown)?;
    let source = workload.definition();
    let definition = Definition::from_source(&source)?;
    ports.tasks.put(&definition.task, &source, None, ports.clock.now()).await?;

    // The first runs pay for caches and for the file's first pages; users' hosts are warm.
    measure::submit(&ports, &definition, workload.warm_up(), in_flight).await?;
    let before = store.written();
    let began = Instant::now();
    let latencies = measure::submit(&ports, &definition, runs, in_flight).await?;
    let took = began.elapsed();
    let written = store.written();
    tokio::time::sleep(load.rest.as_duration()).await;
    shutdown.cancel();
    for part in loops {
        part.await?;
    }
    Ok(Report::new((workload, in_flight), (runs, definition.actions.len()), took, latencies, (before, written)))
}

fn start(
    ports: &Ports,
    definitions: &Arc<Definitions>,
    keep: Millis,
    shutdown: &CancellationToken,
) -> anyhow::Result<Vec<tokio::task::JoinHandle<()>>> {
    let handlers = Handlers::new().with("nothing", |_, _| async { Ok(Value::Null) });
    let settings = FacadeSettings { handlers, ..FacadeSettings::new(ports.clock.clone()) };
    let performer = Arc::new(Facades::new(settings)?);
    let agent = AgentSettings {
        receivers: RECEIVERS,
        ..AgentSettings::new(AgentId::new("bench")?, PoolName::default(), SLOTS)
    };
    let agent = Agent::new(ports.clone(), definitions.clone(), performer, agent);
    let manager = ProcessManager::new(ports.clone(), definitions.clone());
    let sweeper = Sweeper::new(ports.clone(), Duration::from_millis(500));
    let pruner = Pruner::new(ports.clone());
    let (one, two, three, four) = (shutdown.clone(), shutdown.clone(), shutdown.clone(), shutdown.clone());
    Ok(vec![
        tokio::spawn(async move { agent.run(&one).await }),
        tokio::spawn(async move { manager.run(PROCESS_MANAGERS, &two).await }),
        tokio::spawn(async move { sweeper.run(&three).await }),
        tokio::spawn(async move { pruner.run(keep, &four).await }),
    ])
}
