//! A task on a host in memory, and the steps of the tests.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_contract::message::{InboxMessage, PerformMessage, decode};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName, RunId, TaskName};
use windlass_domain::run::{CancelCause, Input, Report, Run, RunStatus};
use windlass_domain::schedule::TaskInput;
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{PortError, QueueName, TaskRecord};
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::settle::advance;
use windlass_engine::subject::{Engine, Given};
use windlass_testkit::memory::MemoryHost;

/// 2026-11-21T10:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_255_200_000);

pub(crate) struct World {
    pub(crate) host: MemoryHost,
    pub(crate) ports: Ports,
    pub(crate) definitions: Arc<Definitions>,
}

/// That many minutes after the start.
pub(crate) fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(START.as_millis() + minute * 60_000)
}

pub(crate) fn task() -> TaskName {
    TaskName::new("nightly").unwrap()
}

/// A task that is due each minute.
pub(crate) fn source(overlap: &str, catch_up: &str) -> Value {
    json!({
        "task": "nightly",
        "schedule": { "cron": "* * * * *", "overlap": overlap, "catch_up": catch_up },
        "input": { "type": "object", "properties": { "day": { "type": "string", "default": "today" } } },
        "actions": { "only": { "exec": ["true"] } },
    })
}

/// The minute whose run that is.
fn minute_of(run: RunId) -> Option<i64> {
    (0..1000).find(|minute| RunId::from_nominal_time(&task(), at(*minute)) == run)
}

impl World {
    pub(crate) async fn new(source: &Value) -> Self {
        let host = MemoryHost::new(START);
        let ports = host.ports();
        let world = Self { host, definitions: Arc::new(Definitions::new(ports.tasks.clone())), ports };
        world.put(source).await;
        world
    }

    pub(crate) async fn put(&self, source: &Value) {
        self.ports.tasks.put(&task(), source, Some(at(1)), START).await.unwrap();
    }

    pub(crate) async fn handle(&self, minute: Option<i64>) {
        self.handle_on(&self.ports, minute).await.unwrap();
    }

    /// Handles a message by way of these ports.
    pub(crate) async fn handle_on(&self, ports: &Ports, minute: Option<i64>) -> Result<(), PortError> {
        let engine = Engine::new(ports.clone(), self.definitions.clone());
        let input = minute.map_or(TaskInput::Ended, |minute| TaskInput::Due { nominal: at(minute) });
        advance::<TaskRecord>(&engine, &task(), &[Given::new(input)], None).await.map(|_| ())
    }

    pub(crate) async fn record(&self) -> TaskRecord {
        self.ports.tasks.load(&task()).await.unwrap().unwrap()
    }

    /// Changes the record of the task, as another process would.
    pub(crate) async fn write(&self, change: impl FnOnce(&mut TaskRecord)) {
        let before = self.record().await;
        let mut after = TaskRecord { revision: before.revision + 1, ..before.clone() };
        change(&mut after);
        self.ports.tasks.commit(&before, &after, &[]).await.unwrap();
    }

    pub(crate) async fn run(&self, minute: i64) -> Option<Run> {
        self.ports.runs.load(&RunId::from_nominal_time(&task(), at(minute))).await.unwrap()
    }

    /// An agent has reported the attempt of that minute's run.
    pub(crate) async fn begin(&self, minute: i64) {
        self.become_status(minute, RunStatus::Running).await;
    }

    /// The run of that minute ends; the task's record does not say so yet.
    pub(crate) async fn end(&self, minute: i64) {
        self.become_status(minute, RunStatus::Succeeded).await;
    }

    /// The run of that minute has ended, was retried by hand that often, and goes on.
    pub(crate) async fn retry(&self, minute: i64, retries: u32) {
        let before = self.run(minute).await.expect("a run");
        let after = Run { status: RunStatus::Running, retries, revision: before.revision + 1, ..before.clone() };
        self.ports.runs.commit(&before, &after, &[]).await.unwrap();
    }

    async fn become_status(&self, minute: i64, status: RunStatus) {
        let before = self.run(minute).await.expect("a run");
        let after = Run { status, revision: before.revision + 1, ..before.clone() };
        self.ports.runs.commit(&before, &after, &[]).await.unwrap();
    }

    /// The minutes whose runs were started, sorted: their attempts are in the pool, or the process manager has the
    /// start in its inbox. A repeat does no harm and does not count.
    pub(crate) fn starts(&self) -> Vec<i64> {
        let mut minutes = self.inputs(|input| matches!(input, Input::Start));
        minutes.extend(self.performable());
        minutes.sort_unstable();
        minutes.dedup();
        minutes
    }

    /// The minutes whose runs an agent can perform, sorted, each once.
    pub(crate) fn performable(&self) -> Vec<i64> {
        let pool = QueueName::Pool(PoolName::default());
        let sent = self.host.messages(&pool).into_iter().map(|body| decode::<PerformMessage>(&body).unwrap());
        let minutes: std::collections::BTreeSet<i64> = sent.filter_map(|perform| minute_of(perform.run)).collect();
        minutes.into_iter().collect()
    }

    /// Each message of an attempt of that minute's run, as whether its agent must claim it.
    pub(crate) fn sent(&self, minute: i64) -> Vec<bool> {
        let sent = self.host.messages(&QueueName::Pool(PoolName::default())).into_iter();
        let sent = sent.map(|body| decode::<PerformMessage>(&body).unwrap());
        sent.filter(|perform| minute_of(perform.run) == Some(minute)).map(|perform| perform.issue > 0).collect()
    }

    /// An agent has reported the attempt of one action of that minute's run.
    pub(crate) async fn begin_action(&self, minute: i64, action: u32) {
        let engine = Engine::new(self.ports.clone(), self.definitions.clone());
        let (delivery, agent) = (Delivery::new(1, 0, 1), AgentId::new("agent-1").unwrap());
        let of = Report { action: ActionIndex(action), delivery, message: 7, agent };
        let input = Given::new(Input::Started { of, started_at: START });
        let id = RunId::from_nominal_time(&task(), at(minute));
        advance::<Run>(&engine, &id, &[input], None).await.unwrap();
    }

    /// How often the start of a run waits in the inbox to be sent again.
    pub(crate) fn resent_starts(&self) -> usize {
        let sent = self.host.messages(&QueueName::Inbox).into_iter().map(|body| decode(&body).unwrap());
        sent.filter(|message| matches!(message, InboxMessage::Run { input: Input::Start, .. })).count()
    }

    /// The process manager handles the inbox's messages.
    pub(crate) async fn manage(&self) {
        let manager = ProcessManager::new(self.ports.clone(), self.definitions.clone());
        let (visibility, wait) = (Duration::from_secs(30), Duration::ZERO);
        loop {
            let batch = self.ports.queues.receive(&QueueName::Inbox, 10, visibility, wait).await.unwrap();
            if batch.is_empty() {
                return;
            }
            assert!(manager.handle(&QueueName::Inbox, &batch, None).await.iter().all(|done| *done), "{batch:?}");
            let receipts = batch.into_iter().map(|delivery| delivery.receipt).collect();
            self.ports.queues.delete(&QueueName::Inbox, receipts).await.unwrap();
        }
    }

    /// The minutes whose runs got a cancellation in favour of the next one.
    pub(crate) fn cancels(&self) -> Vec<i64> {
        self.inputs(|input| matches!(input, Input::Cancel { cause: CancelCause::Overlap, .. }))
    }

    /// The minutes whose runs got a cancellation after that number of retries.
    pub(crate) fn cancels_after(&self, asked_after: u32) -> Vec<i64> {
        self.inputs(|input| matches!(input, Input::Cancel { retries, .. } if *retries == asked_after))
    }

    fn inputs(&self, wanted: impl Fn(&Input) -> bool) -> Vec<i64> {
        let sent = self.host.messages(&QueueName::Inbox).into_iter().map(|body| decode(&body).unwrap());
        let mut minutes: Vec<i64> = sent
            .filter_map(|message| match message {
                InboxMessage::Run { run, input, .. } if wanted(&input) => minute_of(run),
                InboxMessage::Run { .. } | InboxMessage::Task { .. } | InboxMessage::Sweep { .. } => None,
            })
            .collect();
        minutes.sort_unstable();
        minutes.dedup();
        minutes
    }

    /// The due times of all tasks that wait in the inbox, in the order of sending.
    pub(crate) fn due(&self) -> Vec<(TaskName, Timestamp)> {
        let sent = self.host.messages(&QueueName::Inbox).into_iter().map(|body| decode(&body).unwrap());
        let of_task = |message| match message {
            InboxMessage::Task { task, input: TaskInput::Due { nominal }, .. } => Some((task, nominal)),
            InboxMessage::Task { .. } | InboxMessage::Run { .. } | InboxMessage::Sweep { .. } => None,
        };
        sent.filter_map(of_task).collect()
    }

    /// Empties the inbox.
    pub(crate) async fn drop_inbox(&self) {
        self.ports.queues.remove(&QueueName::Inbox).await.unwrap();
    }

    /// The due times that were sent to the inbox, in minutes, in the order of sending.
    pub(crate) fn fired(&self) -> Vec<i64> {
        let sent = self.host.messages(&QueueName::Inbox).into_iter().map(|body| decode(&body).unwrap());
        sent.filter_map(|message| match message {
            InboxMessage::Task { input: TaskInput::Due { nominal }, .. } => {
                Some((nominal.as_millis() - START.as_millis()) / 60_000)
            }
            InboxMessage::Task { .. } | InboxMessage::Run { .. } | InboxMessage::Sweep { .. } => None,
        })
        .collect()
    }

    /// The events about due times that were published, as `type` and due time, sorted, each once.
    pub(crate) fn told(&self) -> Vec<(String, String)> {
        let mut published = self.host.published();
        published.retain(|event| event.kind.starts_with("schedule."));
        let ids: std::collections::BTreeSet<_> = published.iter().map(|event| event.id).collect();
        let nominal = |data: &Value| data["nominal_time"].as_str().unwrap()[11..16].to_owned();
        let mut told: Vec<_> = published.into_iter().map(|event| (event.kind, nominal(&event.data))).collect();
        told.sort();
        told.dedup();
        assert_eq!(ids.len(), told.len(), "the same event has the same id, and another one another");
        told
    }
}
