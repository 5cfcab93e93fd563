//! Pools that nobody serves: what waits in them says so. It is told to people and changes nothing else.

use super::again;
use super::step::Step;
use crate::ids::PoolName;
use crate::run::{ActionStatus, EventKind, RunStatus};
use crate::time::Timestamp;

/// Tells of every attempt that waits in the pool that nobody serves it since then, once for its whole stay. A run that
/// is ending does not: what it has queued is cancelled in a moment.
pub(super) fn unserved(step: &mut Step<'_>, pool: &PoolName, since: Timestamp) {
    if !matches!(step.run.status, RunStatus::Running | RunStatus::Paused) {
        return;
    }
    for action in step.definition.indexes() {
        let state = step.state(action);
        if state.status != ActionStatus::Queued || step.action(action).pool != *pool {
            continue;
        }
        if state.unserved.is_some() {
            again::publish_unserved(step, action);
            continue;
        }
        let since = state.queued_at.map_or(since, |queued_at| queued_at.max(since));
        let of = step.at(action);
        step.emit(EventKind::ActionUnserved { of, pool: pool.clone(), since });
    }
}
