//! An agent that is out of file descriptors, processes or memory: that is its own fault, and no attempt's.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use windlass_domain::run::Outcome;
use windlass_engine::perform::AttemptControl;

/// How long the agent keeps an attempt that it can not begin. By then another may have ended.
const PAUSE: Duration = Duration::from_secs(2);

/// Whether the agent lacks what it needs to begin anything.
pub(crate) fn is(error: &io::Error) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
    lacking.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Whether the agent has said that it lacks something.
#[derive(Debug, Default)]
pub(crate) struct Starved(AtomicBool);

impl Starved {
    /// The agent can not begin the attempt, and says so once.
    pub(crate) fn hand_back(&self, error: &io::Error, control: &AttemptControl) -> Outcome {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the agent can not start its work; it hands attempts back until it can");
        }
        control.hand_back(PAUSE)
    }

    /// The agent has begun something.
    pub(crate) fn over(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            tracing::info!("the agent can start its work again");
        }
    }
}
