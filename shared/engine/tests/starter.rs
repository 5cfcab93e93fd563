//! Submitting runs while callers die, calls cross and the inbox is out of reach: one key is one run, and a run that
//! was answered is recorded.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_contract::message::{InboxMessage, decode};
use windlass_domain::definition::Definition;
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::run::{Input, RunStatus};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{
    Delivery, ErrorClass, Outgoing, PortError, QueueName, Queues, Receipt, RunFilter, TaskRecord,
};
use windlass_engine::registry::Registry;
use windlass_engine::starter::{StartError, StartRequest, Started, Starter};
use windlass_engine::sweeper::Sweeper;
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::memory::MemoryHost;

const TASK: &str = "task: t
schedule: { every: 1h }
input: { type: object, properties: { n: { type: integer, default: 1 } } }
actions: { a: { exec: [echo] } }
";

fn task() -> TaskName {
    TaskName::new("t").unwrap()
}

fn request(key: Option<&str>) -> StartRequest {
    StartRequest { task: task(), version: None, input: Value::Null, key: key.map(str::to_owned) }
}

async fn host() -> MemoryHost {
    let host = MemoryHost::new(Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap());
    registry(&host.ports()).put(&Definition::from_text(TASK).unwrap()).await.unwrap();
    host
}

fn starter(ports: &Ports) -> Starter {
    Starter::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())))
}

fn registry(ports: &Ports) -> Registry {
    Registry::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())))
}

async fn runs(host: &MemoryHost) -> BTreeSet<RunId> {
    let filter = RunFilter { limit: 1000, ..RunFilter::default() };
    host.ports().runs.list(&filter).await.unwrap().runs.iter().map(|run| run.id).collect()
}

/// How often the start of a run was sent.
fn starts(host: &MemoryHost, id: RunId) -> usize {
    let is_start = |body: &&String| matches!(decode(body).unwrap(), InboxMessage::Run { run, input: Input::Start, .. } if run == id);
    host.messages(&QueueName::Inbox).iter().filter(is_start).count()
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_dies_at_any_call_and_asks_again_has_one_run_that_begins() {
    for moment in [Moment::Before, Moment::After] {
        for call in 0.. {
            let host = host().await;
            let faulty = FaultyHost::crashing(host.ports(), call, moment);
            let first = starter(&faulty.ports()).start(request(Some("k"))).await;
            if let Ok(Started { run, .. }) = &first {
                assert!(runs(&host).await.contains(&run.id), "{moment:?} {call}: what was answered is recorded");
            }
            let again = starter(&host.ports()).start(request(Some("k"))).await.unwrap();
            assert_eq!(runs(&host).await, BTreeSet::from([again.run.id]), "{moment:?} {call}");
            assert!(starts(&host, again.run.id) >= 1, "{moment:?} {call}");
            assert_eq!(again.run.input, json!({ "n": 1 }));
            if faulty.calls() <= call {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_cross_with_one_key_make_one_run() {
    for seed in 0..200 {
        let host = host().await;
        let starter = starter(&FaultyHost::interleaving(host.ports(), seed).ports());
        let answers = futures::future::join_all((0..6).map(|_| starter.start(request(Some("k"))))).await;
        let answers: Vec<Started> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1, "seed {seed}");
        let ids: BTreeSet<RunId> = answers.iter().map(|answer| answer.run.id).collect();
        assert_eq!(runs(&host).await, ids, "seed {seed}");
        assert_eq!(ids.len(), 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_cross_with_one_key_and_two_inputs_make_one_run_and_one_refusal() {
    for seed in 0..200 {
        let host = host().await;
        let starter = starter(&FaultyHost::interleaving(host.ports(), seed).ports());
        let other = StartRequest { input: json!({ "n": 2 }), ..request(Some("k")) };
        let (one, two) = tokio::join!(starter.start(request(Some("k"))), starter.start(other));
        assert_eq!(runs(&host).await.len(), 1, "seed {seed}");
        match (one, two) {
            (Ok(_), Err(StartError::KeyReused { .. })) | (Err(StartError::KeyReused { .. }), Ok(_)) => {}
            other => panic!("seed {seed}: {other:?}"),
        }
    }
}

/// Queues that can not be sent to.
struct OutOfReach(Arc<dyn Queues>);

#[async_trait]
impl Queues for OutOfReach {
    async fn send(&self, _: &QueueName, _: Vec<Outgoing>) -> Result<(), PortError> {
        Err(PortError::new(ErrorClass::Retry, "WL0304", "send: out of reach"))
    }
    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: std::time::Duration,
        wait: std::time::Duration,
    ) -> Result<Vec<Delivery>, PortError> {
        self.0.receive(queue, most, visibility, wait).await
    }
    async fn extend(
        &self,
        queue: &QueueName,
        batch: Vec<(Receipt, std::time::Duration)>,
    ) -> Result<Vec<Receipt>, PortError> {
        self.0.extend(queue, batch).await
    }
    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        self.0.delete(queue, batch).await
    }
    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        self.0.remove(queue).await
    }
    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        self.0.depth(queue).await
    }
}

/// An error would make a caller without a key submit a second run; the sweeper starts the one that is recorded.
#[tokio::test(start_paused = true)]
async fn a_run_whose_start_can_not_be_sent_is_answered_and_swept() {
    let host = host().await;
    let cut_off = Ports { queues: Arc::new(OutOfReach(host.ports().queues)), ..host.ports() };
    let started = starter(&cut_off).start(request(None)).await.unwrap();
    assert_eq!((started.created, started.run.status), (true, RunStatus::Submitted));
    assert_eq!(starts(&host, started.run.id), 0);

    host.advance(Millis::from_secs(180));
    let now = host.ports().clock.now();
    let sweeper = Sweeper::new(host.ports(), std::time::Duration::from_secs(1));
    sweeper.sweep(now, now).await.unwrap();
    let messages = host.messages(&QueueName::Inbox);
    let swept = |body: &String| matches!(decode(body), Ok(InboxMessage::Run { run, .. }) if run == started.run.id);
    assert!(messages.iter().any(swept), "{messages:?}");
}

#[tokio::test(start_paused = true)]
async fn ids_are_in_the_order_of_submission_within_one_millisecond_too() {
    let host = host().await;
    let starter = starter(&host.ports());
    let mut ids = Vec::new();
    for _ in 0..1000 {
        ids.push(starter.start(request(None)).await.unwrap().run.id);
    }
    assert!(ids.is_sorted());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[tokio::test(start_paused = true)]
async fn a_task_is_deleted_while_its_record_is_written_by_others() {
    for seed in 0..100 {
        let host = host().await;
        let ports = FaultyHost::interleaving(host.ports(), seed).ports();
        let (registry, name) = (registry(&ports), task());
        let write = async {
            for at in 0..5 {
                let Some(record) = ports.tasks.get(&name).await.unwrap() else { continue };
                let fired = TaskRecord { active: Some(Timestamp::from_millis(at)), ..record };
                let _ = ports.tasks.update(&fired).await;
            }
        };
        let (deleted, ()) = tokio::join!(registry.delete(&name), write);
        deleted.unwrap();
        let record = host.ports().tasks.get(&task()).await.unwrap().unwrap();
        assert!(record.deleted && record.next_due.is_none(), "seed {seed}: {record:?}");
        assert!(matches!(starter(&ports).start(request(None)).await, Err(StartError::DeletedTask(_))));
    }
}
