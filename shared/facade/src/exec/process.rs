//! A running program: its group, its pipes, its end.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::guard::kill_bearers;
use super::progress::ProgressFile;
use crate::bounded::{Head, Tail};
use crate::time::Time;

/// Bytes that are read from a pipe at once: the size of a pipe of Linux.
const CHUNK_BYTES: usize = 64 * 1024;
/// How often the agent looks whether a stopped group has ended.
const GROUP_POLL: Duration = Duration::from_millis(50);

/// A program's standard output. The agent keeps both its ends: its head and its tail.
#[derive(Debug, Default)]
pub(super) struct Captured {
    /// The beginning, for the output.
    pub(super) head: Head,
    /// The end, for a failure's message.
    pub(super) tail: Tail,
}

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The cause of its end.
    pub(super) cause: Cause,
    /// How it exited.
    pub(super) status: ExitStatus,
    /// The beginning and the end of its standard output.
    pub(super) stdout: Captured,
    /// The end of its standard error.
    pub(super) stderr: Tail,
}

/// The cause of a program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It ended by itself.
    Exit,
    /// The agent wanted it to end.
    Stop,
    /// Its time was over.
    Timeout,
}

/// How a program is accompanied to its end.
pub(super) struct Supervision<'a> {
    /// The bytes of its standard input.
    pub(super) input: Vec<u8>,
    /// Cancelled when it is to end.
    pub(super) stop: &'a CancellationToken,
    /// How long it may run.
    pub(super) time: &'a Time,
    /// From SIGTERM to SIGKILL.
    pub(super) grace: Duration,
    /// From its exit to the SIGKILL of the processes that it left running.
    pub(super) linger: Duration,
    /// Its private folder, which stands in the environment of every process that it starts.
    pub(super) folder: &'a Path,
    /// How often the agent reads its progress.
    pub(super) progress_every: Duration,
    /// Its progress.
    pub(super) progress: ProgressFile<'a>,
}

impl Supervision<'_> {
    /// Feeds, reads and waits for the program. When this returns, nothing of its group runs; when it is dropped
    /// instead, the group is killed.
    pub(super) async fn run(mut self, child: &mut Child) -> io::Result<Ended> {
        let group = Group::of(child)?;
        let (mut stdout, mut stderr) = (Captured::default(), Tail::default());
        let close_stdin = CancellationToken::new();
        let (cause, status) = {
            let input = std::mem::take(&mut self.input);
            let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let feeding = feed(stdin, &input, &close_stdin);
            let reading = async {
                tokio::join!(
                    drain(out, |chunk| {
                        stdout.head.push(chunk);
                        stdout.tail.push(chunk);
                    }),
                    drain(err, |chunk| stderr.push(chunk)),
                )
            };
            let pipes = async { tokio::join!(feeding, reading) };
            tokio::pin!(pipes);
            let mut pipes = Pipes { done: false, pipes };
            let (cause, exited) = self.until_ended(child, &mut pipes).await?;
            let status = if let Some(status) = exited {
                status
            } else {
                close_stdin.cancel();
                let status = self.end(child, &group, &mut pipes).await?;
                end_daemons(self.folder).await;
                status
            };
            let _ = timeout(self.linger, pipes.finish()).await;
            (cause, status)
        };
        drop(group);
        self.progress.read().await;
        Ok(Ended { cause, status, stdout, stderr })
    }

    /// Waits until the program exits, or has to end; the exit wins when both have happened.
    async fn until_ended(
        &mut self,
        child: &mut Child,
        pipes: &mut Pipes<impl Future + Unpin>,
    ) -> io::Result<(Cause, Option<ExitStatus>)> {
        let mut ticks = interval_at(Instant::now() + self.progress_every, self.progress_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let time = self.time;
        let time_over = time.over();
        tokio::pin!(time_over);
        loop {
            tokio::select! {
                biased;
                status = child.wait() => return Ok((Cause::Exit, Some(status?))),
                () = self.stop.cancelled() => return Ok((Cause::Stop, None)),
                () = &mut time_over => return Ok((Cause::Timeout, None)),
                _ = ticks.tick() => self.progress.read().await,
                () = pipes.finish(), if !pipes.done => {}
            }
        }
    }

    /// Asks the group to end, gives it its grace, then kills it; how the program exited.
    async fn end(
        &self,
        child: &mut Child,
        group: &Group,
        pipes: &mut Pipes<impl Future + Unpin>,
    ) -> io::Result<ExitStatus> {
        group.ask_to_end();
        let everyone_gone = async {
            let mut status = None;
            loop {
                tokio::select! {
                    biased;
                    exited = child.wait(), if status.is_none() => status = Some(exited?),
                    () = pipes.finish(), if !pipes.done => {}
                    () = sleep(GROUP_POLL) => {}
                }
                // The program's children have the same grace: the program may be a shell that died before them.
                if let Some(status) = status
                    && group.is_gone()
                {
                    return io::Result::Ok(status);
                }
            }
        };
        if let Ok(status) = timeout(self.grace, everyone_gone).await {
            return status;
        }
        group.kill();
        loop {
            tokio::select! {
                biased;
                status = child.wait() => return status,
                () = pipes.finish(), if !pipes.done => {}
            }
        }
    }
}

/// Kills the processes of a stopped program that have left its group. One that exits by itself may leave a daemon: that
/// is its own will.
async fn end_daemons(folder: &Path) {
    let folder = folder.to_owned();
    if spawn_blocking(move || kill_bearers(&folder)).await.is_err() {
        tracing::error!("looking for what a program has left running panicked");
    }
}

/// The work of a program's three pipes; done when all of them are closed.
struct Pipes<F> {
    done: bool,
    pipes: F,
}

impl<F: Future + Unpin> Pipes<F> {
    async fn finish(&mut self) {
        if !self.done {
            (&mut self.pipes).await;
            self.done = true;
        }
    }
}

/// Writes the program's input and closes the pipe. A program that does not read it is within its rights.
async fn feed(stdin: Option<ChildStdin>, input: &[u8], close: &CancellationToken) {
    let Some(mut stdin) = stdin else { return };
    tokio::select! {
        _ = stdin.write_all(input) => {}
        () = close.cancelled() => {}
    }
}

/// Reads a pipe to its end, keeping no more than what `keep` keeps.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, mut keep: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        keep(&chunk[..length]);
    }
}

/// The process group that a program leads. It is killed when this is dropped.
struct Group(Pid);

impl Group {
    fn of(child: &Child) -> io::Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        id.map(Self).ok_or_else(|| io::Error::other("a program that was just started has no process id"))
    }

    /// SIGTERM to all of it, and SIGCONT, for a stopped process would not hear of it.
    fn ask_to_end(&self) {
        let _ = kill_process_group(self.0, Signal::TERM);
        let _ = kill_process_group(self.0, Signal::CONT);
    }

    fn kill(&self) {
        // An error says that the group has no process left.
        let _ = kill_process_group(self.0, Signal::KILL);
    }

    /// Whether no process of the group runs. A zombie that its parent does not reap stays in its group for ever.
    fn is_gone(&self) -> bool {
        test_kill_process_group(self.0) == Err(rustix::io::Errno::SRCH) || has_only_zombies(self.0) == Some(true)
    }
}

/// Whether every process of the group has ended; `None` where there is no `/proc` that tells.
fn has_only_zombies(group: Pid) -> Option<bool> {
    let processes = std::fs::read_dir("/proc").ok()?;
    let mut found = false;
    for process in processes.flatten() {
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        // `pid (name) state ppid pgrp ...`: the name may have spaces and brackets of its own.
        let mut fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ')).into_iter().flatten();
        let (state, member_of) = (fields.next(), fields.nth(1).and_then(|pgrp| pgrp.parse::<i32>().ok()));
        if member_of == Some(group.as_raw_nonzero().get()) {
            found = true;
            if !matches!(state, Some("Z" | "X")) {
                return Some(false);
            }
        }
    }
    Some(found)
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
