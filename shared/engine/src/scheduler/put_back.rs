//! What happens to schedules when the wall clock is set back. Their places were moved by a clock that was ahead: without this,
//! nothing would be due until the clock shows that time again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use windlass_domain::ids::TaskName;
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::ports::{PortError, TaskRecord};

/// A clock that went back by less is no reason to look at all tasks. A due time is late by so much at most.
const STEP_MS: i64 = 1000;
/// Conflicting writes after which the look begins again.
const MAX_CONFLICTS: usize = 10;
/// Tasks that are looked at together.
const MAX_TASKS: usize = 100;

/// The look at all tasks after the clock was set back. There is one at the start, too: the clock may have been set while no
/// scheduler ran.
#[derive(Debug, Default)]
pub(super) struct PutBack(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How far the wall clock was ahead of the clock that counts elapsed time, at most, in milliseconds.
    ahead: Option<i64>,
    /// The task that was looked at last, while there are more.
    after: Option<TaskName>,
    is_done: bool,
}

impl State {
    /// Takes note of the clocks; whether there is something to look at.
    fn notices(&mut self, ahead: i64) -> bool {
        let most = self.ahead.unwrap_or(ahead);
        if self.ahead.is_none() || ahead < most.saturating_sub(STEP_MS) {
            *self = Self { ahead: Some(ahead), after: None, is_done: false };
        } else {
            self.ahead = Some(most.max(ahead));
        }
        !self.is_done
    }
}

impl PutBack {
    /// Looks at some more tasks, if the clock was set back; gives how many it has put back, or at least one while there are
    /// more to look at.
    pub(super) async fn look(&self, ports: &Ports, definitions: &Definitions) -> Result<usize, PortError> {
        let clock = &ports.clock;
        let now = clock.now();
        let elapsed = i64::try_from(clock.elapsed().as_millis()).unwrap_or(i64::MAX);
        let (is_wanted, after) = {
            let mut put_back = self.state();
            (put_back.notices(now.as_millis().saturating_sub(elapsed)), put_back.after.clone())
        };
        if !is_wanted {
            return Ok(0);
        }
        let page = ports.tasks.list(after.as_ref(), MAX_TASKS).await?;
        let mut put_back = 0;
        for record in page.iter().filter(|record| record.next_due.is_some_and(|place| now < place)) {
            match put_back_one(ports, definitions, record.clone(), now).await {
                Ok(is_back) => put_back += usize::from(is_back),
                Err(error) => {
                    tracing::warn!(task = %record.name, error.code = error.code, error = %error, "failed to put a schedule back");
                }
            }
        }
        let mut state = self.state();
        state.after = page.last().map(|record| record.name.clone());
        state.is_done = page.len() < MAX_TASKS;
        Ok(if state.is_done { put_back } else { put_back.max(1) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the place of one task back; whether it had to. What can not be read hides no other task.
async fn put_back_one(
    ports: &Ports,
    definitions: &Definitions,
    mut record: TaskRecord,
    now: Timestamp,
) -> Result<bool, PortError> {
    let mut backoff = Backoff::of_conflicts();
    for _ in 0..MAX_CONFLICTS {
        let Ok(definition) = definitions.get(&record.name, record.version).await else { return Ok(false) };
        let Some(after) = definition.schedule.as_ref().and_then(|schedule| record.put_back(schedule, now)) else {
            return Ok(false);
        };
        match ports.tasks.commit(&record, &after, &[]).await {
            Err(error) if error.is_conflict() => backoff.wait().await,
            done => {
                tracing::warn!(task = %record.name, place = ?record.next_due, next_due = ?after.next_due, "the clock was set back; the task is due again from here");
                return done.map(|()| true);
            }
        }
        match ports.tasks.load(&record.name).await? {
            Some(found) if !found.deleted => record = found,
            Some(_) | None => return Ok(false),
        }
    }
    Err(PortError::conflict())
}
