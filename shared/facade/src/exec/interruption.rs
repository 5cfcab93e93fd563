//! Whether a program was asked to end together with its agent.
//!
//! systemd stops a service by a signal to each of its processes: to the agent, its guard and its programs. A machine that
//! shuts down does the same. The agent can not see the signals of its programs. So it draws two conclusions:
//!
//! - A signal that asks for an end has come to the guard, and the agent drains: every program has had that signal, too.
//! - Such a signal ended a program, and the agent drains.
//!
//! In both, the agent may hear of its own signal a moment later.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;
use windlass_domain::run::Outcome;
use windlass_engine::perform::AttemptControl;

use super::guard::Guard;

/// How long after a program the agent may hear of its own signal, on a busy machine.
const APART: Duration = Duration::from_secs(3);
/// How long after a program the signal may reach the guard.
const SOON: Duration = Duration::from_millis(100);
/// The signals that ask a process to end.
const ASKING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
/// A shell adds it to the number of the signal that ended its child or came to its trap.
const SIGNALLED: i32 = 128;

/// One program's view of its agent's end.
pub(super) struct Interruption<'a> {
    control: &'a AttemptControl,
    guard: Option<&'a Guard>,
    /// From here on a signal may reach the program.
    since: Instant,
}

impl<'a> Interruption<'a> {
    /// Looks from now on.
    pub(super) fn new(control: &'a AttemptControl, guard: Option<&'a Guard>) -> Self {
        Self { control, guard, since: Instant::now() }
    }

    /// Whether a program that failed was asked to end, together with its agent.
    pub(super) async fn failed(&self, status: ExitStatus) -> bool {
        if !is_asking(status) && !self.guard_is_asked().await {
            sleep(SOON).await;
            if !self.guard_is_asked().await {
                return false;
            }
        }
        self.agent_drains().await
    }

    /// Whether a program that ended with code 0, and shows no work, was asked to end, together with its agent.
    pub(super) async fn succeeded(&self) -> bool {
        self.guard_is_asked().await && self.agent_drains().await
    }

    /// The answer for a program that was asked to end together with its agent: its attempt is handed back.
    pub(super) fn hand_back(&self) -> Outcome {
        self.control.hand_back(Duration::ZERO)
    }

    async fn guard_is_asked(&self) -> bool {
        let Some(guard) = self.guard else { return false };
        guard.asked_to_end().await.is_some_and(|asked| asked >= self.since)
    }

    /// Whether the agent drains, or soon does.
    async fn agent_drains(&self) -> bool {
        tokio::select! {
            biased;
            () = self.control.draining.cancelled() => true,
            () = self.control.stop.cancelled() => false,
            () = sleep(APART) => false,
        }
    }
}

/// Whether a signal that asks for an end ended the program, or a program says so of itself by its exit code.
fn is_asking(status: ExitStatus) -> bool {
    let signal = status.signal().or_else(|| status.code()?.checked_sub(SIGNALLED));
    signal.is_some_and(|signal| ASKING.iter().any(|asking| asking.as_raw() == signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_ask_for_an_end_are_told_apart() {
        for (wait_status, expected) in
            [(15, true), (2, true), (1, true), (9, false), (11, false), (0, false), (143 << 8, true), (130 << 8, true)]
        {
            assert_eq!(is_asking(ExitStatus::from_raw(wait_status)), expected, "{wait_status}");
        }
        for code in [1, 15, 127, 128, 137, 255] {
            assert!(!is_asking(ExitStatus::from_raw(code << 8)), "{code}");
        }
    }
}
