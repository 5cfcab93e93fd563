//! Gives every reader the files of its corpus, any bytes, and edited files. No input makes a reader panic, or work for
//! longer than in proportion to its length.
#![expect(clippy::unwrap_used, reason = "tests")]

mod edits;

use std::fs;
use std::path::Path;
use std::time::Duration;

use bolero::check;
use edits::Edited;
use rustix::time::{ClockId, clock_gettime};
use windlass_fuzz::{definition, expression, message};

/// The most processor time for one input: for each byte, and in all for what does not depend on its length.
///
/// The text of an expression does not bound the work of its evaluation: a fixed budget does, so the fixed part is
/// large. It is measured in an unoptimised build; a busy machine does not lengthen it.
const MOST: Duration = Duration::from_secs(4);
const MOST_PER_BYTE: Duration = Duration::from_micros(100);

fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

fn check(reader: fn(&[u8]), data: &[u8]) {
    let start = processor_time();
    reader(data);
    let taken = processor_time().saturating_sub(start);
    let most = MOST + MOST_PER_BYTE * u32::try_from(data.len()).unwrap();
    assert!(taken < most, "{} bytes took {taken:?}", data.len());
}

/// The files of a reader's corpus, where bolero looks for them as well.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/__fuzz__").join(name).join("corpus");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has a corpus");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

// The count of iterations leaves out the corpus; a limit of time might end the test before all its files are replayed.
const ITERATIONS: usize = 256;
const TIME: Duration = Duration::from_secs(1);

#[test]
fn definition_of_any_bytes_is_read_or_refused() {
    check!(name = "definition").with_iterations(ITERATIONS).for_each(|data: &[u8]| check(definition, data));
}

#[test]
fn expression_of_any_bytes_is_read_or_refused() {
    check!(name = "expression").with_iterations(ITERATIONS).for_each(|data: &[u8]| check(expression, data));
}

#[test]
fn message_of_any_bytes_is_read_or_refused() {
    check!(name = "message").with_iterations(ITERATIONS).for_each(|data: &[u8]| check(message, data));
}

#[test]
fn edited_definition_is_read_or_refused() {
    let corpus = corpus("definition");
    let edited = check!().with_type::<Edited>().map(|edited| edited.of(&corpus));
    edited.with_test_time(TIME).for_each(|text| check(definition, text.as_bytes()));
}

#[test]
fn edited_expression_is_read_or_refused() {
    let corpus = corpus("expression");
    let edited = check!().with_type::<Edited>().map(|edited| edited.of(&corpus));
    edited.with_test_time(TIME).for_each(|text| check(expression, text.as_bytes()));
}

#[test]
fn edited_message_is_read_or_refused() {
    let corpus = corpus("message");
    let edited = check!().with_type::<Edited>().map(|edited| edited.of(&corpus));
    edited.with_test_time(TIME).for_each(|text| check(message, text.as_bytes()));
}
