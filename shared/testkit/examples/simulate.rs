//! Simulates seeds: `cargo run --release -p windlass-testkit --example simulate -- 0..2000`, or one of them with its log:
//! `... -- 1234`. Ends with 1 if anything promised did not hold. `--bug NAME` gives the
//! processes a deliberate bug (docs/sabotage.md).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use windlass_testkit::simulation::{Bug, Verdict, simulate};

/// After how many seeds a search says how far it has come.
const PROGRESS_EVERY: u64 = 10_000;
/// How much of each broken invariant a search prints: a whole record is in the log of the seed.
const MAX_DETAIL: usize = 400;

fn main() -> ExitCode {
    let Some(argument) = std::env::args().nth(1) else {
        println!("usage: simulate SEED [--bug NAME] | simulate FROM..TO [--bug NAME]");
        return ExitCode::from(2);
    };
    let bug = match asked() {
        Ok(bug) => bug,
        Err(unknown) => {
            println!("{unknown}");
            return ExitCode::from(2);
        }
    };
    let parse = |text: &str| text.parse::<u64>().ok();
    let seeds = match argument.split_once("..") {
        Some((from, to)) => parse(from).zip(parse(to)),
        None => parse(&argument).map(|seed| (seed, seed + 1)),
    };
    let Some((from, to)) = seeds.filter(|(from, to)| from < to) else {
        println!("`{argument}` is neither a seed nor a range of seeds that goes up");
        return ExitCode::from(2);
    };
    if to == from + 1 { tell(from, bug) } else { search(from, to, bug) }
}

/// The bug of the command line.
fn asked() -> Result<Option<Bug>, String> {
    let mut arguments = std::env::args().skip(2);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Ok(None),
        (Some("--bug"), Some(name)) => {
            let bug = Bug::ALL.iter().copied().find(|bug| bug.name() == name);
            bug.map(Some).ok_or_else(|| format!("there is no bug `{name}`: see docs/sabotage.md"))
        }
        (Some(other), _) => Err(format!("`{other}` is not understood: after the seeds comes `--bug NAME`")),
    }
}

/// Simulates a seed on a runtime of its own.
fn live(seed: u64, bug: Option<Bug>, keeps_lines: bool) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(simulate(seed, bug, keeps_lines))
}

fn tell(seed: u64, bug: Option<Bug>) -> ExitCode {
    let verdict = live(seed, bug, true);
    for line in &verdict.lines {
        println!("{line}");
    }
    for broken in &verdict.broken {
        println!("BROKEN {} ({}): {}", broken.invariant.name, broken.invariant.sentence, broken.detail);
    }
    println!(
        "seed {seed}: {:?}, {} runs in {:?}, {} broken",
        verdict.kind,
        verdict.runs,
        verdict.took,
        verdict.broken.len()
    );
    ExitCode::from(u8::from(!verdict.broken.is_empty()))
}

fn search(from: u64, to: u64, bug: Option<Bug>) -> ExitCode {
    let (next, runs, repeats, virtual_secs, failed) =
        (AtomicU64::new(from), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    if seed > from && (seed - from).is_multiple_of(PROGRESS_EVERY) {
                        let failed = failed.load(Ordering::Relaxed);
                        eprintln!("{} seeds in {:.0?}, {failed} broken", seed - from, began.elapsed());
                    }
                    let verdict = live(seed, bug, false);
                    runs.fetch_add(verdict.runs as u64, Ordering::Relaxed);
                    repeats.fetch_add(verdict.repeats, Ordering::Relaxed);
                    virtual_secs.fetch_add(verdict.took.as_secs(), Ordering::Relaxed);
                    if let Some(broken) = verdict.broken.first() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        let kind = verdict.kind;
                        let detail: String = broken.detail.chars().take(MAX_DETAIL).collect();
                        println!(
                            "seed {seed} ({kind:?}): {} ({}): {detail}",
                            broken.invariant.name, broken.invariant.sentence
                        );
                    }
                }
            });
        }
    });
    let failed = failed.load(Ordering::Relaxed);
    println!(
        "{} seeds in {:.1?}: {} runs, {} attempts begun again, {} virtual hours, {failed} seeds broken",
        to - from,
        began.elapsed(),
        runs.load(Ordering::Relaxed),
        repeats.load(Ordering::Relaxed),
        virtual_secs.load(Ordering::Relaxed) / 3600,
    );
    ExitCode::from(u8::from(failed > 0))
}
