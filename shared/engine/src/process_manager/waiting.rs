//! Attempts that wait in a pool without agents, and when the process manager looks at a run again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use windlass_domain::ids::PoolName;
use windlass_domain::run::{ActionStatus, Input, Run};
use windlass_domain::time::Millis;

use super::{Group, ProcessManager};
use crate::effects::{Effects, tell_after, unserved};
use crate::ports::PortError;

impl ProcessManager {
    /// The inputs, without reports of an unserved pool that has an agent by now.
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

    /// At the second look at a run, reports each pool of its queued attempts that has no agent, once. The agents may
    /// have gone after the attempts were sent. For a young attempt the report still waits, since an agent that is being
    /// replaced comes back.
    pub(super) async fn tell_of_pools(&self, run: &Run, effects: &mut Effects) -> Result<(), PortError> {
        if !run.status.goes_on() || run.in_flight == 0 {
            return Ok(());
        }
        let definition = self.definitions.get(&run.task, run.version).await?;
        let now = self.ports.clock.now();
        let mut pools: BTreeMap<&PoolName, Millis> = BTreeMap::new();
        for (action, state) in definition.indexes().zip(run.actions.iter()) {
            if state.status == ActionStatus::Queued && state.unserved.is_none() {
                let (author, waited) = (definition.action(action), state.queued_at.map_or(0, |at| now.since(at).0));
                let left = Millis(tell_after(author.queue_timeout).0.saturating_sub(waited));
                pools.entry(&author.pool).and_modify(|least| *least = left.min(*least)).or_insert(left);
            }
        }
        for (pool, left) in pools {
            if let Some(since) = self.pools.unserved_since(pool).await {
                effects.messages.push(unserved(run.id, pool.clone(), since, left));
            }
        }
        Ok(())
    }
}
