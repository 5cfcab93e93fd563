//! The time of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use windlass_domain::time::Timestamp;
use windlass_engine::ports::Clock;

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(now_ms())
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    now_micros() / 1000
}

/// Microseconds since the epoch; 0 on a machine whose clock stands before it.
pub(crate) fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
