//! Runs over the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use windlass_aws::{AwsHost, RunTable};
use windlass_contract::event::PublicEvent;
use windlass_domain::caller::Caller;
use windlass_domain::content::{Content, Place, Wanted};
use windlass_domain::ids::{ActionIndex, AgentId, RunId, TaskName};
use windlass_domain::run::{ActionAt, Fact, FactKind, Origin, Owner, Run, RunStatus, apply};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{
    Clock, Created, ErrorClass, EventCursor, LoggedEvent, Outgoing, PortError, QueueName, Records, RunFilter, RunPage,
    Runs,
};
use windlass_testkit::conformance::{self, Timing};
use windlass_testkit::memory::MemoryHost;

use crate::stack::Stack;

/// Two processes, each with its own memory, that take turns. Each must read the writes of the other, and its own cache
/// must not mislead it.
struct InTurn {
    adapters: [RunTable; 2],
    turn: AtomicUsize,
}

impl InTurn {
    fn next(&self) -> &RunTable {
        &self.adapters[self.turn.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

#[async_trait]
impl Records<Run> for InTurn {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        self.next().load(id).await
    }

    async fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        self.next().fill(run, wanted).await
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        self.next().commit(before, after, events).await
    }
}

#[async_trait]
impl Runs for InTurn {
    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        messages: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError> {
        self.next().create(run, events, messages).await
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        self.next().changed(id, revision, at_most).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.next().list(filter).await
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        self.next().stale(now, untouched_since, most).await
    }

    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        self.next().delete_run(run).await
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.next().events(id, after, most).await
    }
}

/// A clock that stands still.
struct Standing(Timestamp);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A process of its own, which remembers nothing.
fn process(host: &AwsHost, others: &Ports, clock: Arc<dyn Clock>) -> RunTable {
    RunTable::new(host.clients(), host.settings(), Arc::new(Definitions::new(others.tasks.clone())), clock)
}

fn others() -> Ports {
    MemoryHost::new(Timestamp::from_millis(0)).ports()
}

/// The table hands a stale run out only once in a while. A second case beside the first could take its run, so the
/// cases run one at a time.
#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let (host, others) = (Stack::get().host().await, others());
    let adapters = [process(&host, &others, host.clock()), process(&host, &others, host.clock())];
    let runs = Arc::new(InTurn { adapters, turn: AtomicUsize::new(0) });
    let ports = Ports { runs, clock: host.clock(), ..others };
    conformance::runs(async || ports.clone(), Timing { at_once: 1, ..Timing::WIRE }).await;
    a_run_is_never_out_of_sight(&host).await;
}

fn task(name: &str) -> TaskName {
    TaskName::new(name).expect("a name")
}

fn run_of(name: &str, actions: usize, input: Value, now: Timestamp) -> Run {
    let id = RunId::from_key(&task(name), &format!("{}-{}", now.as_millis(), std::process::id()));
    Run::submitted(id, (task(name), 1), actions, input, Origin::Request, now)
}

fn changed(before: &Run, at: Timestamp, kind: FactKind) -> Run {
    let mut after = before.clone();
    apply(&mut after, &Fact::told(at, kind));
    after.revision += 1;
    after
}

fn succeeded(action: usize, output: Value) -> FactKind {
    let of = ActionAt { action: ActionIndex::from_usize(action), attempt: 1 };
    let agent = AgentId::new("a-ip-10-0-3-7-default-11-6ba7b810").ok();
    FactKind::ActionSucceeded { of, by: agent.map(|agent| Owner::of_end(agent, Timestamp::from_millis(0))), output }
}

fn finished(status: RunStatus) -> FactKind {
    FactKind::RunFinished { status, output: None, error: None }
}

/// Whenever a run is written, the sweeper finds it within two minutes of its time.
async fn a_run_is_never_out_of_sight(host: &AwsHost) {
    const NEVER: Timestamp = Timestamp::from_millis(i64::MIN);
    const MINUTE: i64 = 60_000;
    let others = others();
    for (number, written_at) in (0_i64..).zip([1_000, 99_000, 101_000, 119_000, 121_000, 10 * MINUTE]) {
        // Far from the time of the other cases.
        let at = |after: i64| Timestamp::from_millis(4_000_000_000_000 + number * 200 * MINUTE + after);
        let at_time = |after: i64| process(host, &others, Arc::new(Standing(at(after))));
        let run = run_of("in-sight", 2, json!(null), at(0));
        at_time(0).create(&run, &[], &[]).await.expect("it is created");
        let (mut current, mut found_at) = (run.clone(), Vec::new());
        for minute in 1..26 {
            let now = minute * MINUTE + 500;
            if current.revision == 0 && now > written_at {
                current = changed(&run, at(written_at), FactKind::RunStarted { deadline: None });
                current.wake_at = Some(at(written_at + 10 * MINUTE));
                at_time(written_at).commit(&run, &current, &[]).await.expect("it is written");
            }
            let found = at_time(now).stale(at(now), NEVER, 10_000).await.expect("the sweeper looks");
            found_at.extend(found.contains(&run.id).then_some(now));
        }
        let after = found_at.iter().find(|at| **at > written_at);
        let is_found = after.is_some_and(|after| (10 * MINUTE..=12 * MINUTE).contains(&(after - written_at)));
        assert!(is_found, "written after {written_at} ms, found at {found_at:?}");
        let ended = changed(&current, at(30 * MINUTE), finished(RunStatus::Succeeded));
        at_time(30 * MINUTE).commit(&current, &ended, &[]).await.expect("it ends");
        let found = at_time(60 * MINUTE).stale(at(60 * MINUTE), NEVER, 10_000).await.expect("it looks");
        assert!(!found.contains(&run.id), "it has ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transition_of_small_run_is_one_write_unit() {
    let host = Stack::get().host().await;
    let runs = process(&host, &others(), host.clock());
    let now = host.clock().now();
    let run = run_of("small", 10, json!({ "day": "today" }), now);
    runs.create(&run, &[], &[]).await.expect("it is created");
    let before = host.meter().snapshot();
    for action in 0..10 {
        let read = runs.glance(&run.id).await.expect("it is read").record.expect("it is there");
        let written = changed(&read, now, succeeded(action, json!({ "rows": 1234 + action })));
        runs.commit(&read, &written, &[]).await.expect("it is written");
    }
    let counted = host.meter().snapshot().since(&before);
    assert_eq!(counted.total("DynamoDB", "PutItem"), (10, 10.0), "{counted:?}");
    assert_eq!(counted.total("DynamoDB", "GetItem"), (10, 5.0), "{counted:?}");
    assert_eq!(counted.entries.iter().map(|entry| entry.requests).sum::<u64>(), 20, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_is_put_once_and_loss_reported() {
    let host = Stack::get().host().await;
    let now = host.clock().now();
    let input = json!({ "text": "payload ".repeat(400) });
    let (one, other) = (process(&host, &others(), host.clock()), process(&host, &others(), host.clock()));
    let run = run_of("payload", 2, input.clone(), now);
    let before = host.meter().snapshot();
    one.create(&run, &[], &[]).await.expect("it is created");
    one.create(&run_of("payload", 2, input.clone(), now.plus(Millis(1))), &[], &[]).await.expect("another one");
    assert_eq!(other.load(&run.id).await.expect("it is read"), Some(run.clone()));
    let after = changed(&run, now, FactKind::RunStarted { deadline: None });
    other.commit(&run, &after, &[]).await.expect("it is written");
    let mut found = other.load(&run.id).await.expect("it is read").expect("it is there");
    assert_eq!(found, after);
    let counted = || {
        let counted = host.meter().snapshot().since(&before);
        (counted.total("S3", "PutObject").0, counted.total("S3", "GetObject").0)
    };
    assert_eq!(counted(), (1, 0), "a load reads the record alone");
    let place = Wanted::from([Place::Input]);
    for _ in 0..2 {
        found = found.bare();
        other.fill(&mut found, &place).await.expect("it is read");
        assert_eq!((found.value(Place::Input), counted()), (Some(&input), (1, 1)));
    }

    let bucket = &host.settings().bucket;
    let listed = host.clients().s3.list_objects_v2().bucket(bucket).prefix("payload/").send().await.expect("a list");
    for key in listed.contents().iter().filter_map(|object| object.key()) {
        let object = host.clients().s3.get_object().bucket(bucket).key(key).send().await.expect("it is there");
        if object.body.collect().await.expect("it is read").into_bytes() == input.to_string().as_bytes() {
            host.clients().s3.delete_object().bucket(bucket).key(key).send().await.expect("it is deleted");
        }
    }
    found = found.bare();
    let lost = process(&host, &others(), host.clock()).fill(&mut found, &place).await.expect_err("its input is lost");
    assert_eq!((lost.class, lost.code), (ErrorClass::Bug, "WL0346"));
    other.fill(&mut found, &place).await.expect("who has read it remembers it");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_item_is_reported() {
    let host = Stack::get().host().await;
    let run = run_of("damaged", 2, json!(null), host.clock().now());
    process(&host, &others(), host.clock()).create(&run, &[], &[]).await.expect("it is created");
    let update = host.clients().dynamodb.update_item().table_name(&host.settings().table);
    let update = update.key("pk", AttributeValue::S(format!("RUN#{}", run.id)));
    let update = update.key("sk", AttributeValue::S("HEAD".to_owned())).update_expression("SET b = :b");
    let damage = AttributeValue::B(Blob::new([9, 1, 2]));
    update.expression_attribute_values(":b", damage).send().await.expect("it is damaged");
    let told = process(&host, &others(), host.clock()).load(&run.id).await.expect_err("it can not be read");
    assert_eq!((told.class, told.code), (ErrorClass::Bug, "WL0345"));
    assert!(told.message.contains(&run.id.to_string()) && told.message.contains("version 9"), "{}", told.message);
    // It stays there for the other tests: no list and no sweep stops at it.
    let other = run_of("damaged", 2, json!(null), host.clock().now().plus(Millis(5)));
    let runs = process(&host, &others(), host.clock());
    runs.create(&other, &[], &[]).await.expect("it is created");
    let filter = RunFilter { task: Some(task("damaged")), limit: 10, ..RunFilter::default() };
    let listed = runs.list(&filter).await.expect("the others are listed").runs;
    assert_eq!(listed.iter().map(|run| run.id).collect::<Vec<_>>(), [other.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retried_run_keeps_its_pages() {
    let host = Stack::get().host().await;
    let (runs, now) = (process(&host, &others(), host.clock()), host.clock().now());
    let mut run = run_of("again", 300, json!(null), now);
    for action in 0..300 {
        let output = json!((action as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string());
        apply(&mut run, &Fact::told(now, succeeded(action, output)));
    }
    runs.create(&run, &[], &[]).await.expect("it is created");
    let ended = changed(&run, now, finished(RunStatus::Failed));
    runs.commit(&run, &ended, &[]).await.expect("it ends");
    let (items, expiring) = items_of(&host, run.id).await;
    assert!(items > 4, "it has pages");
    assert_eq!(expiring, items, "the head and its pages expire");

    let again = FactKind::RunRetried { deadline: None, actions: vec![ActionIndex(7)], caller: Caller::HOST };
    let again = changed(&ended, now.plus(Millis(1000)), again);
    runs.commit(&ended, &again, &[]).await.expect("it is taken up again");
    let (after, expiring) = items_of(&host, run.id).await;
    assert_eq!((after - expiring, expiring), (items, items - 1), "the old pages expire, beside the new ones");
    let read = process(&host, &others(), host.clock()).load(&run.id).await.expect("it is read");
    assert_eq!(read, Some(again));
}

/// A writer that dies after its pages and before the head leaves a slot of each page taken, for good at that revision.
#[tokio::test(flavor = "multi_thread")]
async fn writers_that_died_do_not_stop_the_run() {
    let host = Stack::get().host().await;
    let (runs, now) = (process(&host, &others(), host.clock()), host.clock().now());
    let run = run_of("slots", 300, json!(null), now);
    runs.create(&run, &[], &[]).await.expect("it is created");
    let all_done = |before: &Run| {
        let mut after = before.clone();
        for action in 0..300 {
            let output = json!((action as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string());
            apply(&mut after, &Fact::told(now, succeeded(action, output)));
        }
        Run { revision: before.revision + 1, ..after }
    };
    let after = all_done(&run);
    for (page, slot) in (0..5).flat_map(|page| (0..64).map(move |slot| (page, slot))) {
        let item = [
            ("pk", AttributeValue::S(format!("RUN#{}", run.id))),
            ("sk", AttributeValue::S(format!("PAGE#{page}#{slot}"))),
            ("g", AttributeValue::N((after.revision + 1).to_string())),
        ];
        let item = item.map(|(name, value)| (name.to_owned(), value)).into();
        let put = host.clients().dynamodb.put_item().table_name(&host.settings().table).set_item(Some(item));
        put.send().await.expect("it is written");
    }
    let conflict = runs.commit(&run, &after, &[]).await.expect_err("there is no place for a page");
    assert_eq!(conflict.class, ErrorClass::Conflict);
    let passed = runs.load(&run.id).await.expect("it is read").expect("it is there");
    assert_eq!(passed, Run { revision: run.revision + 1, ..run });
    let after = all_done(&passed);
    runs.commit(&passed, &after, &[]).await.expect("every slot is free at the next revision");
    let read = process(&host, &others(), host.clock()).load(&after.id).await.expect("it is read");
    assert_eq!(read, Some(after));
}

/// `DynamoDB` deletes an expired run within a few days. Its id, and so its idempotency key, is free before that.
#[tokio::test(flavor = "multi_thread")]
async fn expired_run_frees_its_id() {
    let host = Stack::get().host().await;
    let start = host.clock().now();
    let at = |days: u64| start.plus(Millis::from_secs(days * 86_400));
    let on = |days| process(&host, &others(), Arc::new(Standing(at(days))));
    let first = run_of("expired", 2, json!("first"), start);
    let runs = on(0);
    runs.create(&first, &[], &[]).await.expect("it is created");
    let ended = changed(&first, start, finished(RunStatus::Failed));
    runs.commit(&first, &ended, &[]).await.expect("it ends");

    let second = Run { submitted_at: at(91), input: Content::Here(json!("second")), ..first.clone() };
    assert_eq!(on(89).create(&second, &[], &[]).await.expect("asked"), Created::Existing);
    let later = on(91);
    assert_eq!(later.load(&first.id).await.expect("asked"), None, "it is not seen");
    assert_eq!(later.create(&second, &[], &[]).await.expect("it is created"), Created::New);
    assert_eq!(later.create(&second, &[], &[]).await.expect("asked"), Created::Existing);
    assert_eq!(on(91).load(&first.id).await.expect("it is read"), Some(second.clone()));
    // Also by a process that remembers the first one.
    assert_eq!(runs.load(&first.id).await.expect("it is read"), Some(second));
}

/// How many items a run has, and how many of them expire.
async fn items_of(host: &AwsHost, id: RunId) -> (usize, usize) {
    let query = host.clients().dynamodb.query().table_name(&host.settings().table);
    let key = AttributeValue::S(format!("RUN#{id}"));
    let query = query.key_condition_expression("pk = :pk").expression_attribute_values(":pk", key);
    let items = query.send().await.expect("a query").items.unwrap_or_default();
    (items.len(), items.iter().filter(|item| item.contains_key("expires_at")).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_read_back_from_the_record() {
    let (host, others) = (Stack::get().host().await, others());
    let source = json!({ "task": "told", "actions": { "a": { "exec": ["x"] }, "b": { "exec": ["x"] } } });
    others.tasks.put(&task("told"), &source, None, Timestamp::from_millis(0)).await.expect("it is a task");
    let (runs, now) = (process(&host, &others, host.clock()), host.clock().now());
    let mut run = run_of("told", 2, json!(null), now);
    runs.create(&run, &[], &[]).await.expect("it is created");
    let queued = |action| FactKind::ActionQueued { of: ActionAt { action: ActionIndex(action), attempt: 1 }, issue: 0 };
    let long = json!("x".repeat(3000));
    for kind in [FactKind::RunStarted { deadline: None }, queued(0), succeeded(0, long.clone())] {
        let after = changed(&run, now, kind);
        runs.commit(&run, &after, &[]).await.expect("it is written");
        run = after;
    }
    let told = process(&host, &others, host.clock()).events(run.id, None, 100).await.expect("they are told");
    let kinds: Vec<&str> = told.iter().map(|logged| logged.event.kind.as_str()).collect();
    assert!(kinds.starts_with(&["run.started"]) && kinds.ends_with(&["action.succeeded"]), "{kinds:?}");
    assert!(told.is_sorted_by(|one, next| one.cursor < next.cursor));
    assert_eq!(told.last().map(|last| &last.event.data["output"]), Some(&long), "also by a process that must load it");
    let first = runs.events(run.id, None, 1).await.expect("they are told");
    assert_eq!(first.len(), 1);
    let rest = runs.events(run.id, first.last().map(|last| last.cursor.clone()), 100).await.expect("they are told");
    assert_eq!([first, rest].concat(), told);
    let last = told.last().map(|last| last.cursor.clone());
    assert_eq!(runs.events(run.id, last.clone(), 100).await.expect("they are told"), []);
    let after = changed(&run, now, queued(1));
    runs.commit(&run, &after, &[]).await.expect("it is written");
    assert!(!runs.events(run.id, last, 100).await.expect("they are told").is_empty(), "what came after the last");
    let unknown = run_of("told", 1, json!(null), Timestamp::from_millis(5)).id;
    assert_eq!(runs.events(unknown, None, 10).await.expect("they are told"), []);
}
