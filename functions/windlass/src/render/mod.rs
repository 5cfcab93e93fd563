//! Output for people: trees of runs, tables, events, faults of files. This module never talks to a host.

pub(crate) mod events;
pub(crate) mod faults;
pub(crate) mod live;
pub(crate) mod outline;
pub(crate) mod span;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod tree;

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::Failure;

/// Writes to standard output. Who stopped reading (a closed pipe) ends the program quietly.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes a value as JSON for people and for programs: indented, one line's end after it.
pub(crate) fn print_json<T: Serialize>(value: &T) {
    let text = serde_json::to_string_pretty(value).expect("what is printed has text keys");
    print(&(text + "\n"));
}

/// Writes a value as one line of JSON.
pub(crate) fn print_json_line<T: Serialize>(value: &T) {
    let text = serde_json::to_string(value).expect("what is printed has text keys");
    print(&(text + "\n"));
}

/// The result of a command: its exit code, or its failure.
pub(crate) type Ended = Result<ExitCode, Failure>;
