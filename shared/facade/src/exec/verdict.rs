//! Turns the end of a program into the attempt's output, or into the kind and the message of its failure.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;
use windlass_domain::limits::{MAX_ERROR_KIND_BYTES, MAX_OUTPUT_BYTES};
use windlass_domain::run::{ErrorInfo, Outcome};
use windlass_domain::time::Millis;
use windlass_domain::work::{ExecWork, StandardOutput};

use super::process::{Captured, Ended};
use super::scratch::Written;
use crate::bounded::{BYTE_ORDER_MARK, Head, as_written, json_or_text, message_with_tail, text};
use crate::kinds;

/// A program's output, and why it is not what the program printed.
#[derive(Debug, PartialEq)]
pub(super) struct Output {
    pub(super) value: Value,
    /// For people.
    pub(super) note: Option<String>,
}

impl From<Value> for Output {
    fn from(value: Value) -> Self {
        Self { value, note: None }
    }
}

/// The program's output: its output file if it wrote one, otherwise its standard output.
pub(super) fn output(work: &ExecWork, stdout: &Captured, file: Written) -> Result<Output, ErrorInfo> {
    match file {
        Written::Bytes(bytes) => {
            let value = json(work, &bytes, "the file $WINDLASS_OUTPUT")?;
            // The limit counts the text as JSON, in which it is longer.
            if is_too_large(&value) { Err(too_large("the output, as JSON,")) } else { Ok(value.into()) }
        }
        Written::TooMuch => Err(too_large("the file $WINDLASS_OUTPUT")),
        Written::Unreadable(why) => {
            let message = format!("the file $WINDLASS_OUTPUT can not be read: {why}");
            Err(ErrorInfo::new(kinds::OUTPUT_INVALID, message))
        }
        Written::Nothing => printed(work, &stdout.head),
    }
}

/// What a program printed. Most programs that print much print a log: that is no reason to fail.
fn printed(work: &ExecWork, stdout: &Head) -> Result<Output, ErrorInfo> {
    const WHAT: &str = "the standard output";
    let bytes = stdout.bytes();
    let value = match work.output {
        Some(StandardOutput::None) => return Ok(Value::Null.into()),
        Some(StandardOutput::Json) if stdout.overflowed() => return Err(too_large(WHAT)),
        Some(StandardOutput::Json) => json(work, bytes, WHAT)?,
        Some(StandardOutput::Text) => text(bytes),
        None => json_or_text(bytes),
    };
    if !stdout.overflowed() && !is_too_large(&value) {
        return Ok(value.into());
    }
    if work.output == Some(StandardOutput::Json) {
        return Err(too_large("the output, as JSON,"));
    }
    let note = format!("{WHAT} has more than {MAX_OUTPUT_BYTES} bytes, so the output is null");
    Ok(Output { value: Value::Null, note: Some(note) })
}

fn json(work: &ExecWork, bytes: &[u8], what: &str) -> Result<Value, ErrorInfo> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let value = serde_json::from_slice(bytes)
        .map_err(|error| ErrorInfo::new(kinds::OUTPUT_INVALID, format!("{what} is not JSON: {error}")))?;
    // An author who says `json` wants a number for a number.
    Ok(if work.output == Some(StandardOutput::Json) { value } else { as_written(value, bytes) })
}

fn is_too_large(value: &Value) -> bool {
    value.to_string().len() > MAX_OUTPUT_BYTES
}

fn too_large(what: &str) -> ErrorInfo {
    let message =
        format!("{what} has more than {MAX_OUTPUT_BYTES} bytes; keep large data elsewhere and give its place");
    ErrorInfo::new(kinds::OUTPUT_TOO_LARGE, message)
}

/// The JSON by which a program describes its own failure in `$WINDLASS_ERROR`.
#[derive(Debug, Default, Deserialize)]
struct OwnError {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
    /// Why the agent could not read it.
    #[serde(skip)]
    unread: Option<String>,
}

/// The failure of a program that exited with another code than 0, or was killed by a signal that was not ours.
pub(super) fn failure(work: &ExecWork, ended: &Ended, file: Written) -> ErrorInfo {
    let own = own_error(file);
    let (kind, what) = exit_kind(program(work), ended.status);
    let kind = own.kind.filter(|kind| is_kind(kind)).unwrap_or(kind);
    let what = own.message.filter(|message| !message.trim().is_empty()).unwrap_or(what);
    let what = match own.unread {
        Some(why) => format!("{what}; the file $WINDLASS_ERROR {why}"),
        None => what,
    };
    ErrorInfo::new(kind, message_with_tail(what.trim(), &last_words(ended)))
}

fn own_error(file: Written) -> OwnError {
    let unread = |why: String| OwnError { unread: Some(why), ..OwnError::default() };
    let bytes = match file {
        Written::Bytes(bytes) => bytes,
        Written::Nothing => return OwnError::default(),
        Written::TooMuch => return unread("is too long to be read".to_owned()),
        Written::Unreadable(why) => return unread(format!("can not be read: {why}")),
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        let message = Some(String::from_utf8_lossy(&bytes).into_owned());
        OwnError { message, ..OwnError::default() }
    })
}

/// A kind is what policies are matched against: words of letters, digits, `-` and `_`, with dots between them.
fn is_kind(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    text.len() <= MAX_ERROR_KIND_BYTES && text.split('.').all(word)
}

fn exit_kind(program: &str, status: ExitStatus) -> (String, String) {
    if let Some(signal) = status.signal() {
        let name = signal_name(signal);
        return (format!("signal.{name}"), format!("`{program}` was killed by {name}"));
    }
    let code = status.code().unwrap_or(-1);
    let kind = match code {
        75 => kinds::TEMPORARY.to_owned(),
        77 => kinds::AUTH_DENIED.to_owned(),
        _ => format!("exit.{code}"),
    };
    (kind, format!("`{program}` exited with code {code}"))
}

/// The signals that end a process; their numbers are the platform's.
const SIGNALS: [(Signal, &str); 18] = [
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::ILL, "SIGILL"),
    (Signal::TRAP, "SIGTRAP"),
    (Signal::ABORT, "SIGABRT"),
    (Signal::BUS, "SIGBUS"),
    (Signal::FPE, "SIGFPE"),
    (Signal::KILL, "SIGKILL"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::PIPE, "SIGPIPE"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::TERM, "SIGTERM"),
    (Signal::XCPU, "SIGXCPU"),
    (Signal::XFSZ, "SIGXFSZ"),
    (Signal::SYS, "SIGSYS"),
];

fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// The end of the standard error, or of the standard output if the standard error is empty.
fn last_words(ended: &Ended) -> String {
    let said = ended.stderr.text();
    if said.is_empty() { ended.stdout.tail.text() } else { said }
}

/// The failure of a program that did not start.
pub(super) fn not_started(work: &ExecWork, error: &io::Error) -> ErrorInfo {
    let program = program(work);
    let (kind, what) = if error.kind() == io::ErrorKind::NotFound {
        (kinds::EXEC_NOT_FOUND, format!("there is no program `{program}`, or no interpreter of it"))
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        (kinds::EXEC_DENIED, format!("`{program}` may not be executed"))
    } else if error.kind() == io::ErrorKind::ArgumentListTooLong {
        (kinds::EXEC_INVALID, format!("the arguments and variables of `{program}` are too long together"))
    } else if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) {
        (kinds::EXEC_DENIED, format!("`{program}` is no program: does its first line lack `#!`?"))
    } else {
        (kinds::EXEC_SPAWN, format!("`{program}` could not be started"))
    };
    ErrorInfo::new(kind, format!("{what}: {error}"))
}

/// An attempt whose time was over, after it was stopped.
pub(super) fn timed_out(allowed: Millis, ended: &Ended) -> Outcome {
    let what = format!("took longer than {allowed} and was stopped");
    Outcome::TimedOut { error: ErrorInfo::new(kinds::TIMEOUT, message_with_tail(&what, &last_words(ended))) }
}

fn program(work: &ExecWork) -> &str {
    work.command.first().map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_kind(text: &str, expected: bool) {
        assert_eq!(is_kind(text), expected, "{text}");
    }

    #[test]
    fn kinds_are_dotted_words() {
        check_kind("auth.password", true);
        check_kind("x", true);
        check_kind("", false);
        check_kind("a..b", false);
        check_kind("a b", false);
        check_kind(&"x".repeat(MAX_ERROR_KIND_BYTES + 1), false);
    }
}
