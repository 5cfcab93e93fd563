//! The simulated world finds deliberate bugs. The test switches each on alone. A promise must break within 2,000 seeds,
//! in a world that is sound without the bug.
//!
//! `WINDLASS_BUG=NAME` looks at one of them only. `WINDLASS_BLESS=1` writes the bugs, and the seed that found each, to
//! `docs/sabotage.md`. Without it the list there must be this one. The seeds are those of the last blessing: they
//! change with every change of the simulation.
#![expect(clippy::print_stderr, reason = "what found each bug is told")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use windlass_testkit::simulation::{Bug, Verdict, simulate};

/// A bug counts as missed if so many worlds do not find it.
const SEEDS: u64 = 2_000;

fn live(seed: u64, bug: Option<Bug>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(simulate(seed, bug, false))
}

/// The seed that found a bug, or that none did.
fn find(bug: Bug) -> Result<Verdict, String> {
    let found = (0..SEEDS).map(|seed| live(seed, Some(bug))).find(|verdict| !verdict.broken.is_empty());
    let found = found.ok_or_else(|| format!("`{}` is not found within {SEEDS} seeds", bug.name()))?;
    match live(found.seed, None).broken.first() {
        None => Ok(found),
        Some(broken) => {
            Err(format!("seed {} breaks {} without `{}`, too", found.seed, broken.invariant.name, bug.name()))
        }
    }
}

/// Looks for all of them, on as many threads as there are cores.
fn find_all(bugs: &[Bug]) -> Vec<Result<Verdict, String>> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(bug) = bugs.get(at) else { return };
                    let answer = find(*bug);
                    eprintln!("{}", told(*bug, &answer));
                    found.lock().expect("no simulation panics").push((at, answer));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no simulation panics");
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, answer)| answer).collect()
}

fn told(bug: Bug, found: &Result<Verdict, String>) -> String {
    match found {
        Ok(Verdict { seed, kind, broken, .. }) => {
            let first = &broken[0];
            let detail: String = first.detail.chars().take(300).collect();
            format!("{}: {} in seed {seed} ({kind:?}): {detail}", bug.name(), first.invariant.name)
        }
        Err(why) => why.clone(),
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "it looks at thousands of worlds, which only an optimised build can")]
fn every_bug_is_found_within_2000_seeds() {
    let asked = std::env::var("WINDLASS_BUG").ok();
    let bugs: Vec<Bug> =
        Bug::ALL.iter().copied().filter(|bug| asked.as_ref().is_none_or(|name| name == bug.name())).collect();
    let found = find_all(&bugs);
    let missed: Vec<_> = found.iter().filter_map(|found| found.as_ref().err()).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    if asked.is_none() && std::env::var_os("WINDLASS_BLESS").is_some() {
        let found: Vec<_> = found.into_iter().flatten().collect();
        std::fs::write(page(), document(&found)).expect("the page can be written");
    }
}

#[test]
fn the_page_lists_every_bug() {
    if std::env::var_os("WINDLASS_BLESS").is_some() {
        return;
    }
    let written = std::fs::read_to_string(page()).unwrap_or_default();
    let listed: Vec<&str> = written.lines().filter(|line| line.starts_with("| `")).collect();
    let is_row_of = |(line, bug): (&&str, &Bug)| line.starts_with(&row_of(*bug));
    let is_same = listed.len() == Bug::ALL.len() && listed.iter().zip(Bug::ALL).all(is_row_of);
    assert!(is_same, "docs/sabotage.md is out of date: run this test with WINDLASS_BLESS=1");
}

fn page() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sabotage.md"))
}

fn row_of(bug: Bug) -> String {
    format!("| `{}` | {} |", bug.name(), bug.wrong())
}

fn document(found: &[Verdict]) -> String {
    let mut text = String::from(include_str!("sabotage/head.md"));
    for (bug, verdict) in Bug::ALL.iter().zip(found) {
        let first = verdict.broken[0].invariant;
        let (row, seed, kind) = (row_of(*bug), verdict.seed, format!("{:?}", verdict.kind).to_lowercase());
        let _ = writeln!(text, "{row} {}: {} | {seed} | {kind} |", first.name, first.sentence);
    }
    text
}
