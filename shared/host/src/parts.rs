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
use windlass_engine::ports::QueueName;
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::retention::Pruner;
use windlass_engine::scheduler::Scheduler;
use windlass_engine::sweeper::Sweeper;
use windlass_facade::{address, made_id};

use crate::serve::{Door, Limits, serve};

/// Tasks that run until they are stopped.
pub(crate) struct Parts {
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

/// How an agent is to work.
#[derive(Debug, Clone)]
pub(crate) struct AgentPlan {
    pub(crate) pool: PoolName,
    pub(crate) slots: u32,
    /// How long running attempts may take when it ends.
    pub(crate) drain: Millis,
}

impl Parts {
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), shutdown: CancellationToken::new() }
    }

    /// Cancelled when the parts are to end.
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Starts what decides: process manager, sweeper, pruner and scheduler.
    pub(crate) fn start_engine(
        &mut self,
        ports: &Ports,
        definitions: &Arc<Definitions>,
        workers: usize,
        sweep_every: Duration,
        keep: Millis,
    ) {
        let manager = Arc::new(ProcessManager::new(ports.clone(), definitions.clone()));
        // A task each: a run that takes long to decide keeps its worker from other runs, and not them all.
        for queue in (0..workers).flat_map(|_| QueueName::INPUTS) {
            let (manager, stop) = (manager.clone(), self.shutdown.clone());
            self.tasks.spawn(async move { manager.work(&queue, &stop).await });
        }
        let sweeper = Sweeper::new(ports.clone(), sweep_every);
        let stop = self.shutdown.clone();
        self.tasks.spawn(async move { sweeper.run(&stop).await });
        let (pruner, stop) = (Pruner::new(ports.clone()), self.shutdown.clone());
        self.tasks.spawn(async move { pruner.run(keep, &stop).await });
        let scheduler = Scheduler::new(ports.clone(), definitions.clone());
        let stop = self.shutdown.clone();
        self.tasks.spawn(async move { scheduler.run(&stop).await });
    }

    /// Starts an agent.
    pub(crate) fn start_agent(
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
    pub(crate) fn serve(
        &mut self,
        listener: TcpListener,
        door: Door,
        limits: Limits,
        app: Router,
        close_within: Duration,
    ) {
        let stop = self.shutdown.clone();
        self.tasks.spawn(async move {
            let server = serve(listener, door, app, limits, &stop);
            let late = async {
                stop.cancelled().await;
                tokio::time::sleep(close_within).await;
            };
            tokio::select! {
                () = server => {}
                () = late => {}
            }
        });
    }

    /// Starts a part of another kind. It gets what is cancelled when it is to end.
    pub(crate) fn spawn<F>(&mut self, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(part(self.shutdown.clone()));
    }

    /// Returns when one of the parts has ended. Never, if there are none.
    pub(crate) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => tracing::error!(panicked = ended.is_err(), "a part of the host has ended by itself"),
            None => std::future::pending().await,
        }
    }

    /// Ends all parts and waits for them.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The settings of an agent of this process.
pub(crate) fn settings_of(plan: AgentPlan) -> AgentSettings {
    AgentSettings {
        drain_deadline: plan.drain.as_duration(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: address(),
        ..AgentSettings::new(made_id(&plan.pool), plan.pool, plan.slots)
    }
}
