//! A world as it stands: its host, its weather, its log, and its witness.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass_domain::definition::Definition;
use windlass_domain::ids::TaskName;
use windlass_domain::time::Timestamp;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{Clock, QueueName};
use windlass_engine::registry::Registry;

use super::life::Life;
use super::log::Log;
use super::plan::{Kind, Plan};
use super::wall::Wall;
use super::weather::Weather;
use super::witness::Witness;
use crate::memory::MemoryHost;

/// When every world begins: 2026-03-01T00:00:00Z.
const BEGINS: Timestamp = Timestamp::from_millis(1_772_323_200_000);
/// How often the world looks whether all runs have ended.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One world.
pub(super) struct Simulation {
    pub(super) plan: Plan,
    pub(super) host: MemoryHost,
    pub(super) weather: Weather,
    pub(super) log: Log,
    witness: Mutex<Witness>,
    pub(super) faults: Mutex<BTreeMap<&'static str, u64>>,
    /// The calls, by caller.
    pub(super) calls: Mutex<BTreeMap<String, u64>>,
    /// The clock that people set.
    pub(super) wall: Wall,
    began: Instant,
}

impl Simulation {
    pub(super) fn new(plan: Plan, keeps_lines: bool) -> Arc<Self> {
        let weather = Weather::new(plan.seed, &plan.faults);
        let host = MemoryHost::new(BEGINS).with_limits(plan.limits.queues).with_limits_of_pools(plan.limits.pools);
        let log = Log::new(keeps_lines);
        let (witness, faults, calls) = (Mutex::default(), Mutex::default(), Mutex::default());
        let wall = Wall::of(&plan);
        Arc::new(Self { plan, host, weather, log, witness, faults, calls, wall, began: Instant::now() })
    }

    pub(super) fn note(&self, who: &str, what: fmt::Arguments<'_>) {
        self.log.note(who, what);
    }

    pub(super) fn witness(&self) -> MutexGuard<'_, Witness> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a fault that has been met: one of [`FAULTS`](super::FAULTS).
    pub(super) fn meets(&self, fault: &'static str) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_insert(0) += 1;
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        self.host.now()
    }

    /// Counts a call; says whether its caller is to die before it (`false`) or after it (`true`).
    pub(super) fn strike(&self, life: &Life) -> Option<bool> {
        let who = life.name.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.');
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match calls.get_mut(who) {
            Some(count) => count,
            None => calls.entry(who.to_owned()).or_insert(0),
        };
        let call = *count;
        *count += 1;
        self.plan
            .faults
            .strikes
            .iter()
            .find(|strike| strike.who == who && strike.call == call)
            .map(|strike| strike.after)
    }

    /// The time as the wall clock of that process shows it.
    pub(super) fn now_of(&self, life: &Life) -> Timestamp {
        self.wall.of_steady(self.steady_of(life))
    }

    /// The time as that process counts it, whatever its wall clock is set to.
    pub(super) fn steady_of(&self, life: &Life) -> Timestamp {
        let now = self.now();
        Timestamp::from_millis(now.as_millis().saturating_add(life.skew))
    }

    /// Puts the tasks, before anything else happens.
    pub(super) async fn put_tasks(&self) {
        let ports = self.host.ports();
        let registry = Registry::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
        for task in &self.plan.tasks {
            let definition = match Definition::from_source(&task.source) {
                Ok(definition) => Arc::new(definition),
                Err(faults) => unreachable!("a sketch is valid: {faults}"),
            };
            let put = registry.put(&definition).await;
            let put = put.unwrap_or_else(|error| unreachable!("the host has no faults of its own: {error}"));
            self.note("world", format_args!("puts {}", task.source));
            self.witness().knows(put.version, definition);
        }
    }

    /// No schedule goes on for ever.
    pub(super) async fn delete_tasks(&self) {
        let ports = self.host.ports();
        let registry = Registry::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
        for task in &self.plan.tasks {
            let name = TaskName::new(&task.name).unwrap_or_else(|error| unreachable!("it is a name: {error}"));
            self.note("world", format_args!("deletes {name}"));
            let deleted = registry.delete(&name).await;
            deleted.unwrap_or_else(|error| unreachable!("the host has no faults of its own: {error}"));
        }
    }

    /// Waits until the faults are over, or have nothing left that they could befall.
    pub(super) async fn endure(&self) {
        while Instant::now() < self.weather.well_at() {
            if self.plan.kind != Kind::Scheduled && self.is_at_rest() {
                self.note("world", format_args!("is at rest"));
                return self.weather.clears();
            }
            tokio::time::sleep(LOOK_EVERY.min(self.weather.well_at() - Instant::now())).await;
        }
    }

    /// Whether all is over, and no message is left that could change anything.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_over() && !self.host.has_message(|queue| matches!(queue, QueueName::Pool(_)))
    }

    /// Whether every run has ended and the inbox has no request left.
    pub(super) fn is_over(&self) -> bool {
        let witness = self.witness();
        !self.host.has_message(QueueName::brings_inputs)
            && witness.runs.values().all(|seen| seen.record.status.is_final())
    }
}
