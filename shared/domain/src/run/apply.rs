//! Folding one event into the record. No rule stands here: whether an event may come to be is decided elsewhere.
use super::{Event, Run};
use crate::ids::ActionIndex;
/// Folds.
pub fn apply(run: &mut Run, event: &Event) {
    run.actions.get_mut(ActionIndex(0)).revision = event.at.as_millis().unsigned_abs();
}
