//! A host in memory, for tests of the loops and for the simulated world. All ports share one lock, and one clock that a
//! test sets.
//!
//! It is deterministic: the same calls in the same order give the same answers. Waiting is tokio's, so that a test
//! with paused time does not wait. It promises no more than SQS, `DynamoDB` and `EventBridge` do, and keeps nothing.

mod agents;
mod clock;
mod queue;
mod queues;
mod run_table;
mod runs;
mod schedules;
mod task_table;
mod tasks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;
use windlass_contract::event::PublicEvent;
use windlass_domain::definition::Schedule;
use windlass_domain::ids::{AgentId, RunId, TaskName};
use windlass_domain::limits::MAX_BATCH;
use windlass_domain::run::ActionAt;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::ports::{AgentRecord, Bus, Clock, ErrorClass, PortError, QueueName};

use clock::SetClock;
use queue::Queue;
pub use queue::{LimitsMet, QueueLimits};
use run_table::RunTable;
use task_table::TaskTable;

/// The host. Its clones share one state.
#[derive(Clone)]
pub struct MemoryHost {
    shared: Arc<Shared>,
    /// Its queues are the dead-letter queues of the queues proper.
    of_given_up: bool,
}

struct Shared {
    state: Mutex<State>,
    /// A run was written, or the clock was set.
    changed: Arc<Notify>,
}

struct State {
    clock: SetClock,
    queues: BTreeMap<QueueName, Queue>,
    /// By the queue that changed: a change of one queue wakes no receiver of another.
    changed: BTreeMap<QueueName, Arc<Notify>>,
    /// By the queue that gave it up.
    given_up: BTreeMap<QueueName, Queue>,
    sent: u64,
    limits: QueueLimits,
    pool_limits: Option<QueueLimits>,
    met: LimitsMet,
    runs: RunTable,
    tasks: TaskTable,
    schedules: BTreeMap<TaskName, Schedule>,
    agents: BTreeMap<AgentId, AgentRecord>,
    published: Vec<PublicEvent>,
}

impl MemoryHost {
    /// An empty host whose clock shows `now` and goes on with tokio's.
    pub fn new(now: Timestamp) -> Self {
        let state = State {
            clock: SetClock::new(now),
            queues: BTreeMap::new(),
            changed: BTreeMap::new(),
            given_up: BTreeMap::new(),
            sent: 0,
            limits: QueueLimits::default(),
            pool_limits: None,
            met: LimitsMet::default(),
            runs: RunTable::default(),
            tasks: TaskTable::default(),
            schedules: BTreeMap::new(),
            agents: BTreeMap::new(),
            published: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Arc::default() });
        Self { shared, of_given_up: false }
    }

    /// The same host, whose queues have these limits.
    #[must_use]
    pub fn with_limits(self, limits: QueueLimits) -> Self {
        self.state().limits = limits;
        self
    }

    /// The same host, whose pools have these limits instead.
    #[must_use]
    pub fn with_limits_of_pools(self, limits: QueueLimits) -> Self {
        self.state().pool_limits = Some(limits);
        self
    }

    /// The same host with the dead-letter queues. Each queue holds the messages that the queue of the same name has
    /// given up.
    #[must_use]
    pub fn given_up(&self) -> Self {
        Self { shared: self.shared.clone(), of_given_up: true }
    }

    /// The limits of its queues that were met.
    pub fn limits_met(&self) -> LimitsMet {
        self.state().met.clone()
    }

    /// The host as the loops see it.
    pub fn ports(&self) -> Ports {
        let host = Arc::new(self.clone());
        Ports {
            queues: host.clone(),
            runs: host.clone(),
            tasks: host.clone(),
            bus: host.clone(),
            agents: host.clone(),
            schedules: host.clone(),
            clock: host,
        }
    }

    /// Sets the clock, forwards or backwards; it goes on from there. Waiting calls look again.
    pub fn set_time(&self, now: Timestamp) {
        let mut state = self.state();
        state.clock.set(now);
        state.changed.values().chain([&self.shared.changed]).for_each(|changed| changed.notify_waiters());
    }

    /// Puts the clock forward by that much.
    pub fn advance(&self, span: Millis) {
        self.set_time(self.now().plus(span));
    }

    /// Every event that was published, in the order of publication, repeats included.
    pub fn published(&self) -> Vec<PublicEvent> {
        self.state().published.clone()
    }

    /// The body of every message of a queue, hidden ones included, in the order of sending.
    pub fn messages(&self, queue: &QueueName) -> Vec<String> {
        self.state().queues.get(queue).map(Queue::bodies).unwrap_or_default()
    }

    /// Whether such a queue has a message, hidden and given-up ones included.
    pub fn has_message(&self, is_such: impl Fn(&QueueName) -> bool) -> bool {
        let state = self.state();
        let mut queues = state.queues.iter().chain(&state.given_up);
        queues.any(|(name, queue)| is_such(name) && queue.all().next().is_some())
    }

    /// Whether `look` finds a message about that run, in any queue, hidden and given-up messages included. `look` gets
    /// the queue and the attempt that the message asks for, if it asks for one.
    pub fn has_message_of(&self, run: RunId, mut look: impl FnMut(&QueueName, Option<ActionAt>) -> bool) -> bool {
        let state = self.state();
        let mut queues = state.queues.iter().chain(&state.given_up);
        queues.any(|(name, queue)| queue.all_of(run).any(|of| look(name, of)))
    }

    /// The schedule that was put for a task and not removed.
    pub fn schedule_of(&self, task: &TaskName) -> Option<Schedule> {
        self.state().schedules.get(task).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes, then wakes the calls that wait for a run.
    fn write<T>(&self, write: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.state();
        let now = state.clock.now();
        let done = write(&mut state, now);
        drop(state);
        self.shared.changed.notify_waiters();
        done
    }

    /// Writes to a queue, then wakes the calls that wait for a message of it.
    fn write_queue<T>(&self, queue: &QueueName, write: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.state();
        let now = state.clock.now();
        let done = write(&mut state, now);
        if let Some(changed) = state.changed.get(queue) {
            changed.notify_waiters();
        }
        done
    }

    /// Looks until there is an answer, or for `at_most`, after which the last look counts. A look that finds nothing
    /// may give the time at which another look is worth it, even without a write.
    async fn look_until<T>(
        &self,
        changed: &Notify,
        at_most: Duration,
        mut look: impl FnMut(&mut State, Timestamp) -> Look<T>,
    ) -> T {
        let end = Instant::now() + at_most;
        loop {
            let changed = changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (last, again_at, now) = {
                let mut state = self.state();
                let now = state.clock.now();
                match look(&mut state, now) {
                    Look::Found(found) => return found,
                    Look::Nothing { last, again_at } => (last, again_at, now),
                }
            };
            if Instant::now() >= end {
                return last;
            }
            let again = again_at.map_or(end, |at| end.min(Instant::now() + at.since(now).as_duration()));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(again) => {}
            }
        }
    }
}

enum Look<T> {
    Found(T),
    Nothing { last: T, again_at: Option<Timestamp> },
}

impl Clock for MemoryHost {
    fn now(&self) -> Timestamp {
        self.state().clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.state().clock.elapsed()
    }
}

#[async_trait]
impl Bus for MemoryHost {
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError> {
        self.write(|state, _| state.published.extend_from_slice(events));
        Ok(())
    }
}

fn check_batch(entries: usize) -> Result<(), PortError> {
    if entries <= MAX_BATCH {
        return Ok(());
    }
    Err(over_limit(format!("take a batch of {entries} entries: at most {MAX_BATCH} are taken")))
}

fn over_limit(message: String) -> PortError {
    PortError::new(ErrorClass::Reject, "WL0314", message)
}
