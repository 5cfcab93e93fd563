//! The parts of a host, as tasks that end together.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_domain::ids::PoolName;
use windlass_domain::time::Millis;
use windlass_engine::Ports;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::definitions::Definitions;
use windlass_engine::perform::Performer;
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::scheduler::Scheduler;
use windlass_engine::sweeper::Sweeper;
use windlass_facade::{Credentials, ExecSettings, FacadeSettings, Facades, address, guard_command, made_id};

use crate::failure::{Exit, Failure};

/// Tasks that run until they are stopped.
pub(super) struct Parts {
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

/// How an agent is to work.
#[derive(Debug, Clone)]
pub(crate) struct AgentPlan {
    pub(crate) pool: PoolName,
    pub(crate) slots: u32,
    /// How long what is running may take when it ends.
    pub(crate) drain: Millis,
    /// Whether its programs get the credentials of this process.
    pub(crate) credentials: Credentials,
}

impl Parts {
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), shutdown: CancellationToken::new() }
    }

    /// Cancelled when the parts are to end.
    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Starts what decides: process manager, sweeper and scheduler.
    pub(super) fn start_engine(
        &mut self,
        ports: &Ports,
        definitions: &Arc<Definitions>,
        workers: usize,
        sweep_every: Duration,
    ) {
        let manager = Arc::new(ProcessManager::new(ports.clone(), definitions.clone()));
        // A task each: a run that takes long to decide keeps its worker from other runs, and not them all.
        for _ in 0..workers {
            let (manager, stop) = (manager.clone(), self.shutdown.clone());
            self.tasks.spawn(async move { manager.run(1, &stop).await });
        }
        let sweeper = Sweeper::new(ports.clone(), sweep_every);
        let stop = self.shutdown.clone();
        self.tasks.spawn(async move { sweeper.run(&stop).await });
        let scheduler = Scheduler::new(ports.clone(), definitions.clone());
        let stop = self.shutdown.clone();
        self.tasks.spawn(async move { scheduler.run(&stop).await });
    }

    /// Starts an agent.
    pub(super) fn start_agent(
        &mut self,
        ports: &Ports,
        definitions: &Arc<Definitions>,
        performer: &Arc<dyn Performer>,
        plan: AgentPlan,
    ) {
        let agent = Agent::new(ports.clone(), definitions.clone(), performer.clone(), settings_of(plan));
        let stop = self.shutdown.clone();
        self.tasks.spawn(async move {
            agent.run(&stop).await;
            if !stop.is_cancelled() {
                tracing::info!("an agent of this process was drained; the host goes on without it");
                stop.cancelled().await;
            }
        });
    }

    /// Starts serving HTTP. When it is stopped, connections that are still open have `close_within` to end.
    pub(super) fn serve(&mut self, listener: TcpListener, app: Router, close_within: Duration) {
        let stop = self.shutdown.clone();
        self.tasks.spawn(async move {
            let stopping = stop.clone();
            let server = axum::serve(listener, app).with_graceful_shutdown(stopping.cancelled_owned());
            let late = async {
                stop.cancelled().await;
                tokio::time::sleep(close_within).await;
            };
            tokio::select! {
                ended = server => if let Err(error) = ended {
                    tracing::error!(%error, "the API has ended");
                },
                () = late => {}
            }
        });
    }

    /// Returns when one of the parts has ended. Never, if there are none.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => tracing::error!(panicked = ended.is_err(), "a part of the host has ended by itself"),
            None => std::future::pending().await,
        }
    }

    /// Ends all parts and waits for them.
    pub(super) async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Runs one agent until `stop` is cancelled, or it was told to drain.
pub(crate) async fn run_agent(ports: &Ports, plan: AgentPlan, stop: &CancellationToken) -> Result<(), Failure> {
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let performer = performer(ports, plan.credentials)?;
    Agent::new(ports.clone(), definitions, performer, settings_of(plan)).run(stop).await;
    Ok(())
}

/// What performs attempts: programs with a guard beside them, HTTP calls.
pub(super) fn performer(ports: &Ports, credentials: Credentials) -> Result<Arc<dyn Performer>, Failure> {
    let exec = ExecSettings { guard: guard_command(), ..ExecSettings::passing(credentials) };
    let settings = FacadeSettings { exec, ..FacadeSettings::new(ports.clock.clone()) };
    let facades = Facades::new(settings)
        .map_err(|error| Failure::new(error.code(), Exit::Usage, format!("failed to start an agent: {error}")))?;
    Ok(Arc::new(facades))
}

fn settings_of(plan: AgentPlan) -> AgentSettings {
    AgentSettings {
        drain_deadline: plan.drain.as_duration(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: address(),
        ..AgentSettings::new(made_id(&plan.pool), plan.pool, plan.slots)
    }
}
