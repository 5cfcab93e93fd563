//! The wall clock of a host on one machine: people and NTP set it by hours, either way, while the host runs. What has a steady
//! clock keeps its time.

use std::sync::atomic::{AtomicI64, Ordering};

use windlass_domain::time::Timestamp;

use super::chance::Chance;
use super::plan::{Kind, Plan};

/// The worlds whose wall clock is set, in a million. The others are on many machines, and have no steady clock.
const SET_IN: u32 = 300_000;

pub(super) struct Wall {
    pub(super) is_set: bool,
    /// Milliseconds that it is ahead.
    ahead: AtomicI64,
}

impl Wall {
    pub(super) fn of(plan: &Plan) -> Self {
        // A schedule goes by the wall clock: its due times are others then.
        let is_set = plan.kind != Kind::Scheduled && Chance::of(plan.seed, "wall").hits(SET_IN);
        Self { is_set, ahead: AtomicI64::new(0) }
    }

    /// Sets it so many milliseconds ahead.
    pub(super) fn set(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    pub(super) fn of_steady(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    pub(super) fn to_steady(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().saturating_sub(self.ahead.load(Ordering::Relaxed)))
    }
}
