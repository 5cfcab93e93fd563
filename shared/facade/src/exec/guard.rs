//! The guard: a small process beside the agent that ends the agent's programs when the agent dies without doing so.
//!
//! Through a pipe, the agent tells the guard of every attempt's folder and process group. The kernel closes the pipe
//! when the agent dies, by any cause; the guard then kills every group that is still open. On Linux, it also kills
//! every process whose environment names an open attempt's folder. Such a process may have started in the moment of the
//! agent's death, or may have left its group. A parent-death signal would reach only the first process of each program,
//! and depends on the thread that started it. If the guard dies, the agent starts another with its next message.
//!
//! The guard outlives every signal that asks a process to end, and answers the agent whether there was one. Such a signal
//! reaches the guard when all processes of a service are stopped at once: then it reached the programs, too.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};
use tokio::net::unix::pipe;
use tokio::runtime;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::environment::{self, Credentials};
use crate::error::FacadeError;

/// The guard's process name. It differs from the agent's, so that `pkill` of the agent spares the guard.
const PROCESS_NAME: &str = "exec-guard";
/// How long the agent waits for an answer of the guard.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How often the guard looks for processes that have just been forked before it gives up.
const MAX_SEARCHES: u32 = 20;

/// A message from the agent to the guard: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
enum Word {
    /// A program is about to be started with this folder.
    Open { folder: PathBuf },
    /// It leads this process group.
    Group { folder: PathBuf, group: u32 },
    /// The attempt has ended, with all its processes.
    Closed { folder: PathBuf },
    /// A question: has a signal asked the guard to end?
    Ask { number: u64 },
}

/// The guard's answer to a question: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    number: u64,
    /// How long ago the last such signal came; absent: there was none.
    asked_ms_ago: Option<u64>,
}

/// The questions that wait for their answers.
type Questions = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Option<Instant>>>>>;

/// The agent's end.
#[derive(Debug)]
pub(super) struct Guard {
    command: Vec<OsString>,
    state: Mutex<State>,
    questions: Questions,
    next_question: AtomicU64,
}

#[derive(Debug)]
struct State {
    process: Child,
    /// The attempts that a new guard must learn of if this one dies.
    open: Open,
}

/// The folders of the attempts that are open, each with its process group, once there is one.
type Open = BTreeMap<PathBuf, Option<u32>>;

impl Guard {
    /// Starts the guard by the command that runs [`run_guard`].
    pub(super) fn start(command: &[OsString]) -> Result<Self, FacadeError> {
        let failed = |source| {
            let program = command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
            FacadeError::Guard { program, source }
        };
        let questions = Questions::default();
        let process = spawn(command, &questions).map_err(failed)?;
        let state = Mutex::new(State { process, open: Open::new() });
        Ok(Self { command: command.to_vec(), state, questions, next_question: AtomicU64::default() })
    }

    /// When a signal last asked the guard to end. A signal that came before the question is in the answer.
    pub(super) async fn asked_to_end(&self) -> Option<Instant> {
        let number = self.next_question.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        locked(&self.questions).insert(number, answer);
        let is_asked = self.tell(Word::Ask { number });
        // A guard that was killed gives no answer.
        let answer = if is_asked { timeout(ANSWER_WITHIN, answered).await.ok() } else { None };
        locked(&self.questions).remove(&number);
        answer?.ok()?
    }

    /// Has the guard watch an attempt until the answer is dropped.
    pub(super) fn watch(&self, folder: &Path) -> Watched<'_> {
        self.tell(Word::Open { folder: folder.to_owned() });
        Watched { guard: self, folder: folder.to_owned() }
    }

    /// Whether this guard has been told. Another one that takes its place knows what is open, and no question.
    fn tell(&self, word: Word) -> bool {
        let mut state = locked(&self.state);
        let told = write(&mut state.process, &word);
        if let Err(error) = &told
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::warn!(%error, "the exec guard can not be told: a program would outlive a killed agent");
            return false;
        }
        note(&mut state.open, word);
        if told.is_ok() {
            return true;
        }
        tracing::warn!("the exec guard has ended; another is started");
        if let Err(error) = self.replace(&mut state) {
            tracing::warn!(%error, "no exec guard can be started: programs would outlive a killed agent");
        }
        false
    }

    /// Starts another guard, and gives it all open attempts.
    fn replace(&self, state: &mut State) -> io::Result<()> {
        // One that lives would take the end of its pipe for the agent's.
        let _ = state.process.kill();
        end(&mut state.process);
        state.process = spawn(&self.command, &self.questions)?;
        for (folder, group) in &state.open {
            write(&mut state.process, &Word::Open { folder: folder.clone() })?;
            if let Some(group) = *group {
                write(&mut state.process, &Word::Group { folder: folder.clone(), group })?;
            }
        }
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        end(&mut self.state.get_mut().unwrap_or_else(PoisonError::into_inner).process);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(command: &[OsString], questions: &Questions) -> io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    // Programs can read the guard's environment, because it runs as the same user.
    command.env_clear().envs(environment::inheritable(std::env::vars_os(), Credentials::None));
    command.arg0(PROCESS_NAME).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut process = command.spawn()?;
    if let Some(answers) = process.stdout.take() {
        let questions = questions.clone();
        thread::Builder::new().name(PROCESS_NAME.to_owned()).spawn(move || hear(answers, &questions))?;
    }
    Ok(process)
}

/// Hears a guard's answers until it ends.
fn hear(answers: ChildStdout, questions: &Questions) {
    for line in BufReader::new(answers).lines().map_while(Result::ok) {
        let Ok(Answer { number, asked_ms_ago }) = serde_json::from_str(&line) else { continue };
        let asked = asked_ms_ago.and_then(|ago| Instant::now().checked_sub(Duration::from_millis(ago)));
        if let Some(answer) = locked(questions).remove(&number) {
            // Who asked may have given up.
            let _unread = answer.send(asked);
        }
    }
    locked(questions).clear();
}

fn write(process: &mut Child, word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    match &mut process.stdin {
        Some(pipe) => pipe.write_all(&line),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// Closes the pipe and waits for the guard's end.
fn end(process: &mut Child) {
    drop(process.stdin.take());
    let _ = process.wait();
}

/// Keeps the attempt of a word, or drops it.
fn note(open: &mut Open, word: Word) {
    match word {
        Word::Open { folder } => drop(open.insert(folder, None)),
        Word::Group { folder, group } => drop(open.insert(folder, Some(group))),
        Word::Closed { folder } => drop(open.remove(&folder)),
        Word::Ask { .. } => {}
    }
}

/// An attempt that the guard watches.
pub(super) struct Watched<'a> {
    guard: &'a Guard,
    folder: PathBuf,
}

impl Watched<'_> {
    /// The program has started.
    pub(super) fn group(&mut self, group: u32) {
        self.guard.tell(Word::Group { folder: self.folder.clone(), group });
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.guard.tell(Word::Closed { folder: std::mem::take(&mut self.folder) });
    }
}

/// The guard itself: the whole work of the process of [`ExecSettings::guard`](super::ExecSettings). It reads its
/// standard input to the end, then ends the programs of the attempts that are still open.
pub fn run_guard() -> ExitCode {
    // `ps` and `pkill` know it by this name.
    #[cfg(target_os = "linux")]
    let _named = rustix::thread::set_name(c"exec-guard");
    let listened = runtime::Builder::new_current_thread().enable_io().build().and_then(|runtime| {
        runtime.block_on(async {
            let words = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
            Ok(listen(tokio::io::BufReader::new(words), io::stdout(), &mut Signals::new()?).await)
        })
    });
    let open = match listened {
        Ok(open) => open,
        Err(error) => {
            tracing::error!(%error, "the exec guard can not listen");
            return ExitCode::FAILURE;
        }
    };
    for (folder, group) in open {
        if let Some(group) = group.and_then(pid) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        kill_bearers(&folder);
        let _ = std::fs::remove_dir_all(&folder);
    }
    ExitCode::SUCCESS
}

/// The signals that ask a process to end. None of them ends this one from now on.
struct Signals {
    listeners: [Listener; 4],
    last: Option<Instant>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
        let [terminate, interrupt, hang_up, quit] = kinds.map(signal);
        Ok(Self { listeners: [terminate?, interrupt?, hang_up?, quit?], last: None })
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        let [terminate, interrupt, hang_up, quit] = &mut self.listeners;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
            _ = quit.recv() => {}
        }
        self.last = Some(Instant::now());
    }

    /// How long ago the last one came, of those that have come by now.
    async fn last_ms_ago(&mut self) -> Option<u64> {
        // The runtime looks at what its signal handlers have left for it.
        tokio::task::yield_now().await;
        tokio::select! {
            biased;
            () = self.next() => {}
            () = std::future::ready(()) => {}
        }
        self.last.map(|last| u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Hears the agent's words to their end, and answers its questions; gives the attempts that are open then.
async fn listen(words: impl AsyncBufRead + Unpin, mut answers: impl io::Write, signals: &mut Signals) -> Open {
    let (mut open, mut lines) = (Open::new(), words.lines());
    loop {
        let line = tokio::select! {
            () = signals.next() => continue,
            line = lines.next_line() => line,
        };
        let Ok(Some(line)) = line else { return open };
        // The agent may have been killed in the middle of a line.
        match serde_json::from_str(&line) {
            Ok(Word::Ask { number }) => {
                let answer = Answer { number, asked_ms_ago: signals.last_ms_ago().await };
                let answer = serde_json::to_string(&answer).unwrap_or_default();
                // An agent that is gone reads nothing; the end of its words says so.
                let _unread = writeln!(answers, "{answer}");
            }
            Ok(word) => note(&mut open, word),
            Err(_) => {}
        }
    }
}

pub(super) fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// Kills every process that has the folder in its environment, and looks again until there is none.
pub(super) fn kill_bearers(folder: &Path) {
    let mark = [b"WINDLASS_OUTPUT=", folder.as_os_str().as_encoded_bytes(), b"/"].concat();
    for _ in 0..MAX_SEARCHES {
        let bearers = bearers(&mark);
        if bearers.is_empty() {
            return;
        }
        for bearer in bearers {
            let _ = kill_process(bearer, Signal::KILL);
        }
    }
    tracing::warn!(folder = %folder.display(), "a process of a stopped program was found again and again; it may run on");
}

/// The processes whose environment has the mark. A zombie's environment is empty. Without `/proc`, the list is empty.
fn bearers(mark: &[u8]) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let bears = |environment: &[u8]| environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark));
    processes
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok().and_then(pid))
        .filter(|process| {
            std::fs::read(format!("/proc/{}/environ", process.as_raw_nonzero())).is_ok_and(|environ| bears(&environ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attempts that are open after these words.
    async fn open_after(words: &[u8]) -> Open {
        listen(words, io::sink(), &mut Signals::new().expect("signals")).await
    }

    #[tokio::test]
    async fn guard_ends_only_open_attempts() {
        let word = |word| serde_json::to_string(&word).expect("a word");
        let folder = |name: &str| PathBuf::from(name);
        let words = [
            word(Word::Open { folder: folder("/ended") }),
            word(Word::Group { folder: folder("/ended"), group: 10 }),
            word(Word::Open { folder: folder("/runs") }),
            word(Word::Closed { folder: folder("/ended") }),
            word(Word::Group { folder: folder("/runs"), group: 11 }),
            word(Word::Open { folder: folder("/starts") }),
            r#"{"say":"clos"#.to_owned(),
        ];
        let open = open_after(words.join("\n").as_bytes()).await;
        assert_eq!(open, [(folder("/runs"), Some(11)), (folder("/starts"), None)].into());
    }

    #[tokio::test]
    async fn replaced_guard_learns_the_open_attempts() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!("exec cat > {}/$$", folder.path().display());
        let guard = Guard::start(&["sh".into(), "-c".into(), script.into()]).expect("started");
        let mut first = std::mem::ManuallyDrop::new(guard.watch(Path::new("/first")));
        first.group(10);
        drop(guard.watch(Path::new("/ended")));
        {
            let killed = &mut guard.state.lock().expect("nobody panicked").process;
            killed.kill().and_then(|()| killed.wait()).expect("an end");
        }
        let _second = std::mem::ManuallyDrop::new(guard.watch(Path::new("/second")));
        let another = guard.state.lock().expect("nobody panicked").process.id();
        drop(guard);
        let told = std::fs::read(folder.path().join(another.to_string())).expect("its words");
        let open = open_after(&told[..]).await;
        assert_eq!(open, [(PathBuf::from("/first"), Some(10)), (PathBuf::from("/second"), None)].into());
    }
}
