//! Failures of a command: each with a code, a cause, what to do next, and the exit code that scripts see.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use console::style;
use serde_json::{Value, json};
use windlass_domain::run::RunStatus;
use windlass_embedded::OpenError;
use windlass_host::HostError;

use crate::terminal;

/// The exit codes beside 0. Every command uses these, and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 1: the command waited for a run, and the run did not succeed.
    RunFailed = 1,
    /// 2: bad usage, a bad definition or input, or something that does not exist.
    Usage = 2,
    /// 3: the client cannot reach the host, or the host refuses the token.
    /// The same if a host or an agent cannot use its data folder.
    Unreachable = 3,
    /// 4: the time for waiting was over.
    TimedOut = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The exit code of a command that has waited for a run: 0 if the run succeeded, otherwise 1.
    pub(crate) fn of_run(status: RunStatus) -> ExitCode {
        if status.is_success() { ExitCode::SUCCESS } else { Self::RunFailed.into() }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Failure(Box<Told>);

/// The parts of a failure that the command line prints, as text or as JSON.
#[derive(Debug)]
struct Told {
    /// A stable code with a page in `docs/errors`.
    code: String,
    message: String,
    help: Option<String>,
    exit: Exit,
    details: Value,
}

impl Failure {
    pub(crate) fn new(code: &str, exit: Exit, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), message.into());
        Self(Box::new(Told { code, message, help: None, exit, details: Value::Null }))
    }

    /// The next step for the user.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// More, for those who read JSON.
    pub(crate) fn details(mut self, details: Value) -> Self {
        self.0.details = details;
        self
    }

    /// WL0603: the command cannot use an argument.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new("WL0603", Exit::Usage, message)
    }

    /// WL0611: the command cannot read or write a file or folder.
    pub(crate) fn file(doing: &str, path: &std::path::Path, error: impl Display) -> Self {
        Self::new("WL0611", Exit::Usage, format!("failed to {doing} {}: {error}", path.display()))
    }

    /// Whether the host was not there: it may come back.
    pub(crate) fn is_absence(&self) -> bool {
        self.0.exit == Exit::Unreachable && !matches!(self.0.code.as_str(), "WL0602" | "WL0615")
    }

    /// Its code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &str {
        &self.0.code
    }

    /// Tells it on standard error and gives the exit code. A closed pipe is no failure worth words.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let text =
            if json { terminal::escaped(&format!("{}\n", self.to_json())) } else { terminal::shown(&self.to_text()) };
        drop(io::stderr().write_all(text.as_bytes()));
        self.0.exit.into()
    }

    fn to_json(&self) -> Value {
        let Told { code, message, help, exit, details } = &*self.0;
        let mut error = json!({ "code": code, "message": message, "exit": *exit as u8 });
        if let Some(help) = help {
            error["help"] = json!(help);
        }
        if !details.is_null() {
            error["details"] = details.clone();
        }
        json!({ "error": error })
    }

    fn to_text(&self) -> String {
        let Told { code, message, help, .. } = &*self.0;
        let help = help.as_ref().map(|help| format!("{}: {help}\n", style("help").cyan().for_stderr()));
        format!("{} [{code}]: {message}\n{}", style("error").red().bold().for_stderr(), help.unwrap_or_default())
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let (exit, help) = match &error {
            HostError::Open(OpenError::SecondHost { .. }) => {
                (Exit::Unreachable, Some("the other commands talk to the host that runs: try `windlass runs`"))
            }
            HostError::Open(OpenError::Folder { .. }) => {
                (Exit::Unreachable, Some("name a folder that you may write: --data DIR"))
            }
            HostError::Open(OpenError::Foreign { .. }) => {
                (Exit::Unreachable, Some("choose another folder: --data DIR"))
            }
            HostError::Open(OpenError::Newer { .. }) => (Exit::Unreachable, Some("use the newer version of windlass")),
            HostError::Open(OpenError::Storage { .. }) => {
                (Exit::Unreachable, Some("docs/errors has a page for the code"))
            }
            HostError::Emptied(_) => {
                (Exit::Unreachable, Some("restore a backup of it, or remove `token` and `windlass.db` to begin anew"))
            }
            HostError::Folder { .. } => (Exit::Unreachable, None),
            HostError::Remote(_) => (
                Exit::Usage,
                Some("say --allow-remote, with --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy"),
            ),
            HostError::Tls { .. } => {
                (Exit::Usage, Some("name the certificate by --tls-cert and its key by --tls-key, in PEM"))
            }
            HostError::Listen { .. } => {
                (Exit::Usage, Some("choose another address: --listen 127.0.0.1:0 takes a free port"))
            }
            HostError::Agent(_) => (Exit::Usage, None),
            HostError::PartEnded => (Exit::Unreachable, Some("start it again; the log above says what happened")),
            HostError::Store(error) if error.code == "WL0317" => (
                Exit::Unreachable,
                Some("put the file back before you start it again, or it begins with what is there now"),
            ),
            HostError::Store(_) => (
                Exit::Unreachable,
                Some("start it again: it reads what is on the disk and goes on; what was accepted is not lost"),
            ),
        };
        let failure = Self::new(error.code(), exit, format!("failed to {error}"));
        match help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_code_message_help_and_exit() {
        let failure = Failure::usage("`x` is not JSON").help("quote it");
        assert_eq!(
            failure.to_json(),
            json!({ "error": { "code": "WL0603", "message": "`x` is not JSON", "help": "quote it", "exit": 2 } })
        );
    }
}
