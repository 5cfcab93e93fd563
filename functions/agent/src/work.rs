//! The agent's work, from its first receive until it holds no attempt.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_aws::AwsHost;
use windlass_aws::meter::Meter;
use windlass_aws::telemetry::Figures;
use windlass_engine::Ports;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::definitions::Definitions;
use windlass_engine::perform::Performer;
use windlass_facade::{
    ExecSettings, FacadeError, FacadeSettings, Facades, HttpSettings, address, guard_command, made_id,
    prepare_for_programs,
};

use crate::health;
use crate::protection::Protection;
use crate::settings::AgentProgram;

/// How often figures and the meter's line are written.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// The exit code of a program that SIGINT has ended, as shells report it.
const INTERRUPTED: i32 = 130;

/// Why the agent does not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// No threads, timers or signals.
    #[error("get threads, timers or signals from the system: {0}")]
    Runtime(#[source] std::io::Error),
    /// The agent cannot listen on the address of its health.
    #[error("listen on WINDLASS_HEALTH_ADDR {0}: {1}")]
    Health(std::net::SocketAddr, #[source] std::io::Error),
    /// The agent cannot run programs or make HTTP calls.
    #[error(transparent)]
    Facade(#[from] FacadeError),
}

impl StartError {
    /// The stable code, with a page in `docs/errors`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Runtime(_) | Self::Health(..) => "WL0802",
            Self::Facade(error) => error.code(),
        }
    }
}

/// Works until SIGTERM, SIGINT or a drain message, then drains. One more signal ends the process at once. Other agents
/// go on with its attempts after the visibility timeout.
pub(crate) async fn run(program: AgentProgram, figures: &Figures) -> Result<(), StartError> {
    prepare_for_programs(program.credentials);
    let shutdown = end_signals().map_err(StartError::Runtime)?;
    let listener =
        TcpListener::bind(program.health).await.map_err(|error| StartError::Health(program.health, error))?;
    let host = AwsHost::connect(program.aws.clone()).await;
    let agent = agent(&program, host.ports())?;
    let (beside, ended) = (TaskTracker::new(), CancellationToken::new());
    beside.spawn(health::serve(listener, agent.clone(), ended.clone()));
    beside.spawn(tell(agent.clone(), figures.clone(), host.meter().clone(), program.aws.name.clone(), ended.clone()));
    if let Some(protection) = program.ecs_agent.as_deref().and_then(Protection::new) {
        beside.spawn(protection.keep(agent.clone(), ended.clone()));
    }
    tracing::info!(pool = %program.pool, slots = program.slots, version = program.version, "the agent takes work");
    agent.run(&shutdown).await;
    ended.cancel();
    beside.close();
    beside.wait().await;
    tracing::info!("the agent has ended: nothing is left with it");
    Ok(())
}

fn agent(program: &AgentProgram, (ports, definitions): (Ports, Arc<Definitions>)) -> Result<Agent, FacadeError> {
    let exec = ExecSettings::passing(program.credentials).allowing(program.env_allow.as_deref());
    let exec = ExecSettings { guard: guard_command(), ..exec };
    let http = HttpSettings { targets: program.targets.clone(), ..HttpSettings::default() };
    let facade = FacadeSettings { exec, http, ..FacadeSettings::new(ports.clock.clone()) };
    let performer: Arc<dyn Performer> = Arc::new(Facades::new(facade)?);
    let settings = AgentSettings {
        drain_deadline: program.drain,
        version: program.version.clone(),
        address: format!("{}/{}", program.aws.region, address()),
        ..AgentSettings::new(made_id(&program.pool), program.pool.clone(), program.slots)
    };
    Ok(Agent::new(ports, definitions, performer, settings))
}

/// A token that is cancelled at the first signal that asks the process to end.
fn end_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let ending = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("asked to end: what runs is finished or handed back");
        ending.cancel();
        next().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(token)
}

/// Writes figures and the meter's line, once more at the end.
async fn tell(agent: Agent, figures: Figures, meter: Meter, stack: String, ended: CancellationToken) {
    loop {
        let is_over = tokio::select! {
            biased;
            () = ended.cancelled() => true,
            () = tokio::time::sleep(TELL_EVERY) => false,
        };
        let health = agent.health();
        figures.add("Busy", f64::from(u32::try_from(health.busy).unwrap_or(u32::MAX)));
        figures.add("Slots", f64::from(health.slots));
        figures.write(&stack);
        meter.report();
        if is_over {
            return;
        }
    }
}
