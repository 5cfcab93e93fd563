//! How long to wait before trying a failed call of a host again.

use std::time::Duration;

/// How long a message stays hidden that could not be handled: a second, two, four, up to five minutes by its receives.
/// So a host may be out of reach for hours before its reader gives the message up.
pub fn again_after(receive_count: u32) -> Duration {
    const LONGEST: Duration = Duration::from_mins(5);
    let doubled = 1_u64.checked_shl(receive_count.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(doubled).min(LONGEST)
}

/// Grows from one wait to the next up to a cap, spread over its whole width.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// Between calls that failed because the host is busy or out of reach.
    pub(crate) fn of_failures() -> Self {
        Self { next: Duration::from_millis(50), most: Duration::from_secs(5) }
    }

    /// Between writes that met another writer: the first wait is about as long as a write takes on AWS. A writer that
    /// comes back sooner meets the next one and pays for a write in vain.
    pub(crate) fn of_conflicts() -> Self {
        Self { next: Duration::from_millis(16), most: Duration::from_millis(400) }
    }

    /// Waits, and will wait longer the next time.
    pub(crate) async fn wait(&mut self) {
        // From half of it to the whole, by the thread's generator: a simulated world seeds it.
        let wait = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(self.most);
        tokio::time::sleep(wait).await;
    }
}
