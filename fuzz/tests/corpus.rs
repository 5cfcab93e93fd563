//! Drives every target on stable Rust: each file of the corpus, then changed files for a while.
//!
//! `WINDLASS_FUZZ_SECONDS` (2): how long for each target. `WINDLASS_FUZZ_SEED` (1): which changes.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, panic};

use windlass_fuzz::{Mutator, TARGETS, Target};

/// No reader may take longer for one input; it is far above what an unoptimised build on a busy machine needs.
const MOST: Duration = Duration::from_secs(20);

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs one input; a panic is told with the input, ready to be put into the corpus.
fn run(target: &Target, data: &[u8], from: &str) {
    let start = Instant::now();
    let outcome = panic::catch_unwind(|| (target.run)(data));
    let shown = || String::from_utf8_lossy(data).escape_debug().to_string();
    assert!(outcome.is_ok(), "{} fails on {from}: \"{}\"", target.name, shown());
    assert!(start.elapsed() < MOST, "{} takes {:?} on {from}: \"{}\"", target.name, start.elapsed(), shown());
}

fn check(target: &Target) {
    let corpus = corpus(target);
    for data in &corpus {
        run(target, data, "a file of the corpus");
    }
    let seed = setting("WINDLASS_FUZZ_SEED", 1);
    let mut mutator = Mutator::new(seed);
    let end = Instant::now() + Duration::from_secs(setting("WINDLASS_FUZZ_SECONDS", 2));
    let mut count = 0_u64;
    while Instant::now() < end {
        count += 1;
        run(target, &mutator.change(&corpus), &format!("seed {seed}, input {count}"));
    }
    assert!(count > 0 || setting("WINDLASS_FUZZ_SECONDS", 2) == 0);
}

#[test]
fn definition() {
    check(&TARGETS[0]);
}

#[test]
fn expression() {
    check(&TARGETS[1]);
}

#[test]
fn message() {
    check(&TARGETS[2]);
}
