//! What led to a change of the record.
//!
//! Each part of the record keeps the source of its last change. So an input that comes again finds its own effects,
//! even if other parts have changed since. A part that another input has changed since belongs to that input.

use serde::{Deserialize, Serialize};

use crate::ids::ActionIndex;

/// The source of a change: the kind of the input, and the action whose report or timer it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub enum Source {
    /// The changed action itself: a report of its agent, its timer, or a kill.
    #[default]
    Itself,
    /// The start of the run.
    Start,
    /// A pause.
    Pause,
    /// The end of a pause.
    Resume,
    /// A retry of the whole run.
    Retry,
    /// A cancellation.
    Cancel,
    /// The run's own timer: its deadline, or the end of what was cancelled.
    Timer,
    /// The sweeper.
    Sweep,
    /// A pool without an agent.
    Unserved,
    /// Another action than the changed one.
    Action(ActionIndex),
}

/// The numbers of all sources but actions are below this one; an action's is its index above it.
const FIRST_ACTION: u32 = 16;
const OF_RUNS: [Source; 9] = [
    Source::Itself,
    Source::Start,
    Source::Pause,
    Source::Resume,
    Source::Retry,
    Source::Cancel,
    Source::Timer,
    Source::Sweep,
    Source::Unserved,
];

impl Source {
    /// Whether it is the changed action itself.
    pub fn is_itself(&self) -> bool {
        *self == Self::Itself
    }

    /// The same, as that action keeps it.
    #[must_use]
    pub fn seen_by(self, action: ActionIndex) -> Self {
        if self == Self::Action(action) { Self::Itself } else { self }
    }
}

impl From<u32> for Source {
    fn from(number: u32) -> Self {
        let action = number.checked_sub(FIRST_ACTION).map(|index| Self::Action(ActionIndex(index)));
        action.or_else(|| OF_RUNS.get(number as usize).copied()).unwrap_or_default()
    }
}

impl From<Source> for u32 {
    fn from(source: Source) -> Self {
        match source {
            Source::Itself => 0,
            Source::Start => 1,
            Source::Pause => 2,
            Source::Resume => 3,
            Source::Retry => 4,
            Source::Cancel => 5,
            Source::Timer => 6,
            Source::Sweep => 7,
            Source::Unserved => 8,
            Source::Action(ActionIndex(index)) => FIRST_ACTION.saturating_add(index),
        }
    }
}
