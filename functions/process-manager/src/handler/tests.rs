//! Batches as Lambda brings them, on a host in memory.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_aws::telemetry::Figures;
use windlass_contract::message::{InboxMessage, MESSAGE_VERSION, encode};
use windlass_domain::caller::Caller;
use windlass_domain::definition::Definition;
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::run::{Input, RunStatus};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::Outgoing;
use windlass_engine::registry::Registry;
use windlass_engine::submit::{StartRequest, Starter};
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::memory::MemoryHost;

use super::*;

const INBOX: &str = "arn:aws:sqs:eu-central-1:123456789012:acme-inbox";
const FAR: u64 = u64::MAX;

fn host() -> MemoryHost {
    MemoryHost::new(Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").expect("a time"))
}

fn context(ports: Ports) -> Context {
    let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
    let over = Context::over((ports, definitions), Figures::new("process-manager"));
    Context { queue_prefix: "acme-".into(), ..over }
}

fn event(arn: &str, deliveries: &[Received]) -> SqsEvent {
    let record = |(at, delivery): (usize, &Received)| {
        json!({
            "messageId": format!("m{at}"), "receiptHandle": delivery.receipt.0, "body": delivery.body,
            "eventSourceARN": arn,
            "attributes": {
                "ApproximateReceiveCount": delivery.receive_count.to_string(),
                "SentTimestamp": delivery.sent_at.as_millis().to_string(),
            },
        })
    };
    let records: Vec<Value> = deliveries.iter().enumerate().map(record).collect();
    serde_json::from_value(json!({ "Records": records })).expect("an event")
}

fn failed(answer: &SqsBatchResponse) -> Vec<&str> {
    answer.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
}

async fn send(ports: &Ports, bodies: impl IntoIterator<Item = String>) {
    for body in bodies {
        ports.queues.send(&QueueName::Inbox, vec![Outgoing::now(body)]).await.expect("sent");
    }
}

async fn receive(ports: &Ports) -> Vec<Received> {
    let received = ports.queues.receive(&QueueName::Inbox, 10, Duration::from_mins(3), Duration::ZERO).await;
    received.expect("received")
}

async fn put(ports: &Ports, name: &str) {
    let text = format!("task: {name}\nschedule: {{ every: 1h }}\nactions: {{ a: {{ exec: ['true'] }} }}\n");
    let definition = Definition::from_text(&text).expect("a definition");
    let registry = Registry::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
    registry.put(&definition).await.expect("put");
}

/// Starts a run of the task and gives it, with the message that pauses it.
async fn start(ports: &Ports, task: &str) -> (RunId, String) {
    let starter = Starter::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
    let task = TaskName::new(task).expect("a name");
    let request = StartRequest { task, version: None, input: json!({}), key: None, caller: Caller::default() };
    let run = starter.start(request).await.expect("started").run.id;
    (
        run,
        encode(&InboxMessage::Run {
            v: MESSAGE_VERSION,
            run,
            caller: Caller::default(),
            input: Input::Pause { pauses: 0, retries: 0 },
        }),
    )
}

async fn is_paused(ports: &Ports, run: RunId) -> bool {
    ports.runs.load(&run).await.expect("read").expect("there").status == RunStatus::Paused
}

fn check(name: &str, expected: Option<&Source>) {
    let arn = format!("arn:aws:sqs:eu-central-1:123456789012:{name}");
    let foreign = Source::Foreign(arn.clone());
    assert_eq!(source_of(&arn, "acme-"), *expected.unwrap_or(&foreign), "{name}");
}

#[test]
fn source_is_known_by_its_queue_name() {
    let pool = |name| Source::Dead(QueueName::Pool(PoolName::new(name).expect("a name")));
    check("acme-inbox", Some(&Source::Inputs(QueueName::Inbox)));
    check("acme-claims", Some(&Source::Inputs(QueueName::Claims)));
    check("acme-claims-dlq", None);
    check("acme-inbox-dlq", Some(&Source::Dead(QueueName::Inbox)));
    check("acme-schedules-dlq", Some(&Source::Schedules));
    check("acme-schedules", None);
    check("acme-pool-big-dlq", Some(&pool("big")));
    check("acme-pool-a-dlq-dlq", Some(&pool("a-dlq")));
    check("acme-pool-big", None);
    check("acme-pool--dlq", None);
    check("other-inbox", None);
    check("acme-dead-letters", None);
}

#[tokio::test(start_paused = true)]
async fn failed_message_alone_comes_again_soon() {
    let host = host();
    let ports = host.ports();
    put(&ports, "one").await;
    let ((one, pause_one), (two, pause_two)) = (start(&ports, "one").await, start(&ports, "one").await);
    while !receive(&ports).await.is_empty() {}
    send(&ports, [pause_one, pause_two, "no JSON".to_owned()]).await;
    let deliveries = receive(&ports).await;
    // The handler first asks the host to bury the message that it cannot read.
    let faulty = FaultyHost::failing(host.ports(), 0, Moment::Before);
    let answer = handle(&context(faulty.ports()), event(INBOX, &deliveries), FAR).await.expect("answered");
    assert_eq!(failed(&answer), ["m2"]);
    assert!(is_paused(&ports, one).await && is_paused(&ports, two).await);
    assert!(receive(&ports).await.is_empty(), "not at once");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let again: Vec<(u32, String)> =
        receive(&ports).await.into_iter().map(|delivery| (delivery.receive_count, delivery.body)).collect();
    assert_eq!(again, [(2, "no JSON".to_owned())], "long before the queue's visibility timeout");
}

#[tokio::test]
async fn nothing_is_begun_when_the_time_is_over() {
    let ports = host().ports();
    put(&ports, "one").await;
    let (run, pause) = start(&ports, "one").await;
    while !receive(&ports).await.is_empty() {}
    send(&ports, [pause]).await;
    let deliveries = receive(&ports).await;
    let now = ports.clock.now().as_millis().unsigned_abs();
    let answer = handle(&context(ports.clone()), event(INBOX, &deliveries), now + 1000).await.expect("answered");
    assert_eq!(failed(&answer), ["m0"]);
    assert!(!is_paused(&ports, run).await);
    let answer = handle(&context(ports.clone()), event(INBOX, &deliveries), FAR).await.expect("answered");
    assert!(failed(&answer).is_empty());
    assert!(is_paused(&ports, run).await);
}

#[tokio::test]
async fn dead_letter_is_kept_foreign_message_fails() {
    let ports = host().ports();
    let delivery = Received {
        receipt: Receipt("r".into()),
        id: "m".into(),
        sender: ports::Sender::Host,
        body: "no JSON".into(),
        receive_count: 1,
        sent_at: ports.clock.now(),
    };
    let context = context(ports.clone());
    let dead = event("arn:aws:sqs:eu-central-1:123456789012:acme-pool-big-dlq", std::slice::from_ref(&delivery));
    assert!(failed(&handle(&context, dead, FAR).await.expect("answered")).is_empty());
    assert_eq!(ports.queues.depth(&QueueName::DeadLetter).await.expect("counted"), 1);
    let foreign = event("arn:aws:sqs:eu-central-1:123456789012:other-inbox", &[delivery]);
    assert_eq!(failed(&handle(&context, foreign, FAR).await.expect("answered")), ["m0"]);
}

/// The dead letter of a schedule, with AWS's attributes beside the body.
fn given_up(body: &str, attributes: &[(&str, &str)]) -> SqsEvent {
    let told: serde_json::Map<String, Value> = attributes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!({ "stringValue": value, "dataType": "String" })))
        .collect();
    let record = json!({
        "messageId": "m0", "receiptHandle": "r", "body": body,
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:acme-schedules-dlq",
        "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000" }, "messageAttributes": told,
    });
    serde_json::from_value(json!({ "Records": [record] })).expect("an event")
}

#[tokio::test]
async fn due_time_that_scheduler_gave_up_is_fired() {
    let ports = host().ports();
    put(&ports, "nightly").await;
    let (task, time) = (TaskName::new("nightly").expect("a name"), "2025-12-31T23:00:00Z");
    let body = r#"{"type":"due","v":1,"task":"nightly","nominal":"<aws.scheduler.scheduled-time>"}"#;
    let arn = "arn:aws:scheduler:eu-central-1:123456789012:schedule/acme/nightly";
    let told = [("SCHEDULE_ARN", arn), ("SCHEDULED_TIME", time), ("ERROR_CODE", "AccessDeniedException")];
    let run = RunId::from_nominal_time(&task, Timestamp::parse_rfc3339(time).expect("a time"));
    for _ in 0..2 {
        let answer = handle(&context(ports.clone()), given_up(body, &told), FAR).await.expect("answered");
        assert!(failed(&answer).is_empty());
        assert!(ports.runs.load(&run).await.expect("read").is_some(), "the run of the due time has begun");
    }
    let answer = handle(&context(ports.clone()), given_up(body, &[]), FAR).await.expect("answered");
    assert!(failed(&answer).is_empty());
    assert_eq!(
        ports.queues.depth(&QueueName::DeadLetter).await.expect("counted"),
        1,
        "without its time it is a dead letter"
    );
}

#[test]
fn sender_is_read_from_its_message() {
    let role = "AROAAGENTSOFDEFAULT01";
    let senders = windlass_aws::sender::Senders::new(
        ["AROACOORDINATOR000001".to_owned()],
        [(PoolName::default(), role.to_owned())],
    );
    let context = Context { senders, ..context(host().ports()) };
    let check = |source: &Source, attributes: Value, expected: &Sender| {
        let message: SqsMessage =
            serde_json::from_value(json!({ "attributes": attributes, "messageAttributes": {} })).expect("a message");
        assert_eq!(sender_of(&context, source, &message), *expected, "{attributes}");
    };
    let named = |id: &str| json!({ "SenderId": id });
    check(
        &Source::Inputs(QueueName::Inbox),
        named("AROAAGENTSOFDEFAULT01:task-1"),
        &Sender::AgentOf(PoolName::default()),
    );
    check(&Source::Inputs(QueueName::Inbox), named("AROACOORDINATOR000001:acme-coordinator"), &Sender::Host);
    check(&Source::Inputs(QueueName::Inbox), named("123456789012"), &Sender::Unknown);
    check(&Source::Inputs(QueueName::Inbox), json!({}), &Sender::Unknown);
    check(&Source::Dead(QueueName::Inbox), named("AROAAGENTSOFDEFAULT01:x"), &Sender::AgentOf(PoolName::default()));
    check(&Source::Schedules, json!({}), &Sender::Host);
}

#[tokio::test]
async fn message_without_id_fails_the_batch() {
    let records = json!({ "Records": [{ "body": "{}", "eventSourceARN": INBOX, "attributes": {} }] });
    let event: SqsEvent = serde_json::from_value(records).expect("an event");
    assert!(handle(&context(host().ports()), event, FAR).await.is_err());
    assert_eq!(source_of("", "acme-"), Source::Foreign(String::new()));
}
