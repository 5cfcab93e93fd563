//! The host as one life of one process reaches it. Calls take their time, fail, go unanswered or meet conflicts. The
//! caller may die before or after each of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use windlass_contract::event::PublicEvent;
use windlass_domain::content::Wanted;
use windlass_domain::definition::Schedule;
use windlass_domain::ids::{AgentId, RunId, TaskName, TaskVersion};
use windlass_domain::limits::MAX_DELAY_MS;
use windlass_domain::run::Run;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::ports::{
    AgentRecord, Agents, Bus, Clock, Created, DueTask, ErrorClass, EventCursor, Glance, LoggedEvent, Outgoing,
    PortError, PutTask, QueueName, Queues, Receipt, Received, Records, RunFilter, RunPage, Runs, ScheduleRefusal,
    Schedules, StoredVersion, TaskRecord, Tasks, VersionRecord,
};

use super::life::Life;
use super::losses::may_be_lost;
use super::weather::SLOW;
use super::witness::Acknowledged;
use super::world::Simulation;
use crate::memory::MemoryHost;

/// The longest wait for an answer, when a call is slow or its caller is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ports of one life.
pub(super) struct Wire {
    simulation: Arc<Simulation>,
    life: Arc<Life>,
    inner: Ports,
    /// The text of each received message, which the witness gets when the message is deleted.
    received: Mutex<BTreeMap<Receipt, String>>,
}

impl Wire {
    pub(super) fn ports(simulation: &Arc<Simulation>, life: &Arc<Life>) -> Ports {
        Self::over(simulation, life, &simulation.host)
    }

    /// The ports of one life to the dead-letter queues. Each queue holds the messages that the queue of the same name
    /// has given up.
    pub(super) fn given_up(simulation: &Arc<Simulation>, life: &Arc<Life>) -> Ports {
        Self::over(simulation, life, &simulation.host.given_up())
    }

    fn over(simulation: &Arc<Simulation>, life: &Arc<Life>, host: &MemoryHost) -> Ports {
        let (simulation, life, inner) = (simulation.clone(), life.clone(), host.ports());
        let wire = Arc::new(Self { simulation, life, inner, received: Mutex::default() });
        Ports {
            queues: wire.clone(),
            runs: wire.clone(),
            tasks: wire.clone(),
            bus: wire.clone(),
            agents: wire.clone(),
            schedules: wire.clone(),
            clock: wire,
        }
    }

    /// Makes one call, or what chance makes of it. `seen` runs when the host has answered the call, though the answer
    /// may never reach the caller.
    async fn call<T: Send>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, PortError>> + Send,
        seen: impl FnOnce(&Self, &T) + Send,
    ) -> Result<T, PortError> {
        self.life.gate().await;
        let weather = &self.simulation.weather;
        tokio::time::sleep(self.latency()).await;
        self.life.gate().await;
        if self.life.is_cut_off() {
            self.simulation.meets("a call finds its caller cut off");
            tokio::time::sleep(PATIENCE).await;
            self.life.gate().await;
            return Err(self.fails(what, "it is cut off"));
        }
        let strike = self.simulation.strike(&self.life);
        if strike == Some(false) || weather.dies_before() {
            self.simulation.meets("a caller dies before its call");
            self.die("before", what).await;
        }
        if weather.refuses() {
            self.simulation.meets("a call is refused");
            return Err(self.fails(what, "it is refused"));
        }
        let answer = call.await;
        if let Ok(answer) = &answer {
            seen(self, answer);
        }
        if strike == Some(true) || weather.dies_after() {
            self.simulation.meets("a caller dies after its call");
            self.die("after", what).await;
        }
        if answer.is_ok() && weather.leaves_unanswered() {
            self.simulation.meets("a call is unanswered");
            tokio::time::sleep(PATIENCE).await;
            self.life.gate().await;
            return Err(self.fails(what, "no answer came"));
        }
        tokio::time::sleep(self.latency()).await;
        self.life.gate().await;
        answer
    }

    fn latency(&self) -> Duration {
        let latency = self.simulation.weather.latency();
        if latency >= SLOW.start {
            self.simulation.meets("a call is slow");
        }
        latency
    }

    /// Whether this write is to meet a conflict.
    fn conflicts(&self) -> bool {
        let conflicts = self.simulation.weather.conflicts();
        if conflicts {
            self.simulation.meets("a write meets a conflict");
        }
        conflicts
    }

    async fn die(&self, when: &str, what: &str) {
        self.note(format_args!("DIES {when} {what}"));
        self.life.kill();
        self.life.gate().await;
    }

    fn fails(&self, what: &str, why: &str) -> PortError {
        self.note(format_args!("{what} fails: {why}"));
        PortError::new(ErrorClass::Retry, "WL0304", format!("{what}: {why}, by chance"))
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.simulation.note(&self.life.name, what);
    }

    fn received(&self, deliveries: &[Received]) {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        for delivery in deliveries {
            received.insert(delivery.receipt.clone(), delivery.body.clone());
        }
    }

    fn bodies(&self, receipts: &[Receipt]) -> Vec<String> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        receipts.iter().filter_map(|receipt| received.remove(receipt)).collect()
    }
}

impl Clock for Wire {
    fn now(&self) -> Timestamp {
        self.simulation.now_of(&self.life)
    }

    fn steady(&self) -> Option<Timestamp> {
        self.simulation.wall.is_set.then(|| self.simulation.steady_of(&self.life))
    }

    fn elapsed(&self) -> Duration {
        self.inner.clock.elapsed()
    }
}

#[async_trait]
impl Queues for Wire {
    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        let weather = &self.simulation.weather;
        let late = |mut message: Outgoing| {
            let delay = weather.delay();
            if delay.0 > 0 {
                self.simulation.meets("a message is late");
            }
            message.delay = Millis(message.delay.0.saturating_add(delay.0).min(MAX_DELAY_MS));
            message
        };
        let twins: Vec<_> = batch.iter().filter(|_| weather.duplicates()).cloned().map(late).collect();
        for _ in &twins {
            self.simulation.meets("a message is delivered twice");
        }
        let batch: Vec<_> = batch.into_iter().map(late).collect();
        let bodies: Vec<_> = batch.iter().map(|message| message.body.clone()).collect();
        let is_lost = |message: &Outgoing| weather.loses() && may_be_lost(queue, &message.body);
        let (lost, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_lost);
        let arrives: Vec<_> = batch.iter().chain(&twins).map(|message| message.body.clone()).collect();
        let sent = async {
            for batch in [batch, twins].into_iter().filter(|batch| !batch.is_empty()) {
                self.inner.queues.send(queue, batch).await?;
            }
            Ok(())
        };
        let seen = |wire: &Self, (): &()| {
            for body in &bodies {
                wire.note(format_args!("sends to {queue}: {body}"));
            }
            for message in &lost {
                wire.simulation.meets("a message is lost for good");
                wire.note(format_args!("IT IS LOST: {}", message.body));
                wire.simulation.witness().lost(queue, &message.body);
            }
            wire.simulation.witness().sent(queue, &arrives);
        };
        self.call("send", sent, seen).await
    }

    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, PortError> {
        let received = self.inner.queues.receive(queue, most, visibility, wait);
        let seen = |wire: &Self, deliveries: &Vec<Received>| {
            for delivery in deliveries {
                wire.note(format_args!("receives from {queue}, time {}: {}", delivery.receive_count, delivery.body));
                if matches!(queue, QueueName::Pool(_)) {
                    wire.simulation.witness().received(&wire.life, delivery);
                }
            }
            wire.received(deliveries);
        };
        self.call("receive", received, seen).await
    }

    fn forgets_dropped_receives(&self) -> bool {
        !self.simulation.plan.faults.drops_take_messages
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        self.call("extend", self.inner.queues.extend(queue, batch), |_, _| {}).await
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        let receipts = batch.clone();
        let seen = |wire: &Self, (): &()| {
            for body in wire.bodies(&receipts) {
                wire.note(format_args!("deletes from {queue}: {body}"));
                let acknowledged = Acknowledged { queue, body: &body, host: &wire.simulation.host };
                wire.simulation.witness().acknowledged(&acknowledged);
            }
        };
        self.call("delete", self.inner.queues.delete(queue, batch), seen).await
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        let seen = |wire: &Self, (): &()| wire.note(format_args!("removes {queue}"));
        self.call("remove", self.inner.queues.remove(queue), seen).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        self.call("depth", self.inner.queues.depth(queue), |_, _| {}).await
    }
}

#[async_trait]
impl Records<Run> for Wire {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        self.call("load", self.inner.runs.load(id), |_, _| {}).await
    }

    async fn glance(&self, id: &RunId) -> Result<Glance<Run>, PortError> {
        let old = self.simulation.weather.shows_old().then(|| self.simulation.witness().before(*id)).flatten();
        if old.is_some() {
            self.simulation.meets("a glance is old");
        }
        let glance = async {
            match old {
                Some(old) => Ok(Glance { record: Some(old), is_newest: false }),
                None => self.inner.runs.glance(id).await,
            }
        };
        self.call("glance", glance, |_, _| {}).await
    }

    async fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        self.simulation.meets("a value is loaded");
        self.call("fill", self.inner.runs.fill(run, wanted), |_, ()| {}).await
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        let conflicts = self.conflicts();
        let commit = async {
            if conflicts { Err(PortError::conflict()) } else { self.inner.runs.commit(before, after, events).await }
        };
        let seen = |wire: &Self, (): &()| {
            let kinds: Vec<_> = events.iter().map(spoken).collect();
            wire.note(format_args!("commits {} at {}: {}", after.id, after.revision, kinds.join(", ")));
            wire.simulation.witness().committed(before, after, events, wire.simulation.now());
        };
        self.call("commit", commit, seen).await
    }
}

#[async_trait]
impl Runs for Wire {
    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        messages: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError> {
        let seen = |wire: &Self, created: &Created| {
            wire.note(format_args!("creates {}: {created:?}", run.id));
            if *created == Created::New {
                wire.simulation.witness().created(run, events, wire.simulation.now());
            }
        };
        self.call("create", self.inner.runs.create(run, events, messages), seen).await
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        self.call("wait for a change", self.inner.runs.changed(id, revision, at_most), |_, _| {}).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.call("list runs", self.inner.runs.list(filter), |_, _| {}).await
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        // The host keeps the steady times of its runs.
        let [now, untouched_since] = [now, untouched_since].map(|at| self.simulation.wall.to_steady(at));
        self.call("look for stale runs", self.inner.runs.stale(now, untouched_since, most), |_, _| {}).await
    }

    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        self.call("delete a run", self.inner.runs.delete_run(run), |_, _| {}).await
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.call("read events", self.inner.runs.events(id, after, most), |_, _| {}).await
    }
}

/// An event in a line of the log.
fn spoken(event: &PublicEvent) -> String {
    let action = event.action.as_ref().map(|action| format!(" {action}")).unwrap_or_default();
    let attempt = event.attempt.map(|attempt| format!("#{attempt}")).unwrap_or_default();
    format!("{}{action}{attempt}", event.kind)
}

#[async_trait]
impl Records<TaskRecord> for Wire {
    async fn load(&self, name: &TaskName) -> Result<Option<TaskRecord>, PortError> {
        self.call("get a task", self.inner.tasks.load(name), |_, _| {}).await
    }

    async fn commit(&self, before: &TaskRecord, after: &TaskRecord, events: &[PublicEvent]) -> Result<(), PortError> {
        let conflicts = self.conflicts();
        let update = async {
            if conflicts { Err(PortError::conflict()) } else { self.inner.tasks.commit(before, after, events).await }
        };
        let seen = |wire: &Self, (): &()| {
            let (active, next_due) = (after.active, after.next_due);
            wire.note(format_args!("writes task {}: turn {active:?}, next due {next_due:?}", after.name));
        };
        self.call("update a task", update, seen).await
    }
}

#[async_trait]
impl Tasks for Wire {
    async fn put(
        &self,
        name: &TaskName,
        source: &Value,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutTask, PortError> {
        self.call("put a task", self.inner.tasks.put(name, source, next_due, now), |_, _| {}).await
    }

    async fn version(&self, name: &TaskName, version: TaskVersion) -> Result<Option<StoredVersion>, PortError> {
        self.call("get a version", self.inner.tasks.version(name, version), |_, _| {}).await
    }

    async fn versions(
        &self,
        name: &TaskName,
        below: Option<TaskVersion>,
        most: usize,
    ) -> Result<Vec<VersionRecord>, PortError> {
        self.call("versions", self.inner.tasks.versions(name, below, most), |_, _| {}).await
    }

    async fn list(&self, after: Option<&TaskName>, most: usize) -> Result<Vec<TaskRecord>, PortError> {
        self.call("list tasks", self.inner.tasks.list(after, most), |_, _| {}).await
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<DueTask>, PortError> {
        self.call("look for due tasks", self.inner.tasks.due(now, most), |_, _| {}).await
    }

    async fn earliest_due(&self) -> Result<Option<Timestamp>, PortError> {
        self.call("look for the next due task", self.inner.tasks.earliest_due(), |_, _| {}).await
    }
}

#[async_trait]
impl Bus for Wire {
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError> {
        let seen = |wire: &Self, (): &()| {
            let kinds: Vec<_> = events.iter().map(spoken).collect();
            wire.note(format_args!("publishes {}", kinds.join(", ")));
            wire.simulation.witness().published(events);
        };
        self.call("publish", self.inner.bus.publish(events), seen).await
    }
}

#[async_trait]
impl Agents for Wire {
    async fn register(&self, agent: &AgentRecord) -> Result<(), PortError> {
        let wall = &self.simulation.wall;
        let [started_at, seen_at] = [agent.started_at, agent.seen_at].map(|at| wall.to_steady(at));
        let agent = AgentRecord { started_at, seen_at, ..agent.clone() };
        self.call("register", self.inner.agents.register(&agent), |_, ()| {}).await
    }

    async fn deregister(&self, id: &AgentId) -> Result<(), PortError> {
        self.call("deregister", self.inner.agents.deregister(id), |_, ()| {}).await
    }

    async fn list(&self) -> Result<Vec<AgentRecord>, PortError> {
        let agents = self.call("list agents", self.inner.agents.list(), |_, _| {}).await?;
        let wall = &self.simulation.wall;
        let shown = |agent: AgentRecord| {
            let [started_at, seen_at] = [agent.started_at, agent.seen_at].map(|at| wall.of_steady(at));
            AgentRecord { started_at, seen_at, ..agent }
        };
        Ok(agents.into_iter().map(shown).collect())
    }
}

#[async_trait]
impl Schedules for Wire {
    fn check(&self, schedule: &Schedule) -> Result<(), ScheduleRefusal> {
        self.inner.schedules.check(schedule)
    }

    async fn put(&self, task: &TaskName, schedule: &Schedule, now: Timestamp) -> Result<(), PortError> {
        self.call("put a schedule", self.inner.schedules.put(task, schedule, now), |_, ()| {}).await
    }

    async fn remove(&self, task: &TaskName) -> Result<(), PortError> {
        self.call("remove a schedule", self.inner.schedules.remove(task), |_, ()| {}).await
    }
}
