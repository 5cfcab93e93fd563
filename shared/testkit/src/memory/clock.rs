//! The clock that a test sets. Between two settings it goes with tokio's clock, paused or not.

use std::time::Duration;

use tokio::time::Instant;
use windlass_domain::time::{Millis, Timestamp};

pub(super) struct SetClock {
    shown: Timestamp,
    since: Instant,
    began: Instant,
}

impl SetClock {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { shown: now, since: Instant::now(), began: Instant::now() }
    }

    /// Steps the wall clock: no time passes by that.
    pub(super) fn set(&mut self, now: Timestamp) {
        (self.shown, self.since) = (now, Instant::now());
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shown.plus(Millis(passed))
    }
}
