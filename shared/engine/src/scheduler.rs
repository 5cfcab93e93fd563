//! The clock of a host that has none of its own: it fires due times, as `EventBridge` Scheduler does on AWS.
//!
//! It sends a due time before the task's place moves past it, so that a crash in between repeats a message and loses
//! none. Several hosts may run this at once, for the same reason.

mod catch_up;
mod put_back;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use windlass_contract::message::{InboxMessage, encode};
use windlass_domain::definition::Definition;
use windlass_domain::ids::TaskName;
use windlass_domain::limits::MAX_CATCH_UP_DUE;
use windlass_domain::schedule::{Round, TaskInput};
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::ports::{DueTask, Outgoing, PortError, QueueName, TaskRecord};
use crate::send::send_all;
use crate::turns::event;

use catch_up::CatchUp;
use put_back::PutBack;

/// The longest sleep: a task that is put meanwhile may be due sooner than any other.
const MAX_SLEEP: Duration = Duration::from_secs(1);
/// Conflicting writes after which a task is left for the next look.
const MAX_CONFLICTS: usize = 10;
/// Tasks of one look, without those that rest.
const MAX_TASKS: usize = 100;
/// After how long a task that could not be fired is tried again.
const BROKEN_FOR: Duration = Duration::from_mins(1);

/// Fires due times.
pub struct Scheduler {
    ports: Ports,
    definitions: Arc<Definitions>,
    /// Tasks that could not be fired, or that catch up and let others in between, and the times of their next turn. They
    /// stay due, and hold up no other task.
    resting: Mutex<BTreeMap<TaskName, Duration>>,
    catch_up: CatchUp,
    put_back: PutBack,
}

impl Scheduler {
    /// A scheduler over these ports.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        Self {
            ports,
            definitions,
            resting: Mutex::default(),
            catch_up: CatchUp::default(),
            put_back: PutBack::default(),
        }
    }

    /// Fires due times until `shutdown` is cancelled.
    pub async fn run(&self, shutdown: &CancellationToken) {
        loop {
            let sleep = match self.look().await {
                Ok(0) => self.until_next().await,
                Ok(_) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to look for due tasks");
                    MAX_SLEEP
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Fires the due times of all due tasks; gives the number of tasks whose place has moved. A task that has much to catch
    /// up on fires some, and has its next turn after the others.
    pub async fn look(&self) -> Result<usize, PortError> {
        let put_back = self.put_back.look(&self.ports, &self.definitions).await.unwrap_or_else(|error| {
            tracing::warn!(error.code = error.code, error = %error, "failed to look for tasks that a clock moved");
            0
        });
        let mut moved = put_back;
        let resting = self.resting();
        let due = self.ports.tasks.due(self.ports.clock.now(), MAX_TASKS + resting.len()).await?;
        let mut room = None;
        for task in due.into_iter().filter(|task| !resting.contains(&task.record.name)) {
            match self.fire(&task, &mut room).await {
                Ok(has_moved) => moved += usize::from(has_moved),
                // Another host has moved it, or a handler has written whose turn it is.
                Err(error) if error.is_conflict() => moved += 1,
                Err(error) => {
                    let (code, name) = (error.code, &task.record.name);
                    tracing::warn!(task = %name, error.code = code, error = %error, "failed to fire a due task; it is tried again in a minute");
                    self.rest(name, BROKEN_FOR);
                }
            }
        }
        Ok(moved)
    }

    fn rest(&self, task: &TaskName, span: Duration) {
        let until = self.ports.clock.elapsed() + span;
        self.lock_resting().insert(task.clone(), until);
    }

    /// The tasks whose next turn is still ahead.
    fn resting(&self) -> BTreeSet<TaskName> {
        let now = self.ports.clock.elapsed();
        let mut resting = self.lock_resting();
        resting.retain(|_, until| now < *until);
        resting.keys().cloned().collect()
    }

    fn lock_resting(&self) -> MutexGuard<'_, BTreeMap<TaskName, Duration>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until_next(&self) -> Duration {
        let rested = self.lock_resting().values().min().map(|until| until.saturating_sub(self.ports.clock.elapsed()));
        let next = match self.ports.tasks.earliest_due().await {
            // A due time that could not be fired is tried again after the longest sleep.
            Ok(Some(due)) if due > self.ports.clock.now() => {
                due.since(self.ports.clock.now()).as_duration().min(MAX_SLEEP)
            }
            Ok(_) | Err(_) => MAX_SLEEP,
        };
        rested.map_or(next, |rested| next.min(rested))
    }

    /// Fires the due times of a task; whether its place has moved.
    async fn fire(&self, DueTask { record, due }: &DueTask, room: &mut Option<u64>) -> Result<bool, PortError> {
        let definition = self.definitions.get(&record.name, record.version).await?;
        let now = self.ports.clock.now();
        let round = match &definition.schedule {
            Some(schedule) => schedule.round(*due, now),
            None => Round { missed: Vec::new(), fire: Vec::new(), next_due: None },
        };
        if round.next_due.is_some_and(|next| next <= now) {
            self.rest(&record.name, catch_up::PAUSE);
            if !self.catch_up.has_room_for(&self.ports, (&record.name, &definition), room).await? {
                return Ok(false);
            }
        }
        self.send(record, &round).await?;
        self.tell_missed(record, &definition, &round).await?;
        self.move_on(record.clone(), *due, round.next_due).await?;
        Ok(true)
    }

    /// Moves the task's place past the fired due times. A process manager that handles them writes the same record at
    /// the same time. After such a conflict the scheduler repeats only this write: to fire again would cause as many
    /// writes again.
    async fn move_on(
        &self,
        mut record: TaskRecord,
        due: Timestamp,
        next_due: Option<Timestamp>,
    ) -> Result<(), PortError> {
        let version = record.version;
        let mut backoff = Backoff::of_conflicts();
        for _ in 0..MAX_CONFLICTS {
            let name = record.name.clone();
            let moved = TaskRecord { next_due, revision: record.revision + 1, ..record.clone() };
            match self.ports.tasks.commit(&record, &moved, &[]).await {
                Err(error) if error.is_conflict() => backoff.wait().await,
                done => return done,
            }
            record = match self.ports.tasks.load(&name).await? {
                Some(record) if record.next_due == Some(due) && record.version == version => record,
                // Another host has moved it, or it is another schedule's.
                Some(_) | None => return Ok(()),
            };
        }
        Err(PortError::conflict())
    }

    async fn send(&self, record: &TaskRecord, round: &Round) -> Result<(), PortError> {
        let message = |nominal| {
            let due = InboxMessage::of_task(record.name.clone(), TaskInput::Due { nominal });
            (QueueName::Inbox, Outgoing::now(encode(&due)))
        };
        let messages: Vec<_> = round.fire.iter().copied().map(message).collect();
        send_all(self.ports.queues.as_ref(), &messages).await
    }

    /// One event for all due times that were missed in a row.
    async fn tell_missed(&self, record: &TaskRecord, definition: &Definition, round: &Round) -> Result<(), PortError> {
        let (Some(first), Some(last)) = (round.missed.first(), round.missed.last()) else { return Ok(()) };
        let reason = json!({
            "last_nominal_time": last.to_string(),
            "count": round.missed.len(),
            "more": round.missed.len() == MAX_CATCH_UP_DUE,
        });
        let event = event::of(definition, record.version, (event::MISSED, *first, reason), self.ports.clock.now());
        self.ports.bus.publish(&[event]).await
    }
}
