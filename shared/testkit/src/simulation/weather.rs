//! The faults of a plan, one call at a time, as long as they last.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass_domain::time::Millis;

use super::chance::Chance;
use super::plan::Faults;

/// How long a slow call takes.
pub(super) const SLOW: std::ops::Range<Duration> = Duration::from_millis(500)..Duration::from_secs(40);

pub(super) struct Weather {
    chance: Chance,
    faults: Faults,
    well_at: Mutex<Instant>,
}

impl Weather {
    pub(super) fn new(seed: u64, faults: &Faults) -> Self {
        let lasts = faults.blackout.map_or(faults.last, |(begins, lasts)| faults.last.max(begins + lasts));
        Self {
            chance: Chance::of(seed, "weather"),
            faults: faults.clone(),
            well_at: Mutex::new(Instant::now() + lasts),
        }
    }

    /// When the last fault is over.
    pub(super) fn well_at(&self) -> Instant {
        *self.well_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No fault comes from now on.
    pub(super) fn clears(&self) {
        *self.well_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_bad(&self) -> bool {
        Instant::now() < self.well_at()
    }

    fn hits(&self, rate: impl FnOnce(&Faults) -> u32) -> bool {
        self.is_bad() && self.chance.hits(rate(&self.faults))
    }

    pub(super) fn latency(&self) -> Duration {
        if self.hits(|faults| faults.slow) {
            return self.chance.span(SLOW);
        }
        if self.is_bad() {
            return self.chance.span(Duration::from_millis(1)..self.faults.latency.max(Duration::from_millis(2)));
        }
        Duration::from_millis(1)
    }

    pub(super) fn dies_before(&self) -> bool {
        self.hits(|faults| faults.dies_before)
    }

    pub(super) fn dies_after(&self) -> bool {
        self.hits(|faults| faults.dies_after)
    }

    pub(super) fn refuses(&self) -> bool {
        self.hits(|faults| faults.refused)
    }

    pub(super) fn leaves_unanswered(&self) -> bool {
        self.hits(|faults| faults.unanswered)
    }

    pub(super) fn conflicts(&self) -> bool {
        self.hits(|faults| faults.conflicts)
    }

    pub(super) fn shows_old(&self) -> bool {
        self.hits(|faults| faults.old_glances)
    }

    pub(super) fn duplicates(&self) -> bool {
        self.hits(|faults| faults.duplicates)
    }

    pub(super) fn loses(&self) -> bool {
        self.hits(|faults| faults.losses)
    }

    /// By how much a message is late.
    pub(super) fn delay(&self) -> Millis {
        if !self.hits(|faults| faults.delays) {
            return Millis(0);
        }
        let span = self.chance.span(Duration::from_millis(1)..self.faults.delay);
        Millis(u64::try_from(span.as_millis()).unwrap_or(0))
    }
}
