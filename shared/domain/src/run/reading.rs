//! What the expressions of one step read, and what it costs.

use super::state::Run;
use crate::content::{Place, Wanted};
use crate::limits::{MAX_EXPRESSION_WORK, MAX_STEP_READ_BYTES, MAX_STEP_WORK};

/// What the expressions of one step have read so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reading {
    /// The values that they have visited and made.
    pub(crate) evaluated: u64,
    /// Bytes of the values that stand apart and that they have read.
    bytes: u64,
    /// Places whose values they read and that are not loaded.
    pub(crate) wanted: Wanted,
}

impl Reading {
    /// Reads these places of a run; false if the value of one must be loaded first. What they cost counts either way, so that
    /// a step wants no more than it will read.
    pub(crate) fn read(&mut self, run: &Run, places: impl IntoIterator<Item = Place>) -> bool {
        let mut is_there = true;
        for place in places {
            self.bytes += run.apart(place).map_or(0, |apart| apart.bytes);
            if run.lacks(place) {
                self.wanted.insert(place);
                is_there = false;
            }
        }
        is_there
    }

    /// Whether the step has read and evaluated so much that it takes up nothing further. One more action still fits, and
    /// after it the run's output.
    pub(crate) fn is_spent(&self) -> bool {
        self.evaluated > MAX_STEP_WORK - 2 * MAX_EXPRESSION_WORK || self.bytes > MAX_STEP_READ_BYTES
    }
}
