//! The clock.

use std::time::Duration;

use windlass_domain::time::Timestamp;

/// What time it is. Sleeping is tokio's, whose clock a test can pause.
pub trait Clock: Send + Sync {
    /// The time, by this host's clock.
    fn now(&self) -> Timestamp;

    /// The time since some fixed instant: it goes on while the machine sleeps, and no step of the wall clock moves it
    /// (Linux: `CLOCK_BOOTTIME`). Rights that run out are measured by it.
    fn elapsed(&self) -> Duration;
}
