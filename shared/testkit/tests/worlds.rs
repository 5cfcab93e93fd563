//! Whole worlds: the stories that the software is judged by, each over many seeds, with the witness looking on.

#[path = "worlds/blackout.rs"]
mod blackout;
#[path = "worlds/crashes.rs"]
mod crashes;
#[path = "worlds/examples.rs"]
mod examples;
#[path = "worlds/fan.rs"]
mod fan;
#[path = "worlds/kills.rs"]
mod kills;
#[path = "worlds/long.rs"]
mod long;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use windlass_testkit::simulation::{Calm, Plan, PlannedRun, PlannedTask, Verdict, simulate_plan};

/// Optimised, all seeds; unoptimised, a few of them stand for all.
const fn seeds(optimised: u64, unoptimised: u64) -> Range<u64> {
    0..if cfg!(debug_assertions) { unoptimised } else { optimised }
}

/// Lets the worlds of all seeds pass, on as many threads as there are cores.
fn in_each(seeds: Range<u64>, check: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    check(seed);
                }
            });
        }
    });
}

/// The result of a plan. Nothing that was promised may have been broken.
fn live(plan: &Plan, calm: Calm) -> Verdict {
    let verdict = simulated(plan, calm, false);
    if let Some(broken) = verdict.broken.first() {
        let path = std::env::temp_dir().join(format!("world-{}.log", plan.seed));
        let lines = simulated(plan, calm, true).lines;
        std::fs::write(&path, lines.join("\n")).expect("a log can be written");
        let (name, path) = (broken.invariant.name, path.display());
        panic!("seed {}, {:?}: {name}: {}\n{path}", plan.seed, plan.faults, broken.detail);
    }
    verdict
}

fn simulated(plan: &Plan, calm: Calm, keeps_lines: bool) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let simulated = simulate_plan(plan.clone(), calm, keeps_lines);
    runtime.expect("a runtime can be made").block_on(simulated)
}

fn task(source: Value) -> PlannedTask {
    let name = source["task"].as_str().expect("a task has a name").to_owned();
    PlannedTask { name, source, input: Value::Object(serde_json::Map::new()) }
}

fn run(key: impl Into<String>) -> PlannedRun {
    PlannedRun { task: 0, key: key.into(), at: Duration::ZERO, gives_up: false, requests: Vec::new() }
}
