//! The clock.

use windlass_domain::time::Timestamp;

/// What time it is. Sleeping is tokio's, whose clock a test can pause.
pub trait Clock: Send + Sync {
    /// The time, by this host's clock.
    fn now(&self) -> Timestamp;
}
