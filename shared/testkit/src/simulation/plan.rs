//! What a seed asks for: tasks, runs, requests, processes and faults. Two simulations of one seed have the same plan.

use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use windlass_domain::time::Millis;

use super::chance::Chance;
use crate::generate::{sketches, unordered_sketches};
use crate::sketch::{self, Sketch};

/// What is asked of a seed's world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing depends on time: the end must be the same as without faults.
    Timeless,
    /// Timeouts, deadlines, cancellations, pauses and retries by hand.
    Timed,
    /// Schedules with every overlap policy.
    Scheduled,
    /// All processes are off for two hours.
    Blackout,
}

/// A task.
#[derive(Debug, Clone)]
pub(super) struct PlannedTask {
    pub(super) name: String,
    /// As an author writes it.
    pub(super) source: Value,
    /// The input of its runs.
    pub(super) input: Value,
}

/// A run that a client asks for until it is answered.
#[derive(Debug, Clone)]
pub(super) struct PlannedRun {
    pub(super) task: usize,
    pub(super) key: String,
    pub(super) at: Duration,
    /// What is asked of it later.
    pub(super) requests: Vec<(Duration, Asked)>,
}

/// What is asked of a run, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Cancel,
    Pause,
    Resume,
    Retry,
}

/// How many processes of each sort there are, and how agents work.
#[derive(Debug, Clone)]
pub(super) struct Fleet {
    pub(super) managers: u64,
    pub(super) workers: usize,
    pub(super) agents: u64,
    pub(super) slots: u32,
    pub(super) receivers: usize,
    pub(super) sweep_every: Duration,
}

/// How often calls and processes fail. Each sort is absent from many worlds: a fault that is always there hides others.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// For how long they last; then the world is well.
    pub(super) last: Duration,
    /// The longest that a call usually takes.
    pub(super) latency: Duration,
    /// In a million calls.
    pub(super) slow: u32,
    pub(super) refused: u32,
    pub(super) unanswered: u32,
    pub(super) dies_before: u32,
    pub(super) dies_after: u32,
    /// In a million commits.
    pub(super) conflicts: u32,
    /// In a million glances.
    pub(super) old_glances: u32,
    /// In a million messages.
    pub(super) duplicates: u32,
    pub(super) delays: u32,
    /// The longest such delay.
    pub(super) delay: Duration,
    /// The mean time between two blows at some process; zero: there are none.
    pub(super) blows: Duration,
    /// The most that a process's wall clock is off.
    pub(super) skew: Duration,
    /// A receive that is dropped takes messages along, as SQS's does.
    pub(super) drops_take_messages: bool,
    /// When everything is off, and for how long.
    pub(super) blackout: Option<(Duration, Duration)>,
}

/// All of it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) kind: Kind,
    pub(super) tasks: Vec<PlannedTask>,
    pub(super) runs: Vec<PlannedRun>,
    pub(super) fleet: Fleet,
    pub(super) faults: Faults,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let chance = Chance::of(seed, "plan");
        let kind = match chance.between(0..20) {
            0..10 => Kind::Timeless,
            10..17 => Kind::Timed,
            17..19 => Kind::Scheduled,
            _ => Kind::Blackout,
        };
        let tasks: Vec<_> = (0..chance.between(1..4)).map(|number| task(&chance, kind, number)).collect();
        let most = if kind == Kind::Blackout { 40 } else { 8 };
        let runs = (0..chance.between(1..most)).map(|number| run(&chance, kind, tasks.len(), number)).collect();
        let faults = Faults::of(&Chance::of(seed, "faults"), kind);
        Self { seed, kind, tasks, runs, fleet: Fleet::of(&chance), faults }
    }

    /// The same without any fault.
    pub(super) fn in_good_weather(mut self) -> Self {
        self.faults = Faults::default();
        self
    }
}

fn task(chance: &Chance, kind: Kind, number: u64) -> PlannedTask {
    let name = format!("task{number}");
    let sketch = match kind {
        Kind::Timeless | Kind::Blackout => timeless(draw(chance, unordered_sketches())),
        Kind::Timed | Kind::Scheduled => patient(draw(chance, sketches())),
    };
    let mut source = sketch.source();
    source["task"] = name.clone().into();
    if kind == Kind::Scheduled && (number == 0 || chance.hits(500_000)) {
        let overlap = *chance.pick(&["allow", "skip", "queue", "cancel_previous"]);
        source["schedule"] = json!({ "every": *chance.pick(&["20s", "1m", "5m"]), "overlap": overlap });
    }
    if chance.hits(500_000) {
        source["events"] = "all".into();
    }
    PlannedTask { name, source, input: sketch::input() }
}

fn draw<S: Strategy>(chance: &Chance, strategy: S) -> S::Value {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &chance.bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let drawn = strategy.new_tree(&mut runner);
    drawn.unwrap_or_else(|reason| unreachable!("the strategies reject nothing: {reason}")).current()
}

/// An attempt that is given up before anybody need look at its record may begin after its end: within two seconds, and
/// by how much clocks differ.
fn patient(mut sketch: Sketch) -> Sketch {
    const SHORTEST: Millis = Millis::from_secs(30);
    for action in &mut sketch.actions {
        action.queue_timeout = action.queue_timeout.map(|timeout| timeout.max(SHORTEST));
    }
    sketch
}

/// What ends the same however long it takes.
fn timeless(mut sketch: Sketch) -> Sketch {
    sketch.timeout = None;
    for action in &mut sketch.actions {
        action.timeout = None;
        action.queue_timeout = None;
        action.retry.max_age = None;
    }
    sketch
}

fn run(chance: &Chance, kind: Kind, tasks: usize, number: u64) -> PlannedRun {
    let task = usize::try_from(chance.between(0..tasks as u64)).unwrap_or(0);
    let at = if chance.hits(300_000) { Duration::ZERO } else { chance.span(ms(10)..ms(60_000)) };
    let mut requests = Vec::new();
    if kind == Kind::Timed && chance.hits(500_000) {
        for _ in 0..chance.between(1..4) {
            let asked = *chance.pick(&[Asked::Cancel, Asked::Pause, Asked::Resume, Asked::Retry, Asked::Retry]);
            requests.push((chance.span(ms(10)..ms(600_000)), asked));
        }
        requests.sort_by_key(|(at, _)| *at);
    }
    PlannedRun { task, key: format!("run{number}"), at, requests }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Fleet {
    fn of(chance: &Chance) -> Self {
        Self {
            managers: chance.between(1..4),
            workers: usize::try_from(chance.between(1..4)).unwrap_or(1),
            agents: chance.between(1..5),
            slots: u32::try_from(chance.between(1..12)).unwrap_or(1),
            receivers: usize::try_from(chance.between(1..3)).unwrap_or(1),
            sweep_every: if chance.hits(200_000) { Duration::from_secs(1) } else { Duration::from_mins(1) },
        }
    }
}

impl Faults {
    fn of(chance: &Chance, kind: Kind) -> Self {
        // Each order of magnitude as likely as another, and in half of the worlds not at all.
        let rate = |most: u32| {
            if chance.hits(500_000) {
                return 0;
            }
            let thousandths = chance.span(ms(1)..ms(1000)).as_millis();
            u32::try_from(u128::from(most) * thousandths / 1000).unwrap_or(most)
        };
        let blackout = (chance.span(ms(1000)..ms(60_000)), Duration::from_hours(2));
        Self {
            last: chance.span(ms(10_000)..ms(900_000)),
            latency: chance.span(ms(1)..ms(400)),
            slow: rate(30_000),
            refused: rate(200_000),
            unanswered: rate(200_000),
            dies_before: rate(20_000),
            dies_after: rate(20_000),
            conflicts: rate(300_000),
            old_glances: rate(1_000_000),
            duplicates: rate(200_000),
            delays: rate(500_000),
            delay: chance.span(ms(100)..ms(300_000)),
            blows: if chance.hits(300_000) { Duration::ZERO } else { chance.span(ms(2000)..ms(120_000)) },
            skew: if chance.hits(500_000) { Duration::ZERO } else { chance.span(ms(10)..ms(5000)) },
            drops_take_messages: chance.hits(500_000),
            blackout: (kind == Kind::Blackout).then_some(blackout),
        }
    }
}
