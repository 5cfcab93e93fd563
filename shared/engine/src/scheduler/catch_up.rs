//! How a task that has many due times behind it catches up: a few at a time, and never so many that others wait for it. Its
//! messages and attempts stand in the same queues as those of all other tasks. A task catches up if it has more due times behind
//! it than are fired together.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use windlass_domain::definition::Definition;
use windlass_domain::ids::TaskName;
use windlass_domain::limits::MAX_FIRED_TOGETHER;

use crate::Ports;
use crate::ports::{PortError, QueueName};

/// How long a task that catches up lets others in between.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// How long it waits for its pools at most. A task that is due each second gets on by 10 due times in that time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Due times of all tasks that catch up in one look, and messages that may wait in the inbox by then.
const MAX_BEHIND: u64 = 50;

/// The tasks that would catch up and had no room, and since when.
#[derive(Debug, Default)]
pub(super) struct CatchUp(Mutex<BTreeMap<TaskName, Duration>>);

impl CatchUp {
    /// Whether a task that catches up may fire some more. `room`: how many due times such tasks may still fire in this look. It
    /// fires none while an attempt waits in one of its pools: so all that waits there before the attempt of another task is
    /// what one turn has fired. If its pools are never idle, it has a turn all the same, now and then.
    pub(super) async fn has_room_for(
        &self,
        ports: &Ports,
        (task, definition): (&TaskName, &Definition),
        room: &mut Option<u64>,
    ) -> Result<bool, PortError> {
        let left = match *room {
            Some(left) => left,
            None => MAX_BEHIND.saturating_sub(ports.queues.depth(&QueueName::Inbox).await?),
        };
        *room = Some(left);
        if !self.has_waited(ports, task, definition, left > 0).await? {
            return Ok(false);
        }
        *room = Some(left.saturating_sub(MAX_FIRED_TOGETHER as u64));
        Ok(true)
    }

    /// Whether there is room and its pools are idle, or it has waited for that for long enough.
    async fn has_waited(
        &self,
        ports: &Ports,
        task: &TaskName,
        definition: &Definition,
        has_room: bool,
    ) -> Result<bool, PortError> {
        let mut is_idle = has_room;
        for pool in pools(definition) {
            is_idle = is_idle && ports.queues.depth(&pool).await? == 0;
        }
        let now = ports.clock.elapsed();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_idle && now.saturating_sub(*held.entry(task.clone()).or_insert(now)) < LONGEST_PAUSE {
            return Ok(false);
        }
        held.remove(task);
        Ok(true)
    }
}

fn pools(definition: &Definition) -> Vec<QueueName> {
    let mut pools: Vec<_> = definition.actions.iter().map(|action| action.pool.clone()).collect();
    pools.sort_unstable();
    pools.dedup();
    pools.into_iter().map(QueueName::Pool).collect()
}
