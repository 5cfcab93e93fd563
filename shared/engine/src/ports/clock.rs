//! The clock.

use std::time::Duration;

use windlass_domain::time::Timestamp;

/// What time it is, and how much time has passed. Sleeping is tokio's, whose clock a test can pause.
pub trait Clock: Send + Sync {
    /// The wall clock of this host. A person or NTP may set it, also back.
    fn now(&self) -> Timestamp;

    /// The time of a host on one machine that nothing steps: it began as the wall clock showed, counts elapsed time, also
    /// over restarts, and every process on the host's store reads it alike. Each run counts its time by it
    /// ([`windlass_domain::run::Run::time`]). None: the host has only wall clocks, which many machines keep together.
    fn steady(&self) -> Option<Timestamp> {
        None
    }

    /// What stamps what is held for some time: the steady clock, or the wall clock of a host that has no other.
    fn stamp(&self) -> Timestamp {
        self.steady().unwrap_or_else(|| self.now())
    }

    /// The time since some fixed instant: it goes on while the machine sleeps, and no step of the wall clock moves it
    /// (Linux: `CLOCK_BOOTTIME`). Rights that run out are measured by it.
    fn elapsed(&self) -> Duration;
}
