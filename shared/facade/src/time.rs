//! The time of an attempt.
//!
//! Elapsed time decides when it is over, also if the machine sleeps meanwhile. Tokio's timers stand still then, so a
//! wait looks at the clock every [`LOOK_EVERY`]. The grace of stopped work is tokio's, because the work slept as well.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::perform::Attempt;
use windlass_engine::ports::Clock;

/// How long after the machine has woken an attempt goes on whose time is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The time of an attempt.
#[derive(Clone)]
pub(crate) struct Time {
    /// When it begins, by the wall clock.
    pub(crate) now: Timestamp,
    /// How long it may take.
    pub(crate) left: Option<Millis>,
    clock: Arc<dyn Clock>,
    /// When it begins, as elapsed time.
    began: Duration,
}

impl Time {
    /// The time of an attempt that begins.
    pub(crate) fn of(attempt: &Attempt, clock: &Arc<dyn Clock>) -> Self {
        let (now, began) = (clock.now(), clock.elapsed());
        Self { now, left: attempt.time_left(now), clock: clock.clone(), began }
    }

    /// Waits until the attempt's time is over: for ever if it has no end.
    pub(crate) async fn over(&self) {
        match self.left {
            Some(left) => self.over_after(left.as_duration()).await,
            None => pending().await,
        }
    }

    /// Waits until so much time has passed since the attempt began.
    pub(crate) async fn over_after(&self, span: Duration) {
        loop {
            let left = span.saturating_sub(self.clock.elapsed().saturating_sub(self.began));
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK_EVERY)).await;
        }
    }
}
