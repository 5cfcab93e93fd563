//! Performs programs. `docs/exec.md` says what a program may rely on.
//!
//! The agent starts a program from its argv, never through a shell, as the leader of its own process group. When the
//! attempt has ended, for any reason, no process of the group runs any more.

mod environment;
mod file;
mod guard;
mod interruption;
mod process;
mod progress;
mod scratch;
mod verdict;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::process::{Resource, prlimit};
use tokio::process::{Child, Command};
use windlass_domain::run::{ErrorInfo, Outcome};
use windlass_domain::time::Timestamp;
use windlass_domain::work::ExecWork;
use windlass_engine::perform::{Attempt, AttemptControl};

pub use environment::Credentials;
pub use guard::run_guard;

use crate::error::FacadeError;
use crate::kinds;
#[cfg(target_os = "linux")]
use crate::open_files::open_files_before;
use crate::starved::{self, Starved};
use crate::time::Time;
use guard::Guard;
use interruption::Interruption;
use process::{Cause, Ended, Supervision};
use progress::ProgressFile;
use scratch::{Leftovers, Scratch, Written};

/// The variable of the trace context, as OpenTelemetry's command lines read it. The action's own wins.
const TRACE_VARIABLE: &str = "TRACEPARENT";

/// How programs are run.
#[derive(Debug, Clone)]
pub struct ExecSettings {
    /// How long a program has from SIGTERM to SIGKILL.
    pub grace: Duration,
    /// How long after a program's exit its background processes may still write to its standard output.
    pub linger: Duration,
    /// How often the agent looks at a program's progress file.
    pub progress_every: Duration,
    /// The environment that every program gets. By default it is the agent's own, without the agent's credentials of
    /// AWS and without any `WINDLASS_` variable. So the API's token and the place of the host's data stay with the
    /// agent.
    pub env: BTreeMap<OsString, OsString>,
    /// Where the private folders of attempts are made; absent: the system's folder for temporary files.
    pub scratch: Option<PathBuf>,
    /// The command that runs [`run_guard`], such as `windlass exec-guard`; absent: programs outlive an agent that dies
    /// without ending them, by SIGKILL for one.
    pub guard: Option<Vec<OsString>>,
}

impl Default for ExecSettings {
    fn default() -> Self {
        Self::passing(Credentials::default())
    }
}

impl ExecSettings {
    /// The defaults, with or without the agent's credentials in the environment of its programs.
    pub fn passing(credentials: Credentials) -> Self {
        Self {
            grace: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            progress_every: Duration::from_millis(200),
            env: environment::inheritable(std::env::vars_os(), credentials),
            scratch: None,
            guard: None,
        }
    }

    /// The same settings, with no more than these variables of the agent in the environment of its programs. A name may end
    /// in `*`, which stands for any text. All may pass if there is no list.
    #[must_use]
    pub fn allowing(mut self, names: Option<&[String]>) -> Self {
        if let Some(names) = names {
            self.env.retain(|name, _| environment::is_allowed(name, names));
        }
        self
    }
}

/// The facade for programs.
pub(crate) struct Exec {
    settings: ExecSettings,
    guard: Option<Guard>,
    leftovers: Leftovers,
    starved: Starved,
}

impl Exec {
    pub(crate) fn new(settings: ExecSettings) -> Result<Self, FacadeError> {
        let guard = settings.guard.as_deref().map(Guard::start).transpose()?;
        Ok(Self { settings, guard, leftovers: Leftovers::default(), starved: Starved::default() })
    }

    /// Runs the program of one attempt to its end.
    pub(crate) async fn perform(
        &self,
        work: &ExecWork,
        attempt: &Attempt,
        time: &Time,
        control: &AttemptControl,
    ) -> Outcome {
        match self.try_perform(work, attempt, time, control).await {
            Ok(outcome) => outcome,
            Err(NotPerformed::Io(error)) if starved::is(&error) => self.starved.hand_back(&error, control),
            Err(NotPerformed::Io(error)) => Outcome::Failed { error: agent_io(&error) },
            Err(NotPerformed::Failed(error)) => Outcome::Failed { error },
        }
    }

    async fn try_perform(
        &self,
        work: &ExecWork,
        attempt: &Attempt,
        time: &Time,
        control: &AttemptControl,
    ) -> Result<Outcome, NotPerformed> {
        let until = time.left.map(|left| time.now.plus(left));
        let scratch = Scratch::new(self.settings.scratch.as_deref(), &self.leftovers).await?;
        let mut watched = self.guard.as_ref().map(|guard| guard.watch(scratch.path()));
        let mut command = self.command(work, attempt, until, &scratch)?;
        // Another thread made the folder, and that may have taken long: the right to begin may be gone.
        if !control.may_begin() {
            scratch.remove().await;
            return Ok(Outcome::Cancelled);
        }
        // A signal that comes between this and the start may reach the program.
        let interruption = Interruption::new(control, self.guard.as_ref());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if starved::is(&error) => return Err(error.into()),
            Err(error) => return Err(verdict::not_started(work, &error).into()),
        };
        self.starved.over();
        lower_open_files(&child);
        if let (Some(watched), Some(group)) = (&mut watched, child.id()) {
            watched.group(group);
        }
        let supervision = Supervision {
            input: environment::stdin(work, attempt, until),
            stop: &control.stop,
            time,
            grace: self.settings.grace,
            linger: self.settings.linger,
            progress_every: self.settings.progress_every,
            folder: scratch.path(),
            progress: ProgressFile::new(scratch.progress(), control),
        };
        let ended = supervision.run(&mut child).await?;
        let outcome = conclude((work, time, control), &ended, &scratch, &interruption).await;
        scratch.remove().await;
        Ok(outcome)
    }

    /// The command with everything that the program gets but its standard input's text.
    fn command(
        &self,
        work: &ExecWork,
        attempt: &Attempt,
        until: Option<Timestamp>,
        scratch: &Scratch,
    ) -> Result<Command, ErrorInfo> {
        environment::check(work)?;
        let [program, arguments @ ..] = work.command.as_slice() else {
            return Err(ErrorInfo::new(kinds::EXEC_INVALID, "the command is empty"));
        };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.settings.env);
        command.envs(attempt.trace.iter().map(|trace| (TRACE_VARIABLE, trace))).envs(&work.env);
        command.envs(environment::variables(attempt, until, scratch));
        if let Some(workdir) = &work.workdir {
            if !Path::new(workdir).is_dir() {
                return Err(ErrorInfo::new(kinds::EXEC_WORKDIR, format!("the folder `{workdir}` is not there")));
            }
            command.current_dir(workdir);
        }
        let piped = std::process::Stdio::piped;
        command.stdin(piped()).stdout(piped()).stderr(piped()).process_group(0).kill_on_drop(true);
        Ok(command)
    }
}

/// The outcome of a program that has ended, by its exit and by the files that it wrote.
async fn conclude(
    (work, time, control): (&ExecWork, &Time, &AttemptControl),
    ended: &Ended,
    scratch: &Scratch,
    interruption: &Interruption<'_>,
) -> Outcome {
    let result = match (ended.cause, ended.status.success()) {
        (Cause::Exit, true) => {
            let written = scratch.read_output().await;
            if written == Written::Nothing && interruption.succeeded().await {
                return interruption.hand_back();
            }
            verdict::output(work, &ended.stdout, written)
        }
        (Cause::Exit, false) if interruption.failed(ended.status).await => return interruption.hand_back(),
        (Cause::Exit, false) => Err(verdict::failure(work, ended, scratch.read_error().await)),
        // Many programs end with code 0 on SIGTERM. Only an output file shows that the program finished its work.
        (Cause::Stop, true) => match scratch.read_output().await {
            Written::Nothing => return Outcome::Cancelled,
            written @ (Written::Bytes(_) | Written::TooMuch | Written::Unreadable(_)) => {
                verdict::output(work, &ended.stdout, written)
            }
        },
        (Cause::Stop, false) => return Outcome::Cancelled,
        (Cause::Timeout, _) => return verdict::timed_out(time.left.unwrap_or_default(), ended),
    };
    match result {
        Ok(verdict::Output { value: output, note }) => {
            if let Some(note) = note {
                tracing::warn!(note, "a program's output is not kept");
                control.note(note);
            }
            Outcome::Succeeded { output }
        }
        Err(error) => Outcome::Failed { error },
    }
}

/// Gives a program the bound on open files that its agent had before it raised its own.
fn lower_open_files(child: &Child) {
    #[cfg(target_os = "linux")]
    if let (Some(before), Some(id)) = (open_files_before(), child.id())
        && let Err(error) = prlimit(guard::pid(id), Resource::Nofile, before)
    {
        tracing::debug!(%error, "a program has its agent's bound on open files");
    }
}

/// Why a program was not performed to its end.
#[derive(Debug)]
enum NotPerformed {
    /// The agent's own files or processes.
    Io(io::Error),
    Failed(ErrorInfo),
}

impl From<io::Error> for NotPerformed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ErrorInfo> for NotPerformed {
    fn from(error: ErrorInfo) -> Self {
        Self::Failed(error)
    }
}

fn agent_io(error: &io::Error) -> ErrorInfo {
    ErrorInfo::new(kinds::AGENT_IO, format!("the agent's own files or processes failed: {error}"))
}
