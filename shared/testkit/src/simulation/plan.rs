//! The plan of a seed: tasks, runs, requests, processes and faults. Two simulations of one seed have the same plan.

use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use windlass_domain::run::Outcome;
use windlass_domain::time::Millis;
use windlass_engine::perform::Attempt;

use super::bug::Bug;
use super::chance::Chance;
use crate::generate::{sketches, unordered_sketches};
use crate::memory::QueueLimits;
use crate::sketch::{self, Sketch};

/// How long after the last fault everything must have ended. Attempts take up to twenty minutes each, deadlines an hour.
const PATIENCE: Duration = Duration::from_hours(24);

/// The kind of a seed's world: it decides what the world may contain and how its end is judged.
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
    /// Made by hand: the test that made it knows the right end.
    Story,
}

/// A task.
#[derive(Debug, Clone)]
pub struct PlannedTask {
    /// Its name.
    pub name: String,
    /// As an author writes it.
    pub source: Value,
    /// The input of its runs.
    pub input: Value,
}

/// A run that a client asks for until it has an answer.
#[derive(Debug, Clone)]
pub struct PlannedRun {
    /// The place of its task.
    pub task: usize,
    /// Its name, and its idempotency key.
    pub key: String,
    /// When its caller asks for it.
    pub at: Duration,
    /// The client gives up when there is no answer the first time.
    pub gives_up: bool,
    /// Requests to the run, each with its time after the start was accepted.
    pub requests: Vec<(Duration, Asked)>,
}

/// A client's request to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what a run can be asked for")]
pub enum Asked {
    Cancel,
    /// Of the action of that number, if there is one.
    Kill(usize),
    Pause,
    Resume,
    Retry,
}

/// How many processes of each sort there are, and how agents work.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// Process managers.
    pub managers: u64,
    /// Workers of each.
    pub workers: usize,
    /// Agents.
    pub agents: u64,
    /// Slots of each.
    pub slots: u32,
    /// Receivers of each.
    pub receivers: usize,
    /// How long an agent's messages stay hidden without being extended.
    pub visibility: Duration,
    /// How long an agent holds a message before it leases the attempt instead.
    pub lease_after: Duration,
    /// How often the sweeper reads the due index.
    pub sweep_every: Duration,
}

/// The limits of a world's queues.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of every queue but the pools'.
    pub queues: QueueLimits,
    /// Of the pools'.
    pub pools: QueueLimits,
}

/// A process dies at that very call.
#[derive(Debug, Clone)]
pub struct Strike {
    /// How the names of such processes begin.
    pub who: &'static str,
    /// Which call of theirs, from 0, all lives counted together.
    pub call: u64,
    /// Before the call, or after its answer.
    pub after: bool,
}

/// The behaviour of one attempt.
#[derive(Debug, Clone)]
pub struct Act {
    /// How long it takes.
    pub takes: Duration,
    /// How long it goes on after the order to stop.
    pub stops_within: Duration,
    /// It says once how far it has come.
    pub says_progress: bool,
    /// How it ends.
    pub ends: Outcome,
}

impl Act {
    /// An act that succeeds after that time, and stops at once on an order.
    pub fn succeeding(takes: Duration, output: Value) -> Self {
        Self { takes, stops_within: ms(1), says_progress: false, ends: Outcome::Succeeded { output } }
    }
}

/// How often calls and processes fail. Each sort is absent from many worlds: a fault that is always there hides others.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// For how long they last; then the world is well.
    pub last: Duration,
    /// The longest that a call usually takes.
    pub latency: Duration,
    /// In a million calls, as the four that follow.
    pub slow: u32,
    /// It fails, and nothing was done.
    pub refused: u32,
    /// It is done, and its caller told that it failed.
    pub unanswered: u32,
    /// Its caller dies.
    pub dies_before: u32,
    /// It is done, and its caller dies.
    pub dies_after: u32,
    /// In a million commits.
    pub conflicts: u32,
    /// In a million glances.
    pub old_glances: u32,
    /// In a million messages, as the two that follow.
    pub duplicates: u32,
    /// It is late.
    pub delays: u32,
    /// It is lost for good, if the sweeper can make up for it.
    pub losses: u32,
    /// The longest such delay.
    pub delay: Duration,
    /// The mean time between two blows at some process; zero: there are none.
    pub blows: Duration,
    /// The most that a process's wall clock is off.
    pub skew: Duration,
    /// A receive that is dropped takes messages along, as SQS's does.
    pub drops_take_messages: bool,
    /// When everything is off, and for how long.
    pub blackout: Option<(Duration, Duration)>,
    /// Deaths that do not depend on chance.
    pub strikes: Vec<Strike>,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// From which all chance is drawn.
    pub seed: u64,
    /// The kind of the world.
    pub kind: Kind,
    /// The tasks.
    pub tasks: Vec<PlannedTask>,
    /// The runs that callers ask for.
    pub runs: Vec<PlannedRun>,
    /// The processes.
    pub fleet: Fleet,
    /// The faults of this world.
    pub faults: Faults,
    /// The limits of the queues.
    pub limits: Limits,
    /// The acts of attempts; absent: the seed draws them.
    pub acts: Option<fn(u64, &Attempt) -> Act>,
    /// How long after the last fault everything must have ended.
    pub patience: Duration,
    /// The deliberate bug that the processes have.
    pub bug: Option<Bug>,
}

impl Plan {
    /// Draws the plan of a seed.
    pub fn of(seed: u64) -> Self {
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
        let mut faults = Faults::of(&Chance::of(seed, "faults"), kind);
        let mut fleet = Fleet::of(&chance);
        let limits = Limits::of(&Chance::of(seed, "limits"), &mut fleet, &mut faults);
        Self { seed, kind, tasks, runs, fleet, faults, limits, acts: None, patience: PATIENCE, bug: None }
    }

    /// One made by hand, without faults, with the limits of the stack.
    pub fn by_hand(seed: u64, tasks: Vec<PlannedTask>, runs: Vec<PlannedRun>, fleet: Fleet) -> Self {
        let (kind, faults) = (Kind::Story, Faults::default());
        Self {
            seed,
            kind,
            tasks,
            runs,
            fleet,
            faults,
            limits: Limits::STACK,
            acts: None,
            patience: PATIENCE,
            bug: None,
        }
    }

    /// The same without any fault.
    pub(super) fn in_good_weather(mut self) -> Self {
        self.faults = Faults::default();
        self.limits = Limits::STACK;
        self.bug = None;
        self
    }
}

fn task(chance: &Chance, kind: Kind, number: u64) -> PlannedTask {
    let name = format!("task{number}");
    let sketch = match kind {
        Kind::Timeless | Kind::Blackout => timeless(draw(chance, unordered_sketches())),
        Kind::Timed | Kind::Scheduled | Kind::Story => draw(chance, sketches()),
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

/// Removes every limit of time from a sketch, so that it ends the same at any speed.
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
    }
    if kind == Kind::Timed && chance.hits(500_000) {
        for _ in 0..chance.between(1..4) {
            let action = usize::try_from(chance.between(0..6)).unwrap_or(0);
            let latest = if chance.hits(500_000) { ms(30_000) } else { ms(600_000) };
            requests.push((chance.span(ms(10)..latest), Asked::Kill(action)));
        }
    }
    requests.sort_by_key(|(at, _)| *at);
    PlannedRun { task, key: format!("run{number}"), at, gives_up: false, requests }
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
            visibility: Duration::from_secs(30),
            lease_after: if chance.hits(100_000) { chance.span(ms(1)..ms(60_000)) } else { Duration::from_hours(8) },
            sweep_every: if chance.hits(200_000) { Duration::from_secs(1) } else { Duration::from_mins(1) },
        }
    }
}

impl Fleet {
    /// Few of each, with the agents' own settings.
    pub const SMALL: Self = Self {
        managers: 2,
        workers: 2,
        agents: 2,
        slots: 4,
        receivers: 1,
        visibility: Duration::from_secs(30),
        lease_after: Duration::from_hours(8),
        sweep_every: Duration::from_mins(1),
    };
}

impl Limits {
    /// Those of the queues in `infra/`.
    pub const STACK: Self = Self { queues: QueueLimits::STACK, pools: QueueLimits::STACK };

    /// Small enough that some worlds meet it, where the promises hold under small limits.
    fn of(chance: &Chance, fleet: &mut Fleet, faults: &mut Faults) -> Self {
        let mut limits = Self::STACK;
        match chance.between(0..10) {
            0..3 => {
                // An agent that leases a long-held attempt too late loses it.
                let lease_after = Millis::from_secs(chance.between(60..600));
                fleet.lease_after = lease_after.as_duration();
                // The last extension is for 30 s, and the agent asks for a lease within 5 s.
                limits.pools.hidden = Some(Millis(lease_after.0 + chance.between(36_000..42_000)));
                // Some agents ask too late.
                if chance.hits(300_000) {
                    faults.refused = 400_000;
                }
            }
            3..5 => {
                let few = usize::try_from(chance.between(2..12)).unwrap_or(2);
                (limits.queues.in_flight, limits.pools.in_flight) = (Some(few), Some(few));
            }
            5..7 => limits.pools.receives = u32::try_from(chance.between(2..5)).ok(),
            _ => {}
        }
        limits
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
            losses: rate(100_000),
            strikes: Vec::new(),
        }
    }
}
