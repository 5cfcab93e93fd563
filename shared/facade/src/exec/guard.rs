//! The guard: a small process beside the agent that ends the agent's programs when the agent dies without doing so.
//!
//! Through a pipe, the agent tells the guard of every attempt's folder and process group. The kernel closes the pipe
//! when the agent dies, by any cause; the guard then kills every group that is still open. On Linux, it also kills
//! every process whose environment names an open attempt's folder. Such a process may have started in the moment of the
//! agent's death, or may have left its group. A parent-death signal would reach only the first process of each program,
//! and depends on the thread that started it. If the guard dies, the agent starts another with its next message.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

use super::environment::{self, Credentials};
use crate::error::FacadeError;

/// The guard's process name. It differs from the agent's, so that `pkill` of the agent spares the guard.
const PROCESS_NAME: &str = "exec-guard";
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
}

/// The agent's end.
#[derive(Debug)]
pub(super) struct Guard {
    command: Vec<OsString>,
    state: Mutex<State>,
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
        let process = spawn(command).map_err(failed)?;
        Ok(Self { command: command.to_vec(), state: Mutex::new(State { process, open: Open::new() }) })
    }

    /// Has the guard watch an attempt until the answer is dropped.
    pub(super) fn watch(&self, folder: &Path) -> Watched<'_> {
        self.tell(Word::Open { folder: folder.to_owned() });
        Watched { guard: self, folder: folder.to_owned() }
    }

    fn tell(&self, word: Word) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let told = write(&mut state.process, &word);
        if let Err(error) = &told
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::warn!(%error, "the exec guard can not be told: a program would outlive a killed agent");
            return;
        }
        note(&mut state.open, word);
        if told.is_ok() {
            return;
        }
        tracing::warn!("the exec guard has ended; another is started");
        if let Err(error) = self.replace(&mut state) {
            tracing::warn!(%error, "no exec guard can be started: programs would outlive a killed agent");
        }
    }

    /// Starts another guard, and gives it all open attempts.
    fn replace(&self, state: &mut State) -> io::Result<()> {
        // One that lives would take the end of its pipe for the agent's.
        let _ = state.process.kill();
        end(&mut state.process);
        state.process = spawn(&self.command)?;
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

fn spawn(command: &[OsString]) -> io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    // Programs can read the guard's environment, because it runs as the same user.
    command.env_clear().envs(environment::inheritable(std::env::vars_os(), Credentials::None));
    command.arg0(PROCESS_NAME).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).spawn()
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
    for (folder, group) in read_words(BufReader::new(io::stdin())) {
        if let Some(group) = group.and_then(pid) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        kill_bearers(&folder);
        let _ = std::fs::remove_dir_all(&folder);
    }
    ExitCode::SUCCESS
}

/// Reads the agent's words to their end; gives the attempts that are open then.
fn read_words(words: impl BufRead) -> Open {
    let mut open = Open::new();
    for line in words.lines() {
        let Ok(line) = line else { break };
        // The agent may have been killed in the middle of a line.
        if let Ok(word) = serde_json::from_str(&line) {
            note(&mut open, word);
        }
    }
    open
}

fn pid(number: u32) -> Option<Pid> {
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

    #[test]
    fn guard_ends_only_open_attempts() {
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
        let open = read_words(words.join("\n").as_bytes());
        assert_eq!(open, [(folder("/runs"), Some(11)), (folder("/starts"), None)].into());
    }

    #[test]
    fn replaced_guard_learns_the_open_attempts() {
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
        let open = read_words(&told[..]);
        assert_eq!(open, [(PathBuf::from("/first"), Some(10)), (PathBuf::from("/second"), None)].into());
    }
}
