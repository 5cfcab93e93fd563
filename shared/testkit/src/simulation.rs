//! The simulated world: the real loops over a host in memory, on one thread and a virtual clock. A seed draws the
//! faults.
//!
//! Every process of a stack runs here as it runs anywhere: process managers, agents, sweepers, a scheduler,
//! coordinators. Each reaches the host over a wire of its own. On it calls are slow, refused, unanswered and in
//! conflict. Messages are late, repeated and out of order, and clocks differ. The world holds processes up, cuts them
//! off, drains or kills them at any await, and starts them again. A witness holds every step against the catalogue. All
//! chance comes from the seed: the same seed gives the same log, line by line.

mod bug;
mod catalogue;
mod chance;
mod end;
mod history;
mod keeping;
mod life;
mod log;
mod losses;
mod owners;
mod plan;
mod process;
mod saboteur;
mod script;
mod undertaker;
mod wall;
mod weather;
mod wire;
mod witness;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use windlass_contract::event::PublicEvent;
use windlass_domain::run::Run;

use world::{LOOK_EVERY, Simulation};

pub use bug::Bug;
pub use catalogue::{CATALOGUE, invariants};
pub use plan::{Act, Asked, Faults, Fleet, Kind, Limits, Plan, PlannedRun, PlannedTask, Strike};
pub use witness::{Broken, Performed};

/// Every so many looks the world searches for messages that should have been resent.
const OVERDUE_EVERY: u64 = 30;
/// How long the world waits for the effects of the last ends.
const SETTLES_WITHIN: Duration = Duration::from_mins(2);

/// Every fault that a world may meet, by name.
pub const FAULTS: [&str; 21] = [
    "a call is slow",
    "a call is refused",
    "a call is unanswered",
    "a call finds its caller cut off",
    "a caller dies before its call",
    "a caller dies after its call",
    "a write meets a conflict",
    "a glance is old",
    "a message is delivered twice",
    "a message is late",
    "a message is lost for good",
    "a message is received too often and given up",
    "a queue hides a message no longer",
    "a queue has too many messages in flight",
    "a process is killed",
    "a process is held up",
    "a process is cut off",
    "a caller hangs up",
    "a process is told to end",
    "everything is off",
    "the wall clock is set",
];

/// The result of a seed.
#[derive(Debug)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// The kind of its world.
    pub kind: Kind,
    /// The broken invariants, in the order in which they were seen.
    pub broken: Vec<Broken>,
    /// A number that differs when any line of the log does.
    pub fingerprint: u64,
    /// The log, if the caller asked for it. If the world without faults broke, its log follows.
    pub lines: Vec<String>,
    /// How much time passed in that world.
    pub took: Duration,
    /// How many runs there were.
    pub runs: usize,
    /// Attempts that began more than once: the promise is at least once.
    pub repeats: u64,
    /// How often each of [`FAULTS`] was met.
    pub faults: BTreeMap<&'static str, u64>,
    /// Every run, as it was recorded last, with its log.
    pub told: Vec<(Run, Vec<PublicEvent>)>,
    /// Everything that an agent began to perform.
    pub performed: Vec<Performed>,
    /// How many calls each sort of process had made when the last run had ended.
    pub calls: BTreeMap<String, u64>,
}

impl Verdict {
    /// The command that shows this world's log, if no bug is on.
    pub fn replay(&self) -> String {
        format!("cargo run --release -p windlass-testkit --example simulate -- {}", self.seed)
    }
}

/// Simulates one seed, and the same world without faults and without the bug: their ends must be the same if nothing
/// depends on time. With a bug, the processes have it.
///
/// It must be called on a runtime of one thread whose clock is paused.
pub async fn simulate(seed: u64, bug: Option<Bug>, keeps_lines: bool) -> Verdict {
    let plan = Plan { bug, ..Plan::of(seed) };
    let calm = match plan.kind {
        Kind::Timeless | Kind::Blackout => Calm::EndsAlike,
        Kind::Timed | Kind::Scheduled | Kind::Story => Calm::Apart,
    };
    simulate_plan(plan, calm, keeps_lines).await
}

/// The same world without faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calm {
    /// Is not looked at.
    Unasked,
    /// Has nothing to do with how the world ends.
    Apart,
    /// Ends as the world must end.
    EndsAlike,
}

/// Simulates the plan, and the same without faults if the caller asks for it.
///
/// It must be called on a runtime of one thread whose clock is paused.
pub async fn simulate_plan(plan: Plan, asked: Calm, keeps_lines: bool) -> Verdict {
    let calm = (asked != Calm::Unasked).then(|| plan.clone().in_good_weather());
    let simulation = live_through(plan, keeps_lines).await;
    let took = simulation.weather.well_at().max(Instant::now()) - simulation.began();
    let mut lines = simulation.log.lines();
    if let Some(calm) = calm {
        let calm = live_through(calm, keeps_lines).await;
        if end::look_at_calm(&simulation, &calm) && keeps_lines {
            lines.push("THE SAME WITHOUT FAULTS".to_owned());
            lines.extend(calm.log.lines());
        }
        if asked == Calm::EndsAlike {
            end::compare(&simulation, &calm);
        }
    }
    let (host, mut witness) = (simulation.host.limits_met(), simulation.witness());
    for (fault, times) in [
        ("a message is received too often and given up", host.given_up.len() as u64),
        ("a queue hides a message no longer", host.hidden),
        ("a queue has too many messages in flight", host.in_flight),
    ] {
        (0..times).for_each(|_| simulation.meets(fault));
    }
    Verdict {
        seed: simulation.plan.seed,
        kind: simulation.plan.kind,
        broken: std::mem::take(&mut witness.broken),
        fingerprint: simulation.log.fingerprint(),
        lines,
        took,
        runs: witness.runs.len(),
        repeats: witness.repeats,
        faults: std::mem::take(&mut simulation.faults.lock().unwrap_or_else(PoisonError::into_inner)),
        told: std::mem::take(&mut witness.runs).into_values().map(|seen| (seen.record, seen.log)).collect(),
        performed: std::mem::take(&mut witness.performed),
        calls: std::mem::take(&mut simulation.calls.lock().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// Lets a world begin, and gives it when all has come to its end, or should have.
async fn live_through(plan: Plan, keeps_lines: bool) -> Arc<Simulation> {
    // The loops draw their jitter from the thread's generator.
    fastrand::seed(plan.seed);
    let simulation = Simulation::new(plan, keeps_lines);
    simulation.put_tasks().await;
    let processes = process::start_all(&simulation);
    join_all(process::clients(&simulation)).await;
    simulation.endure().await;
    if simulation.plan.kind == Kind::Scheduled {
        simulation.delete_tasks().await;
    }
    let (well_at, until) = (simulation.now(), Instant::now() + simulation.plan.patience);
    let mut looks = 0_u64;
    while !simulation.is_over() && Instant::now() < until {
        process::resume_all(&simulation).await;
        tokio::time::sleep(LOOK_EVERY).await;
        looks += 1;
        if looks.is_multiple_of(OVERDUE_EVERY) {
            simulation.witness().look_at_overdue(&simulation.host, well_at, simulation.now());
        }
    }
    let calls = simulation.calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // The effects of the last ends are not sent yet.
    let settled_by = Instant::now() + SETTLES_WITHIN;
    while !simulation.is_at_rest() && Instant::now() < settled_by {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    *simulation.calls.lock().unwrap_or_else(PoisonError::into_inner) = calls;
    simulation.witness().look_back(&simulation.host.limits_met().given_up);
    drop(processes);
    simulation
}
