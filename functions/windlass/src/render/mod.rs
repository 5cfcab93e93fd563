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

use crate::failure::{Exit, Failure};
use crate::terminal;

/// Writes to standard output, for people. A reader that has gone (a closed pipe) ends the program quietly; any other failure
/// ends it with a message and exit code 2.
pub(crate) fn print(text: &str) {
    written(write(text));
}

/// Writes to standard output, for people, and goes on if that fails: what the program is there for is not its output.
pub(crate) fn print_if_possible(text: &str) {
    drop(write(text));
}

/// Writes to standard error, for people. A failure is passed over: there is no other place to tell it.
pub(crate) fn print_error(text: &str) {
    drop(io::stderr().write_all(terminal::shown(text).as_bytes()));
}

/// A value as JSON for people and for programs: indented, one line's end after it.
pub(crate) fn print_json<T: Serialize>(value: &T) {
    let text = serde_json::to_string_pretty(value).expect("what is printed has text keys");
    written(write_raw(&(terminal::escaped(&text) + "\n")));
}

/// A value as one line of JSON.
pub(crate) fn print_json_line<T: Serialize>(value: &T) {
    written(write_raw(&json_line(value)));
}

/// A value as one line of JSON. The program goes on if it can not be written.
pub(crate) fn print_json_line_if_possible<T: Serialize>(value: &T) {
    drop(write_raw(&json_line(value)));
}

fn json_line<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string(value).expect("what is printed has text keys");
    terminal::escaped(&text) + "\n"
}

fn write(text: &str) -> io::Result<()> {
    write_raw(&terminal::shown(text))
}

fn write_raw(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn written(result: io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            let failure = Failure::new("WL0611", Exit::Usage, format!("failed to write to standard output: {error}"));
            failure.report(false);
            std::process::exit(Exit::Usage as i32);
        }
    }
}

/// Whether standard output is a terminal that can draw in place.
pub(crate) fn can_draw() -> bool {
    let kind = std::env::var_os("TERM").unwrap_or_default();
    console::user_attended() && !kind.is_empty() && kind != "dumb"
}

/// `NO_COLOR` wins over everything that asks for colours.
pub(crate) fn settle_colours() {
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        console::set_colors_enabled(false);
        console::set_colors_enabled_stderr(false);
    }
}

/// The result of a command: its exit code, or its failure.
pub(crate) type Ended = Result<ExitCode, Failure>;
