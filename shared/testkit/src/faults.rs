//! A host with faults. It fails a chosen call, lets the caller die at one, or holds up its caller before every one.
//! Tests show with it that a crash at any write changes nothing, and that no order of concurrent calls does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use windlass_contract::event::PublicEvent;
use windlass_domain::content::Wanted;
use windlass_domain::definition::Schedule;
use windlass_domain::ids::{AgentId, RunId, TaskName, TaskVersion};
use windlass_domain::run::Run;
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::{
    AgentRecord, Agents, Bus, Created, DueTask, ErrorClass, EventCursor, Glance, LoggedEvent, Outgoing, PortError,
    PutTask, QueueName, Queues, Receipt, Received, Records, RunFilter, RunPage, Runs, ScheduleRefusal, Schedules,
    StoredVersion, TaskRecord, Tasks, VersionRecord,
};

/// When a caller dies, or how the one failing call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The call is not made.
    Before,
    /// The call is made, and its answer is lost.
    After,
    /// The call is made, its answer is lost, and the adapter makes it again, as an SDK does. The caller sees the second
    /// answer.
    Twice,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    at: usize,
    moment: Moment,
    /// Every later call fails as well.
    lasts: bool,
}

/// Calls of another host, with faults between. Its clones, and the ports it gives, share one count of calls.
#[derive(Clone)]
pub struct FaultyHost {
    inner: Ports,
    plan: Arc<Plan>,
}

struct Plan {
    made: AtomicUsize,
    fault: Option<Fault>,
    chance: Option<Mutex<u64>>,
    gone: AtomicBool,
}

impl FaultyHost {
    /// The caller dies at that call, counted from 0: it and every later one fail. If it never comes to that, nothing
    /// happens.
    pub fn crashing(inner: Ports, call: usize, moment: Moment) -> Self {
        Self::new(inner, Some(Fault { at: call, moment, lasts: true }), None)
    }

    /// That one call fails, counted from 0; the caller lives on.
    pub fn failing(inner: Ports, call: usize, moment: Moment) -> Self {
        Self::new(inner, Some(Fault { at: call, moment, lasts: false }), None)
    }

    /// Before each call, others may go first: how many times, the seed decides.
    pub fn interleaving(inner: Ports, seed: u64) -> Self {
        Self::new(inner, None, Some(Mutex::new(seed)))
    }

    fn new(inner: Ports, fault: Option<Fault>, chance: Option<Mutex<u64>>) -> Self {
        Self { inner, plan: Arc::new(Plan { made: AtomicUsize::new(0), fault, chance, gone: AtomicBool::new(false) }) }
    }

    /// From here on no call of the caller has an effect or an answer: to every other process it is dead.
    pub fn kill_caller(&self) {
        self.plan.gone.store(true, Ordering::SeqCst);
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
            schedules: host,
            clock: self.inner.clock.clone(),
        }
    }

    /// How many calls have been made, failed ones included.
    pub fn calls(&self) -> usize {
        self.plan.made.load(Ordering::SeqCst)
    }

    async fn call<T, F>(&self, call: impl Fn() -> F + Send) -> Result<T, PortError>
    where
        F: Future<Output = Result<T, PortError>> + Send,
    {
        for _ in 0..self.plan.hold_ups() {
            tokio::task::yield_now().await;
        }
        if self.plan.gone.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let number = self.plan.made.fetch_add(1, Ordering::SeqCst);
        match self.plan.fault {
            Some(fault) if number > fault.at && fault.lasts => Err(died()),
            Some(Fault { at, moment: Moment::Before, .. }) if number == at => Err(died()),
            Some(Fault { at, moment: Moment::After, .. }) if number == at => {
                call().await?;
                Err(died())
            }
            Some(Fault { at, moment: Moment::Twice, .. }) if number == at => {
                let _lost = call().await;
                call().await
            }
            Some(_) | None => call().await,
        }
    }
}

impl Plan {
    /// From 0 to 3, by a linear congruential generator (Knuth's MMIX).
    fn hold_ups(&self) -> u64 {
        let Some(chance) = &self.chance else { return 0 };
        let mut state = chance.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 62
    }
}

fn died() -> PortError {
    PortError::new(ErrorClass::Retry, "WL0304", "call the host: by intent of the test")
}

#[async_trait]
impl Queues for FaultyHost {
    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        self.call(|| self.inner.queues.send(queue, batch.clone())).await
    }

    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, PortError> {
        self.call(|| self.inner.queues.receive(queue, most, visibility, wait)).await
    }

    async fn make(&self, queue: &QueueName) -> Result<(), PortError> {
        self.call(|| self.inner.queues.make(queue)).await
    }

    fn forgets_dropped_receives(&self) -> bool {
        self.inner.queues.forgets_dropped_receives()
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        self.call(|| self.inner.queues.extend(queue, batch.clone())).await
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        self.call(|| self.inner.queues.delete(queue, batch.clone())).await
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        self.call(|| self.inner.queues.remove(queue)).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        self.call(|| self.inner.queues.depth(queue)).await
    }
}

#[async_trait]
impl Records<Run> for FaultyHost {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        self.call(|| self.inner.runs.load(id)).await
    }

    async fn glance(&self, id: &RunId) -> Result<Glance<Run>, PortError> {
        self.call(|| self.inner.runs.glance(id)).await
    }

    async fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        let filled = self.call(async || {
            let mut filled = run.clone();
            self.inner.runs.fill(&mut filled, wanted).await.map(|()| filled)
        });
        *run = filled.await?;
        Ok(())
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        self.call(|| self.inner.runs.commit(before, after, events)).await
    }
}

#[async_trait]
impl Runs for FaultyHost {
    fn sends_with_record(&self) -> bool {
        self.inner.runs.sends_with_record()
    }

    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        messages: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError> {
        self.call(|| self.inner.runs.create(run, events, messages)).await
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        self.call(|| self.inner.runs.changed(id, revision, at_most)).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.call(|| self.inner.runs.list(filter)).await
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        self.call(|| self.inner.runs.stale(now, untouched_since, most)).await
    }

    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        self.call(|| self.inner.runs.delete_run(run)).await
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.call(|| self.inner.runs.events(id, after.clone(), most)).await
    }
}

#[async_trait]
impl Records<TaskRecord> for FaultyHost {
    async fn load(&self, name: &TaskName) -> Result<Option<TaskRecord>, PortError> {
        self.call(|| self.inner.tasks.load(name)).await
    }

    async fn commit(&self, before: &TaskRecord, after: &TaskRecord, events: &[PublicEvent]) -> Result<(), PortError> {
        self.call(|| self.inner.tasks.commit(before, after, events)).await
    }
}

#[async_trait]
impl Tasks for FaultyHost {
    async fn put(
        &self,
        name: &TaskName,
        source: &Value,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutTask, PortError> {
        self.call(|| self.inner.tasks.put(name, source, next_due, now)).await
    }

    async fn version(&self, name: &TaskName, version: TaskVersion) -> Result<Option<StoredVersion>, PortError> {
        self.call(|| self.inner.tasks.version(name, version)).await
    }

    async fn versions(
        &self,
        name: &TaskName,
        below: Option<TaskVersion>,
        most: usize,
    ) -> Result<Vec<VersionRecord>, PortError> {
        self.call(|| self.inner.tasks.versions(name, below, most)).await
    }

    async fn list(&self, after: Option<&TaskName>, most: usize) -> Result<Vec<TaskRecord>, PortError> {
        self.call(|| self.inner.tasks.list(after, most)).await
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<DueTask>, PortError> {
        self.call(|| self.inner.tasks.due(now, most)).await
    }

    async fn earliest_due(&self) -> Result<Option<Timestamp>, PortError> {
        self.call(|| self.inner.tasks.earliest_due()).await
    }
}

#[async_trait]
impl Bus for FaultyHost {
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError> {
        self.call(|| self.inner.bus.publish(events)).await
    }
}

#[async_trait]
impl Agents for FaultyHost {
    async fn register(&self, agent: &AgentRecord) -> Result<(), PortError> {
        self.call(|| self.inner.agents.register(agent)).await
    }

    fn heard_every(&self) -> Duration {
        self.inner.agents.heard_every()
    }

    async fn deregister(&self, id: &AgentId) -> Result<(), PortError> {
        self.call(|| self.inner.agents.deregister(id)).await
    }

    async fn list(&self) -> Result<Vec<AgentRecord>, PortError> {
        self.call(|| self.inner.agents.list()).await
    }
}

#[async_trait]
impl Schedules for FaultyHost {
    fn check(&self, schedule: &Schedule) -> Result<(), ScheduleRefusal> {
        self.inner.schedules.check(schedule)
    }

    async fn put(&self, task: &TaskName, schedule: &Schedule, now: Timestamp) -> Result<(), PortError> {
        self.call(|| self.inner.schedules.put(task, schedule, now)).await
    }

    async fn remove(&self, task: &TaskName) -> Result<(), PortError> {
        self.call(|| self.inner.schedules.remove(task)).await
    }
}
