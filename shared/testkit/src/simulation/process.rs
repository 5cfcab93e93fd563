//! The processes of a world: started, killed at any await, started again; and the clients that ask for runs.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_domain::caller::{Caller, Way};
use windlass_domain::ids::{ActionName, AgentId, PoolName, RunId, TaskName};
use windlass_domain::limits::MAX_DELIVERIES;
use windlass_domain::run::RunStatus;
use windlass_engine::Ports;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::control::{Control, ControlError, ControlRequest};
use windlass_engine::definitions::Definitions;
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::scheduler::Scheduler;
use windlass_engine::submit::{StartError, StartRequest, Starter};
use windlass_engine::sweeper::Sweeper;

use super::bug::Bug;
use super::catalogue::{SW9, SW15};
use super::chance::Chance;
use super::life::Life;
use super::plan::{Asked, Kind, PlannedRun};
use super::saboteur::sabotage;
use super::script::Scripted;
use super::undertaker;
use super::wire::Wire;
use super::world::Simulation;
use crate::sketch::name_of;

/// How long a process is gone before it is started again.
const GONE_FOR: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_mins(1);
/// How long a client waits before it asks again.
const ASKS_AGAIN_AFTER: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(30);
/// How soon a caller hangs up that does.
const HANGS_UP_WITHIN: std::ops::Range<Duration> = Duration::ZERO..Duration::from_millis(200);
/// How often a client asks for something other than a run.
const MAX_ASKS: usize = 20;

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Manager,
    Agent,
    Sweeper,
    Scheduler,
    Undertaker,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Agent => "agent",
            Self::Sweeper => "sweeper",
            Self::Scheduler => "scheduler",
            Self::Undertaker => "undertaker",
        }
    }
}

/// A process, as the forces outside see it that act on it.
#[derive(Clone)]
struct Running {
    life: Arc<Life>,
    shutdown: CancellationToken,
}

/// The place of a process, with its newest life.
type Place = Arc<std::sync::Mutex<Option<Running>>>;

/// Starts every process, and what befalls them. They end when this is dropped.
pub(super) fn start_all(simulation: &Arc<Simulation>) -> JoinSet<()> {
    let fleet = &simulation.plan.fleet;
    let mut parts = match simulation.plan.bug {
        Some(Bug::SweepOff) => Vec::new(),
        _ => vec![(Part::Sweeper, 0)],
    };
    if simulation.plan.kind == Kind::Scheduled {
        parts.push((Part::Scheduler, 0));
    }
    if simulation.plan.limits.pools.receives.is_some_and(|most| most < MAX_DELIVERIES) {
        parts.push((Part::Undertaker, 0));
    }
    parts.extend((0..fleet.managers).map(|number| (Part::Manager, number)));
    parts.extend((0..fleet.agents).map(|number| (Part::Agent, number)));
    let mut processes = JoinSet::new();
    let mut places = Vec::new();
    for (part, number) in parts {
        let place = Place::default();
        places.push((part, place.clone()));
        processes.spawn(keep_running(simulation.clone(), part, number, place));
    }
    if !simulation.plan.faults.blows.is_zero() {
        processes.spawn(strike(simulation.clone(), places.clone()));
    }
    if simulation.wall.is_set {
        processes.spawn(set_wall(simulation.clone()));
    }
    if let Some((begins, _)) = simulation.plan.faults.blackout {
        processes.spawn(turn_off(simulation.clone(), begins, places));
    }
    processes
}

/// One process after another in that place.
async fn keep_running(simulation: Arc<Simulation>, part: Part, number: u64, place: Place) {
    let chance = Chance::of(simulation.plan.seed, &format!("{}{number}", part.name()));
    for life in 1_u32.. {
        let skew = skew(&simulation, &chance);
        let life = Arc::new(Life::new(format!("{}{number}.{life}", part.name()), skew));
        let shutdown = CancellationToken::new();
        *place.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(Running { life: life.clone(), shutdown: shutdown.clone() });
        simulation.note(&life.name, format_args!("starts, its clock is off by {skew} ms"));
        let main = tokio::spawn(main_of(&simulation, part, &life, shutdown));
        end_of(&simulation, &life, main).await;
        tokio::time::sleep(chance.span(GONE_FOR)).await;
        tokio::time::sleep_until(lights(&simulation)).await;
    }
}

fn skew(simulation: &Simulation, chance: &Chance) -> i64 {
    let most = u64::try_from(simulation.plan.faults.skew.as_millis()).unwrap_or(0);
    i64::try_from(chance.between(0..2 * most + 1)).unwrap_or(0) - i64::try_from(most).unwrap_or(0)
}

/// When the blackout is over, if it is now.
fn lights(simulation: &Simulation) -> Instant {
    let Some((begins, lasts)) = simulation.plan.faults.blackout else { return Instant::now() };
    let begins = simulation.began() + begins;
    if Instant::now() >= begins { begins + lasts } else { Instant::now() }
}

/// Waits until the process has ended by itself or was killed; nothing of it does anything after that.
async fn end_of(simulation: &Simulation, life: &Life, main: JoinHandle<()>) {
    let abort = main.abort_handle();
    tokio::select! {
        biased;
        () = life.death() => abort.abort(),
        ended = main => {
            life.kill();
            match ended {
                Ok(()) => simulation.note(&life.name, format_args!("has ended")),
                Err(error) => simulation.witness().breaks(SW15, format!("{}: {error}", life.name)),
            }
        }
    }
}

fn main_of(
    simulation: &Arc<Simulation>,
    part: Part,
    life: &Arc<Life>,
    shutdown: CancellationToken,
) -> BoxFuture<'static, ()> {
    let ports = sabotage(Wire::ports(simulation, life), simulation.plan.bug);
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let fleet = simulation.plan.fleet.clone();
    match part {
        Part::Manager => Box::pin(async move {
            ProcessManager::new(ports, definitions).run(fleet.workers, &shutdown).await;
        }),
        Part::Sweeper => Box::pin(async move { Sweeper::new(ports, fleet.sweep_every).run(&shutdown).await }),
        Part::Scheduler => Box::pin(async move { Scheduler::new(ports, definitions).run(&shutdown).await }),
        Part::Undertaker => {
            let given_up = Wire::given_up(simulation, life);
            Box::pin(async move { undertaker::run(ports, given_up, definitions, &shutdown).await })
        }
        Part::Agent => {
            let performer = Arc::new(Scripted { simulation: simulation.clone(), life: life.clone() });
            let id = life.name.replace('.', "-");
            Box::pin(async move {
                let id = AgentId::new(&id).unwrap_or_else(|error| unreachable!("`{id}` is a name: {error}"));
                let settings = AgentSettings {
                    receivers: fleet.receivers,
                    visibility: fleet.visibility,
                    lease_after: fleet.lease_after,
                    drain_deadline: Duration::from_secs(20),
                    ..AgentSettings::new(id, PoolName::default(), fleet.slots)
                };
                Agent::new(ports, definitions, performer, settings).run(&shutdown).await;
            })
        }
    }
}

/// How far the wall clock is off at most.
const MOST_OFF: Duration = Duration::from_hours(3);

/// Sets the wall clock now and then, as long as there are faults.
async fn set_wall(simulation: Arc<Simulation>) {
    let chance = Chance::of(simulation.plan.seed, "steps of the wall clock");
    let most = MOST_OFF.as_secs();
    loop {
        tokio::time::sleep(chance.span(Duration::from_millis(500)..Duration::from_mins(5))).await;
        if Instant::now() >= simulation.weather.well_at() {
            return;
        }
        let ahead = i64::try_from(chance.between(0..2 * most)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
        simulation.note("world", format_args!("sets the wall clock {ahead} s ahead"));
        simulation.meets("the wall clock is set");
        simulation.wall.set(ahead * 1000);
    }
}

/// Kills, holds up, cuts off and drains processes, as long as there are faults.
async fn strike(simulation: Arc<Simulation>, places: Vec<(Part, Place)>) {
    let chance = Chance::of(simulation.plan.seed, "blows");
    let mean = simulation.plan.faults.blows;
    loop {
        tokio::time::sleep(chance.span(mean / 8..mean * 4)).await;
        if Instant::now() >= simulation.weather.well_at() {
            return;
        }
        let (part, place) = chance.pick(&places);
        let running = place.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(Running { life, shutdown }) = running else { continue };
        // No fault outlasts the faults.
        let left = simulation.weather.well_at() - Instant::now();
        let span = chance.span(Duration::from_secs(1)..Duration::from_mins(2)).min(left);
        match chance.between(0..10) {
            0..4 => {
                simulation.meets("a process is killed");
                simulation.note(&life.name, format_args!("IS KILLED"));
                life.kill();
            }
            4..6 => {
                simulation.meets("a process is held up");
                simulation.note(&life.name, format_args!("IS HELD UP for {span:?}"));
                life.hold_up(span);
            }
            6..8 => {
                simulation.meets("a process is cut off");
                simulation.note(&life.name, format_args!("IS CUT OFF for {span:?}"));
                life.cut_off(span);
            }
            _ => {
                simulation.meets("a process is told to end");
                simulation.note(&life.name, format_args!("is told to end, as {}", part.name()));
                shutdown.cancel();
            }
        }
    }
}

async fn turn_off(simulation: Arc<Simulation>, begins: Duration, places: Vec<(Part, Place)>) {
    tokio::time::sleep(begins).await;
    simulation.meets("everything is off");
    simulation.note("world", format_args!("EVERYTHING IS OFF"));
    for (_, place) in &places {
        if let Some(Running { life, .. }) = &*place.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            life.kill();
        }
    }
}

/// The clients: each asks for its run until it has an answer, and for something else later.
pub(super) fn clients(simulation: &Arc<Simulation>) -> Vec<BoxFuture<'static, ()>> {
    let of = |run: &PlannedRun| -> BoxFuture<'static, ()> { Box::pin(client(simulation.clone(), run.clone())) };
    simulation.plan.runs.iter().map(of).collect()
}

async fn client(simulation: Arc<Simulation>, planned: PlannedRun) {
    let chance = Chance::of(simulation.plan.seed, &planned.key);
    tokio::time::sleep(planned.at).await;
    // A client that gives up may leave a run that no client knows.
    let gives_up = planned.gives_up || simulation.plan.kind == Kind::Timed && chance.hits(100_000);
    let patience = if gives_up { 1 } else { usize::MAX };
    let mut run = None;
    for _ in 0..patience {
        run = ask_for_run(&simulation, &planned, &chance).await;
        if run.is_some() {
            break;
        }
        tokio::time::sleep(chance.span(ASKS_AGAIN_AFTER)).await;
    }
    let Some(run) = run else { return };
    let accepted = Instant::now();
    for (after, asked) in &planned.requests {
        tokio::time::sleep_until(accepted + *after).await;
        ask(&simulation, &chance, run, *asked).await;
    }
}

/// Asks once; gives the run if there is an answer.
async fn ask_for_run(simulation: &Arc<Simulation>, planned: &PlannedRun, chance: &Chance) -> Option<RunId> {
    tokio::time::sleep_until(lights(simulation)).await;
    let task = &simulation.plan.tasks[planned.task];
    let request = StartRequest {
        task: TaskName::new(&task.name).unwrap_or_else(|error| unreachable!("it is a name: {error}")),
        version: None,
        input: task.input.clone(),
        key: Some(format!("{}-{}", simulation.plan.seed, planned.key)),
        caller: Caller::by(Way::Api),
    };
    let answer = by_coordinator(simulation, &planned.key, chance, async move |ports, definitions| {
        Starter::new(ports, definitions).start(request).await
    });
    match answer.await? {
        Ok(started) => {
            simulation.note(&planned.key, format_args!("is run {}", started.run.id));
            simulation.witness().accepted.insert(started.run.id);
            Some(started.run.id)
        }
        Err(StartError::Port(_)) => None,
        Err(refused) => {
            simulation.witness().breaks(SW9, format!("{} is refused: {refused}", planned.key));
            None
        }
    }
}

/// Asks for something until it has an answer, yes or no.
async fn ask(simulation: &Arc<Simulation>, chance: &Chance, run: RunId, asked: Asked) {
    for _ in 0..MAX_ASKS {
        let request = match asked {
            Asked::Cancel => ControlRequest::Cancel { reason: "enough".to_owned() },
            Asked::Kill(action) => {
                let action = ActionName::new(&name_of(action));
                let action = action.unwrap_or_else(|error| unreachable!("it is a name: {error}"));
                ControlRequest::Kill { action, reason: "enough of it".to_owned() }
            }
            Asked::Pause => ControlRequest::Pause { reason: String::new() },
            Asked::Resume => ControlRequest::Resume { reason: String::new() },
            Asked::Retry => ControlRequest::Retry { reason: String::new() },
        };
        let name = format!("ask-{}", request.name());
        let answer = by_coordinator(simulation, &name, chance, async move |ports, definitions| {
            Control::new(ports, definitions).request(run, request, Caller::by(Way::Api)).await
        });
        match answer.await {
            Some(
                Ok(_)
                | Err(ControlError::Refused { .. } | ControlError::Settled { .. } | ControlError::UnknownAction { .. }),
            ) => return,
            Some(Err(ControlError::Port(_))) | None => {}
            Some(Err(error)) => simulation.witness().breaks(SW9, format!("run {run}: {error}")),
        }
        tokio::time::sleep(chance.span(ASKS_AGAIN_AFTER)).await;
    }
}

/// Lets a coordinator do something; none if it dies over it, or if the caller hangs up. Then the coordinator drops the
/// work, wherever it waits.
async fn by_coordinator<T: Send + 'static, F>(
    simulation: &Arc<Simulation>,
    name: &str,
    chance: &Chance,
    what: impl FnOnce(Ports, Arc<Definitions>) -> F,
) -> Option<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let life = Arc::new(Life::new(format!("api.{name}"), skew(simulation, chance)));
    let ports = sabotage(Wire::ports(simulation, &life), simulation.plan.bug);
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let mut doing = tokio::spawn(what(ports, definitions));
    let after = chance.hits(100_000).then(|| chance.span(HANGS_UP_WITHIN));
    let gone = async {
        match after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = life.death() => {
            doing.abort();
            None
        }
        () = gone => {
            simulation.meets("a caller hangs up");
            doing.abort();
            None
        }
        done = &mut doing => match done {
            Ok(done) => Some(done),
            Err(error) => {
                simulation.witness().breaks(SW15, format!("{name}: {error}"));
                None
            }
        },
    }
}

/// Resumes all paused runs when the faults are over, so that each can end.
pub(super) async fn resume_all(simulation: &Arc<Simulation>) {
    let chance = Chance::of(simulation.plan.seed, "resume");
    let paused: Vec<RunId> = {
        let witness = simulation.witness();
        let paused = witness.runs.values().filter(|seen| seen.record.status == RunStatus::Paused);
        paused.map(|seen| seen.record.id).collect()
    };
    for run in paused {
        ask(simulation, &chance, run, Asked::Resume).await;
    }
}
