//! The bench of every test of a facade: an attempt, its performer, and a look at processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_domain::ids::{ActionIndex, ActionName, RunId, TaskName};
use windlass_domain::run::{ActionAt, ErrorInfo, Outcome, Progress};
use windlass_domain::time::{Millis, Timestamp};
use windlass_domain::work::{ExecWork, Work};
use windlass_engine::perform::{Attempt, AttemptControl, Performer as _, idempotency_key};
use windlass_engine::ports::Clock;
use windlass_facade::{ExecSettings, FacadeSettings, Facades};

/// The time that the clock of every test shows, for ever: 2026-03-29T01:30:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_774_747_800_000);

/// A wall clock that stands still, on a machine that a test lets sleep.
struct StoppedClock {
    since: Instant,
    slept_ms: Arc<AtomicU64>,
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn elapsed(&self) -> Duration {
        self.since.elapsed() + Duration::from_millis(self.slept_ms.load(Ordering::Relaxed))
    }
}

/// Facades and the folder that a test's programs work in.
pub(crate) struct Bench {
    pub(crate) settings: FacadeSettings,
    slept_ms: Arc<AtomicU64>,
    folder: tempfile::TempDir,
}

/// An attempt that is being performed.
pub(crate) struct Performing {
    pub(crate) stop: CancellationToken,
    pub(crate) progress: watch::Receiver<Option<Progress>>,
    pub(crate) saved: watch::Receiver<Option<Value>>,
    pub(crate) control: AttemptControl,
    pub(crate) task: tokio::task::JoinHandle<Outcome>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = folder.path().join("scratch");
        std::fs::create_dir(&scratch).expect("a folder for attempts");
        let exec = ExecSettings { scratch: Some(scratch), ..ExecSettings::default() };
        let slept_ms = Arc::<AtomicU64>::default();
        let clock = Arc::new(StoppedClock { since: Instant::now(), slept_ms: slept_ms.clone() });
        let settings = FacadeSettings { exec, ..FacadeSettings::new(clock) };
        Self { settings, slept_ms, folder }
    }

    /// The machine sleeps: time passes, and no timer of tokio notices.
    pub(crate) fn sleep(&self, span: Millis) {
        self.slept_ms.fetch_add(span.0, Ordering::Relaxed);
    }

    pub(crate) fn with_exec(mut self, change: impl FnOnce(&mut ExecSettings)) -> Self {
        change(&mut self.settings.exec);
        self
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The shell script as work, in the test's folder.
    pub(crate) fn sh(&self, script: &str) -> ExecWork {
        ExecWork {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            stdin: None,
            env: [].into(),
            workdir: Some(self.folder.path().to_str().expect("UTF-8").to_owned()),
            output: None,
        }
    }

    pub(crate) fn start(&self, attempt: Attempt) -> Performing {
        let facades = Facades::new(self.settings.clone()).expect("facades");
        let stop = CancellationToken::new();
        let (control, progress) = AttemptControl::new(stop.clone());
        let control = control.taking_up(attempt.checkpoint.clone());
        let (saved, given) = (control.saved(), control.clone());
        let task = tokio::spawn(async move { facades.perform(attempt, given).await });
        Performing { stop, progress, saved, control, task }
    }

    pub(crate) async fn perform(&self, attempt: Attempt) -> Outcome {
        self.start(attempt).end().await
    }

    /// Performs the script and expects its output.
    pub(crate) async fn output(&self, script: &str) -> Value {
        succeeded(self.perform(attempt(Work::Exec(self.sh(script)))).await)
    }

    /// Performs the script and expects its failure.
    pub(crate) async fn failure(&self, script: &str) -> ErrorInfo {
        failed(self.perform(attempt(Work::Exec(self.sh(script)))).await)
    }

    /// Waits until a program has written this file, and gives its text.
    pub(crate) async fn written(&self, name: &str) -> String {
        let path = self.path(name);
        eventually(&format!("{name} is written"), || {
            std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))
        })
        .await;
        std::fs::read_to_string(&path).expect("just seen")
    }

    /// No attempt has left anything in the folder for temporary files.
    pub(crate) fn is_clean(&self) -> bool {
        std::fs::read_dir(self.path("scratch")).expect("a folder").next().is_none()
    }
}

impl Performing {
    /// How the attempt ended. A minute is far more than any test takes, also on a busy machine.
    pub(crate) async fn end(self) -> Outcome {
        tokio::time::timeout(Duration::from_mins(1), self.task).await.expect("hangs").expect("panicked")
    }
}

pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(crate) fn attempt(work: Work) -> Attempt {
    let task = TaskName::new("nightly").expect("a name");
    let run = RunId::from_key(&task, "a run");
    Attempt {
        run,
        task,
        version: 7,
        name: ActionName::new("extract").expect("a name"),
        of: ActionAt { action: ActionIndex(2), attempt: 3 },
        fence: 5,
        work,
        timeout: None,
        deadline: None,
        idempotency_key: idempotency_key(run, ActionIndex(2)),
        checkpoint: None,
        trace: Some(TRACE.to_owned()),
    }
}

pub(crate) fn timed(work: Work, timeout: u64) -> Attempt {
    Attempt { timeout: Some(Millis(timeout)), ..attempt(work) }
}

pub(crate) fn succeeded(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Succeeded { output } => output,
        other @ (Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Cancelled) => {
            panic!("not succeeded: {other:?}")
        }
    }
}

pub(crate) fn failed(outcome: Outcome) -> ErrorInfo {
    match outcome {
        Outcome::Failed { error } => error,
        other @ (Outcome::Succeeded { .. } | Outcome::TimedOut { .. } | Outcome::Cancelled) => {
            panic!("not failed: {other:?}")
        }
    }
}

pub(crate) fn timed_out(outcome: Outcome) -> ErrorInfo {
    match outcome {
        Outcome::TimedOut { error } => error,
        other @ (Outcome::Succeeded { .. } | Outcome::Failed { .. } | Outcome::Cancelled) => {
            panic!("not timed out: {other:?}")
        }
    }
}

/// Waits until it is so, for at most a minute.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// Waits until none of the processes, one number a line, runs any more. A zombie does not run.
pub(crate) async fn all_dead(numbers: &str) {
    for number in numbers.split_whitespace() {
        eventually(&format!("process {number} is dead"), || !is_running(number)).await;
    }
}

fn is_running(number: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(number).join("stat")).unwrap_or_default();
    let state = status.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !(state.is_empty() || state.starts_with(['Z', 'X']))
}
