//! The simulated world: every promise holds under every fault that a seed draws.
//!
//! `WINDLASS_SEEDS=FROM..TO` simulates other seeds than the usual ones.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use windlass_testkit::simulation::{FAULTS, Verdict, simulate};

/// Optimised, this takes a minute on two cores; unoptimised, a few of them stand for all.
const SEEDS: Range<u64> = if cfg!(debug_assertions) { 0..40 } else { 0..2_500 };

/// Some faults are rare: in so many worlds each is met.
const ENOUGH_FOR_ALL: usize = 1_000;

fn live(seed: u64, keeps_lines: bool) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(simulate(seed, None, keeps_lines))
}

fn seeds() -> Range<u64> {
    let Ok(asked) = std::env::var("WINDLASS_SEEDS") else { return SEEDS };
    let parsed = asked.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.expect("WINDLASS_SEEDS is FROM..TO")
}

/// Simulates all of them, on as many threads as there are cores.
fn live_all(seeds: Range<u64>) -> Vec<Verdict> {
    let (next, verdicts) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let verdict = live(seed, false);
                    verdicts.lock().expect("no simulation panics").push(verdict);
                }
            });
        }
    });
    verdicts.into_inner().expect("no simulation panics")
}

#[test]
fn promises_hold_and_faults_occur_in_every_world() {
    let verdicts = live_all(seeds());
    let broken: Vec<String> = verdicts
        .iter()
        .filter_map(|verdict| {
            let first = verdict.broken.first()?;
            let (name, sentence, detail) = (first.invariant.name, first.invariant.sentence, &first.detail);
            Some(format!("{name} ({sentence}): {detail}\n  replay: {}", verdict.replay()))
        })
        .collect();
    assert!(broken.is_empty(), "{} of {} seeds:\n{}", broken.len(), verdicts.len(), broken.join("\n"));
    let mut met = BTreeMap::new();
    for (fault, times) in verdicts.iter().flat_map(|verdict| &verdict.faults) {
        *met.entry(*fault).or_insert(0) += times;
    }
    if verdicts.len() < ENOUGH_FOR_ALL {
        return;
    }
    let missing: Vec<_> = FAULTS.iter().filter(|fault| !met.contains_key(*fault)).collect();
    assert!(missing.is_empty(), "no world met {missing:?}");
}

#[test]
fn a_seed_gives_the_same_log_each_time() {
    for seed in 0..6 {
        let (first, second) = (live(seed, true), live(seed, true));
        assert!(first.lines.len() > 20, "seed {seed} is a world in which something happens");
        assert_eq!(first.lines, second.lines, "seed {seed}");
        assert_eq!(first.fingerprint, live(seed, false).fingerprint, "the lines are not needed for it");
    }
}
