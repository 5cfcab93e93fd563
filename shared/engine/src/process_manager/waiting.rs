//! What waits in a pool that nobody serves: looked at again before it is said, and when a run is looked at again.

use std::borrow::Cow;
use std::collections::BTreeSet;

use windlass_domain::ids::PoolName;
use windlass_domain::run::{ActionStatus, Input, Run};
use windlass_domain::time::Millis;

use super::{Group, ProcessManager};
use crate::effects::{Effects, unserved};
use crate::ports::PortError;

impl ProcessManager {
    /// The inputs without those that say that no agent serves a pool which has one by now.
    pub(super) async fn still_true<'g>(&self, group: &'g Group) -> Cow<'g, Group> {
        if !group.inputs.iter().any(|given| matches!(given.input, Input::Unserved { .. })) {
            return Cow::Borrowed(group);
        }
        let mut kept = Group { run: group.run, inputs: Vec::new(), places: Vec::new() };
        for (given, place) in group.inputs.iter().zip(&group.places) {
            if let Input::Unserved { pool, .. } = &given.input
                && self.pools.unserved_since(pool).await.is_none()
            {
                continue;
            }
            kept.inputs.push(given.clone());
            kept.places.push(*place);
        }
        Cow::Owned(kept)
    }

    /// Has a run that was looked at a second time say which pools of its queued attempts nobody serves, where it has not:
    /// their agents may have gone after the attempts were sent.
    pub(super) async fn tell_of_pools(&self, run: &Run, effects: &mut Effects) -> Result<(), PortError> {
        if !run.status.goes_on() || run.in_flight == 0 {
            return Ok(());
        }
        let definition = self.definitions.get(&run.task, run.version).await?;
        let is_untold = |status, told: bool| status == ActionStatus::Queued && !told;
        let waiting = definition.indexes().zip(run.actions.iter());
        let untold = waiting.filter(|(_, state)| is_untold(state.status, state.unserved.is_some()));
        let pools: BTreeSet<&PoolName> = untold.map(|(action, _)| &definition.action(action).pool).collect();
        for pool in pools {
            if let Some(since) = self.pools.unserved_since(pool).await {
                effects.messages.push(unserved(run.id, pool.clone(), since, Millis(0)));
            }
        }
        Ok(())
    }
}
