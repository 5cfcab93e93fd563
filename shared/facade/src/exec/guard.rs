//! The guard: a small process beside the agent that ends the agent's programs when the agent dies without doing so.
//!
//! The agent tells it through a pipe of every attempt's folder and process group. When the pipe breaks, which the kernel
//! sees to however the agent died, the guard kills every group that is still open. On Linux it also kills whatever
//! carries an open attempt's folder in its environment: a program that was started in the very moment of the agent's
//! death, or one that left its group. A parent-death signal would reach the first process of each program alone, and
//! depends on the thread that started it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::error::FacadeError;

/// The guard's name among the processes, so that whoever kills the agent by its name does not kill the guard with it.
const PROCESS_NAME: &str = "exec-guard";
/// How often the guard looks for processes that have just been forked before it gives up.
const MAX_SEARCHES: u32 = 20;

/// What the agent tells: one line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
enum Word {
    /// A program is about to be started with this folder.
    Open { folder: PathBuf },
    /// It leads this process group.
    Group { folder: PathBuf, group: u32 },
    /// It has ended, and nothing of it is left.
    Closed { folder: PathBuf },
}

/// The agent's end.
#[derive(Debug)]
pub(super) struct Guard {
    process: Mutex<Child>,
}

impl Guard {
    /// Starts the guard by the command that runs [`run_guard`].
    pub(super) fn start(command: &[OsString]) -> Result<Self, FacadeError> {
        let (program, arguments) = match command {
            [program, arguments @ ..] => (program.clone(), arguments),
            [] => (OsString::new(), command),
        };
        let child = Command::new(&program)
            .arg0(PROCESS_NAME)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        match child {
            Ok(process) => Ok(Self { process: Mutex::new(process) }),
            Err(source) => Err(FacadeError::Guard { program: program.to_string_lossy().into_owned(), source }),
        }
    }

    /// Has the guard watch an attempt until the answer is dropped.
    pub(super) fn watch(&self, folder: &Path) -> Watched<'_> {
        self.tell(&Word::Open { folder: folder.to_owned() });
        Watched { guard: self, folder: folder.to_owned() }
    }

    fn tell(&self, word: &Word) {
        if let Err(error) = self.try_tell(word) {
            tracing::warn!(%error, "the exec guard does not listen: programs would outlive a killed agent");
        }
    }

    fn try_tell(&self, word: &Word) -> io::Result<()> {
        let mut line = serde_json::to_vec(word)?;
        line.push(b'\n');
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut process.stdin {
            Some(pipe) => pipe.write_all(&line),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(process.stdin.take());
        let _ = process.wait();
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
        self.guard.tell(&Word::Group { folder: self.folder.clone(), group });
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.guard.tell(&Word::Closed { folder: std::mem::take(&mut self.folder) });
    }
}

/// The guard itself, as the whole work of a process that [`ExecSettings::guard`](super::ExecSettings) names: reads its
/// standard input to the end, then ends what is still open.
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

/// Reads to the end what the agent tells; the attempts that are still open then.
fn read_words(words: impl BufRead) -> BTreeMap<PathBuf, Option<u32>> {
    let mut open = BTreeMap::new();
    for line in words.lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Word::Open { folder }) => drop(open.insert(folder, None)),
            Ok(Word::Group { folder, group }) => drop(open.insert(folder, Some(group))),
            Ok(Word::Closed { folder }) => drop(open.remove(&folder)),
            // A line that the agent was killed in the middle of.
            Err(_) => {}
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
}

/// The processes whose environment has the mark. A zombie's environment is empty; where there is no `/proc`, there is
/// nobody to be found.
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
    fn only_what_is_still_open_is_ended() {
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
}
