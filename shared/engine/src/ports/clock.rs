//! The clock.

use std::time::Duration;

use windlass_domain::time::Timestamp;

/// What time it is, and how much time has passed. Sleeping is tokio's, whose clock a test can pause.
pub trait Clock: Send + Sync {
    /// The wall clock of this host. A person or NTP may set it, also back.
    fn now(&self) -> Timestamp;

    /// The time since some fixed instant: it goes on while the machine sleeps, and no step of the wall clock moves it
    /// (Linux: `CLOCK_BOOTTIME`). Rights that run out are measured by it.
    fn elapsed(&self) -> Duration;
}
