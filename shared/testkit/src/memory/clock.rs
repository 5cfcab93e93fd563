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
        let began = Instant::now();
        Self { shown: now, since: began, began }
    }

    pub(super) fn set(&mut self, now: Timestamp) {
        *self = Self { began: self.began, ..Self::new(now) };
    }

    /// No setting of the clock moves it.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shown.plus(Millis(passed))
    }
}
