//! A run is an aggregate.

use std::sync::Arc;

use super::change::{Change, Rejection};
use super::command::Command;
use super::fact::Fact;
use super::input::Input;
use super::state::Run;
use super::table::decide;
use crate::aggregate::Aggregate;
use crate::caller::Caller;
use crate::definition::Definition;
use crate::ids::RunId;
use crate::time::Timestamp;

impl Aggregate for Run {
    type Id = RunId;
    type Input = Input;
    type Context = Arc<Definition>;
    type Fact = Fact;
    type Command = Command;
    type Refusal = Rejection;

    fn id(&self) -> &RunId {
        &self.id
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn decide(&self, definition: &Arc<Definition>, input: &Input, caller: &Caller, now: Timestamp) -> Change {
        decide(definition, self, input, caller, now)
    }

    /// Every decision changes the status of something, or the progress of an attempt, or only when the run is to be woken.
    fn differs_from(&self, before: &Self) -> bool {
        before.status_revision != self.status_revision
            || before.wake_at != self.wake_at
            || !self.actions.changed_since(&before.actions).is_empty()
    }
}
