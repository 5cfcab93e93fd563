//! The host in memory: what its users count on beyond the conformance suite, its clock above all.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::json;
use windlass_domain::ids::{AgentId, PoolName, RunId, TaskName};
use windlass_domain::run::{Origin, Run};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::ports::{Created, Outgoing, PutTask, QueueName, Received, RunFilter, TaskRecord};
use windlass_testkit::memory::{MemoryHost, QueueLimits};

const START: Timestamp = Timestamp::from_millis(1_000_000);
const VISIBILITY: Duration = Duration::from_secs(30);

fn host() -> (MemoryHost, Ports) {
    let host = MemoryHost::new(START);
    let ports = host.ports();
    (host, ports)
}

async fn send(ports: &Ports, body: &str, delay: Millis) {
    ports.queues.send(&QueueName::Inbox, vec![Outgoing { body: body.to_owned(), delay }]).await.unwrap();
}

async fn receive(ports: &Ports, wait: Duration) -> Vec<Received> {
    ports.queues.receive(&QueueName::Inbox, 10, VISIBILITY, wait).await.unwrap()
}

fn task() -> TaskName {
    TaskName::new("nightly").unwrap()
}

fn run(key: &str) -> Run {
    let id = RunId::from_key(&task(), key);
    Run::submitted(id, (task(), 1), 2, json!({}), Origin::Request, START)
}

#[tokio::test(start_paused = true)]
async fn received_message_comes_again_after_its_visibility_timeout() {
    let (_, ports) = host();
    send(&ports, "a", Millis(0)).await;
    let first = receive(&ports, Duration::ZERO).await;
    assert_eq!((first.len(), first[0].receive_count, first[0].sent_at), (1, 1, START));
    assert!(receive(&ports, Duration::from_secs(29)).await.is_empty());
    let second = receive(&ports, Duration::from_secs(29)).await;
    assert_eq!(second[0].receive_count, 2);
    assert_eq!(ports.clock.now(), START.plus(Millis::from_secs(30)), "it was waited for no longer than needed");

    let stale = first[0].receipt.clone();
    assert_eq!(ports.queues.extend(&QueueName::Inbox, vec![(stale.clone(), VISIBILITY)]).await.unwrap(), []);
    ports.queues.delete(&QueueName::Inbox, vec![stale]).await.unwrap();
    ports.queues.extend(&QueueName::Inbox, vec![(second[0].receipt.clone(), Duration::ZERO)]).await.unwrap();
    let third = receive(&ports, Duration::ZERO).await;
    assert_eq!(third[0].receive_count, 3);
    ports.queues.delete(&QueueName::Inbox, vec![third[0].receipt.clone()]).await.unwrap();
    assert!(receive(&ports, Duration::from_secs(100)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn delayed_message_is_hidden_until_its_time() {
    let (host, ports) = host();
    send(&ports, "later", Millis::from_secs(600)).await;
    assert_eq!(ports.queues.depth(&QueueName::Inbox).await.unwrap(), 0);
    assert!(receive(&ports, Duration::ZERO).await.is_empty());
    host.advance(Millis::from_secs(600));
    assert_eq!(ports.queues.depth(&QueueName::Inbox).await.unwrap(), 1);
    assert_eq!(receive(&ports, Duration::ZERO).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn send_or_clock_wakes_a_receiver() {
    let (host, ports) = host();
    let waiting = tokio::spawn({
        let ports = ports.clone();
        async move { receive(&ports, Duration::from_secs(20)).await }
    });
    tokio::task::yield_now().await;
    send(&ports, "now", Millis(0)).await;
    let received = waiting.await.unwrap();
    assert_eq!(received[0].body, "now");
    assert_eq!(ports.clock.now(), START);
    ports.queues.delete(&QueueName::Inbox, vec![received[0].receipt.clone()]).await.unwrap();

    send(&ports, "in ten minutes", Millis::from_secs(600)).await;
    let waiting = tokio::spawn({
        let ports = ports.clone();
        async move { receive(&ports, Duration::from_secs(20)).await }
    });
    tokio::task::yield_now().await;
    host.set_time(START.plus(Millis::from_secs(600)));
    assert_eq!(waiting.await.unwrap()[0].body, "in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn batch_beyond_bounds_sends_nothing() {
    let (host, ports) = host();
    let many = (0..11).map(|at| Outgoing::now(at.to_string())).collect();
    assert!(ports.queues.send(&QueueName::Inbox, many).await.is_err());
    let late = vec![Outgoing::now("a".into()), Outgoing { body: "b".into(), delay: Millis(900_001) }];
    assert!(ports.queues.send(&QueueName::Inbox, late).await.is_err());
    assert!(ports.queues.receive(&QueueName::Inbox, 11, VISIBILITY, Duration::ZERO).await.is_err());
    assert!(host.messages(&QueueName::Inbox).is_empty());
    let control = QueueName::Control { pool: PoolName::default(), agent: AgentId::new("a").unwrap() };
    ports.queues.remove(&control).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn run_is_created_once_and_written_by_revision() {
    let (_, ports) = host();
    let before = run("a");
    assert_eq!(ports.runs.create(&before, &[], &[]).await.unwrap(), Created::New);
    assert_eq!(ports.runs.create(&before, &[], &[]).await.unwrap(), Created::Existing);
    let after = Run { revision: 1, ..before.clone() };
    ports.runs.commit(&before, &after, &[]).await.unwrap();
    assert!(ports.runs.commit(&before, &after, &[]).await.unwrap_err().is_conflict());
    assert!(ports.runs.commit(&run("b"), &run("b"), &[]).await.unwrap_err().is_conflict());

    let changed = ports.runs.changed(before.id, 1, Duration::from_secs(5)).await.unwrap();
    assert_eq!(changed.unwrap().revision, 1, "nothing came, so it is shown as it is");
    assert_eq!(ports.clock.now(), START.plus(Millis::from_secs(5)));
    assert_eq!(ports.runs.load(&before.id).await.unwrap(), Some(after));
}

#[tokio::test(start_paused = true)]
async fn due_and_untouched_runs_are_stale() {
    let (host, ports) = host();
    let due = Run { wake_at: Some(START), ..run("due") };
    ports.runs.create(&due, &[], &[]).await.unwrap();
    ports.runs.create(&run("quiet"), &[], &[]).await.unwrap();
    assert_eq!(ports.runs.stale(START, START, 10).await.unwrap(), [due.id]);
    host.advance(Millis(1));
    assert_eq!(ports.runs.stale(START, START.plus(Millis(1)), 10).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn runs_are_listed_newest_first_by_page() {
    let (_, ports) = host();
    for key in ["a", "b", "c"] {
        ports.runs.create(&run(key), &[], &[]).await.unwrap();
    }
    let filter = RunFilter { limit: 2, ..RunFilter::default() };
    let first = ports.runs.list(&filter).await.unwrap();
    let ids: Vec<_> = first.runs.iter().map(|run| run.id).collect();
    assert_eq!(ids, [run("c").id, run("b").id]);
    let second = ports.runs.list(&RunFilter { cursor: first.next, ..filter }).await.unwrap();
    assert_eq!((second.runs[0].id, second.runs.len(), second.next), (run("a").id, 1, None));
}

#[tokio::test(start_paused = true)]
async fn a_task_has_versions_and_a_due_time() {
    let (_, ports) = host();
    let (tasks, source) = (&ports.tasks, json!({ "task": "nightly" }));
    let due = Some(START.plus(Millis(5)));
    assert_eq!(tasks.put(&task(), &source, due, START).await.unwrap(), PutTask { version: 1, created: true });
    assert_eq!(tasks.put(&task(), &source, due, START).await.unwrap(), PutTask { version: 1, created: false });
    assert_eq!(tasks.put(&task(), &json!({}), due, START).await.unwrap(), PutTask { version: 2, created: true });
    assert_eq!(tasks.version(&task(), 1).await.unwrap().unwrap().source, source);
    assert!(tasks.due(START, 10).await.unwrap().is_empty());
    assert_eq!(tasks.due(START.plus(Millis(5)), 10).await.unwrap().len(), 1);
    assert_eq!(tasks.earliest_due().await.unwrap(), due);

    let record = tasks.load(&task()).await.unwrap().unwrap();
    let deleted = TaskRecord { deleted: true, revision: record.revision + 1, ..record.clone() };
    tasks.commit(&record, &deleted, &[]).await.unwrap();
    assert!(tasks.commit(&record, &deleted, &[]).await.unwrap_err().is_conflict());
    assert_eq!(tasks.earliest_due().await.unwrap(), None);
    assert!(tasks.list(None, 10).await.unwrap().is_empty());
    assert!(tasks.load(&task()).await.unwrap().unwrap().deleted);
}

#[tokio::test(start_paused = true)]
async fn message_received_too_often_becomes_dead_letter() {
    let (host, _) = host();
    let host = host.with_limits(QueueLimits { receives: Some(2), ..QueueLimits::STACK });
    let (ports, given_up) = (host.ports(), host.given_up().ports());
    send(&ports, "a", Millis(0)).await;
    for count in 1..=2 {
        let received = receive(&ports, VISIBILITY).await;
        assert_eq!(received[0].receive_count, count);
    }
    assert!(receive(&given_up, Duration::ZERO).await.is_empty());
    assert!(receive(&ports, VISIBILITY).await.is_empty(), "instead of a third time");
    let letters = receive(&given_up, Duration::ZERO).await;
    assert_eq!((letters[0].body.as_str(), letters[0].receive_count, letters[0].sent_at), ("a", 1, START));
    assert_eq!(host.limits_met().given_up, ["a"]);
    assert!(host.has_message(|queue| *queue == QueueName::Inbox), "it is somewhere");
    given_up.queues.delete(&QueueName::Inbox, vec![letters[0].receipt.clone()]).await.unwrap();
    assert!(!host.has_message(|_| true));
}

#[tokio::test(start_paused = true)]
async fn full_queue_gives_no_more_until_one_goes() {
    let (host, _) = host();
    let host = host.with_limits(QueueLimits { in_flight: Some(1), ..QueueLimits::STACK });
    let ports = host.ports();
    send(&ports, "a", Millis(0)).await;
    send(&ports, "b", Millis(0)).await;
    let first = receive(&ports, Duration::ZERO).await;
    assert_eq!((first.len(), host.limits_met().in_flight), (1, 1));
    assert!(receive(&ports, Duration::from_secs(10)).await.is_empty(), "and the time passes");
    ports.queues.delete(&QueueName::Inbox, vec![first[0].receipt.clone()]).await.unwrap();
    assert_eq!(receive(&ports, Duration::ZERO).await[0].body, "b");
}
