//! Submitting runs while callers die, calls cross and queues are out of reach. One key is one run, and the record has
//! each run of an answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};
use windlass_contract::message::{InboxMessage, PerformMessage, decode, encode};
use windlass_domain::caller::{Caller, Way};
use windlass_domain::content::Place;
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionIndex, PoolName, RunId, TaskName};
use windlass_domain::run::{ActionAt, ActionStatus, Input, Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{Clock, ErrorClass, Outgoing, PortError, QueueName, RunFilter, TaskRecord};
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::registry::Registry;
use windlass_engine::submit::{StartError, StartRequest, Started, Starter};
use windlass_engine::sweeper::Sweeper;
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::memory::MemoryHost;
use windlass_testkit::watched::WatchedQueues;

use crate::world::first_report;

const TASK: &str = "task: t
events: all
schedule: { every: 1h }
input: { type: object, properties: { n: { type: integer, default: 1 } } }
actions:
  a: { exec: [echo] }
";

fn task() -> TaskName {
    TaskName::new("t").unwrap()
}

fn request(key: Option<&str>) -> StartRequest {
    let (key, caller) = (key.map(str::to_owned), Caller::by(Way::Api));
    StartRequest { task: task(), version: None, input: Value::Null, key, caller }
}

async fn host() -> MemoryHost {
    host_with(TASK).await
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

/// A task of that many actions. All others need the first.
fn fan(actions: usize) -> String {
    let others: Vec<String> = (1..actions).map(|n| format!("  b{n}: {{ needs: [a], exec: [echo] }}\n")).collect();
    format!("{TASK}{}", others.concat())
}

async fn host_with(source: &str) -> MemoryHost {
    let host = MemoryHost::new(Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap());
    registry(&host.ports()).put(&Definition::from_text(source).unwrap()).await.unwrap();
    host.serve(&PoolName::default());
    host
}

/// How many messages of a run's start are in the inbox.
fn starts(host: &MemoryHost, id: RunId) -> usize {
    let is_start = |body: &&String| matches!(decode(body).unwrap(), InboxMessage::Run { run, input: Input::Start, .. } if run == id);
    host.messages(&QueueName::Inbox).iter().filter(is_start).count()
}

/// The messages of a run's attempts in the pool.
fn attempts(host: &MemoryHost, id: RunId) -> Vec<PerformMessage> {
    let messages = host.messages(&QueueName::Pool(PoolName::default()));
    messages.iter().map(|body| decode::<PerformMessage>(body).unwrap()).filter(|perform| perform.run == id).collect()
}

/// The process manager handles the visible messages. The start of a run that does not exist stays in the inbox.
async fn manage(host: &MemoryHost) {
    let ports = host.ports();
    let manager = ProcessManager::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
    loop {
        let visibility = Duration::from_secs(30);
        let batch = ports.queues.receive(&QueueName::Inbox, 10, visibility, Duration::ZERO).await.unwrap();
        if batch.is_empty() {
            return;
        }
        let done = manager.handle(&QueueName::Inbox, &batch, None).await;
        for (received, done) in batch.into_iter().zip(done) {
            if done {
                ports.queues.delete(&QueueName::Inbox, vec![received.receipt]).await.unwrap();
                continue;
            }
            let message = decode(&received.body).unwrap();
            let InboxMessage::Run { run, input: Input::Start, .. } = message else { panic!("failed: {message:?}") };
            assert_eq!(ports.runs.load(&run).await.unwrap(), None, "the start of a run that exists is handled");
        }
    }
}

async fn report(host: &MemoryHost, run: RunId, input: Input) {
    let message = encode(&InboxMessage::of_run(run, input));
    host.ports().queues.send(&QueueName::Inbox, vec![Outgoing::now(message)]).await.unwrap();
    manage(host).await;
}

/// Time passes, with the sweeper's round each minute.
async fn pass(host: &MemoryHost, minutes: u64) {
    let sweeper = Sweeper::new(host.ports(), Duration::from_secs(1));
    for _ in 0..minutes {
        host.advance(Millis::from_secs(60));
        manage(host).await;
        sweeper.round(host.ports().clock.now()).await.unwrap();
        manage(host).await;
    }
}

/// The run has begun: an agent can perform its first action, and no other; its events were published.
fn check_begun(host: &MemoryHost, run: &Run, case: &str) {
    assert_eq!(run.status, RunStatus::Running, "{case}");
    let sent = attempts(host, run.id);
    assert!(!sent.is_empty(), "{case}: no agent can perform it");
    let first = ActionAt { action: ActionIndex(0), attempt: 1 };
    assert!(sent.iter().all(|perform| (perform.of, perform.fence) == (first, 1)), "{case}: {sent:?}");
    assert!(sent.iter().skip(1).all(|again| again.issue > 0), "{case}: only the first message may begin unasked");
    let told: BTreeSet<String> = host.published().into_iter().map(|event| event.kind).collect();
    assert_eq!(told, BTreeSet::from(["run.started".into(), "action.queued".into()]), "{case}");
}

#[tokio::test(start_paused = true)]
async fn repeated_call_of_dead_caller_has_one_run() {
    for (actions, moment) in [(1, Moment::Before), (1, Moment::After), (65, Moment::Before), (65, Moment::After)] {
        for call in 0.. {
            let case = format!("{actions} actions, {moment:?} {call}");
            let host = host_with(&fan(actions)).await;
            let faulty = FaultyHost::crashing(host.ports(), call, moment);
            let first = starter(&faulty.ports()).start(request(Some("k"))).await;
            if let Ok(Started { run, .. }) = &first {
                assert!(runs(&host).await.contains(&run.id), "{case}: what was answered is recorded");
            }
            let again = starter(&host.ports()).start(request(Some("k"))).await.unwrap();
            let id = again.run.id;
            assert_eq!(runs(&host).await, BTreeSet::from([id]), "{case}");
            assert_eq!(again.run.value(Place::Input), Some(&json!({ "n": 1 })));
            // Until then the queue holds back the message of the start.
            host.advance(Millis::from_secs(60));
            manage(&host).await;
            let run = host.ports().runs.load(&id).await.unwrap().unwrap();
            check_begun(&host, &run, &case);
            let events = host.ports().runs.events(id, None, 1000).await.unwrap();
            assert_eq!(events.len(), 2, "{case}: what happened once is logged once");
            if faulty.calls() <= call {
                break;
            }
        }
    }
}

/// No caller asks again: the submitter died before, between or after its writes.
#[tokio::test(start_paused = true)]
async fn run_of_dead_submitter_begins_within_three_minutes() {
    for (actions, moment) in [(1, Moment::Before), (1, Moment::After), (65, Moment::Before), (65, Moment::After)] {
        for call in 0.. {
            let case = format!("{actions} actions, {moment:?} {call}");
            let host = host_with(&fan(actions)).await;
            let faulty = FaultyHost::crashing(host.ports(), call, moment);
            let _ = starter(&faulty.ports()).start(request(None)).await;
            // The record was written a little after its caller had looked at the clock, or at that very instant.
            host.advance(Millis(u64::try_from(call % 3).unwrap() * 7));
            pass(&host, 3).await;
            for id in runs(&host).await {
                let run = host.ports().runs.load(&id).await.unwrap().unwrap();
                check_begun(&host, &run, &case);
            }
            pass(&host, 1).await;
            assert_eq!(host.messages(&QueueName::Inbox), Vec::<String>::new(), "{case}: every start is acknowledged");
            assert_eq!(host.messages(&QueueName::DeadLetter), Vec::<String>::new(), "{case}");
            if faulty.calls() <= call {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reported_run_is_not_started_again() {
    let host = host().await;
    let id = starter(&host.ports()).start(request(Some("k"))).await.unwrap().run.id;
    let (of, started_at) = (first_report(&attempts(&host, id)[0], "agent"), host.ports().clock.now());
    report(&host, id, Input::Started { of, started_at }).await;
    pass(&host, 10).await;
    assert_eq!((starts(&host, id), attempts(&host, id).len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn repeated_call_sends_nothing() {
    let host = host().await;
    let starter = starter(&host.ports());
    let first = starter.start(request(Some("k"))).await.unwrap();
    let second = starter.start(request(Some("k"))).await.unwrap();
    assert_eq!((first.created, second.created, second.run.id), (true, false, first.run.id));
    assert_eq!((starts(&host, first.run.id), attempts(&host, first.run.id).len()), (1, 1));
}

/// The message that completes a start waits for a minute, so that the first agent can report before.
#[tokio::test(start_paused = true)]
async fn start_message_resends_after_a_minute() {
    let host = host().await;
    let id = starter(&host.ports()).start(request(None)).await.unwrap().run.id;
    host.advance(Millis(59_999));
    manage(&host).await;
    assert_eq!((starts(&host, id), attempts(&host, id).len()), (1, 1));
    host.advance(Millis(1));
    manage(&host).await;
    let sent: Vec<bool> = attempts(&host, id).iter().map(|perform| perform.issue > 0).collect();
    assert_eq!((starts(&host, id), sent), (0, vec![false, true]), "an agent must claim the second message");
}

#[tokio::test(start_paused = true)]
async fn caller_that_hangs_up_submits_all_the_same() {
    let host = host().await;
    let ports = FaultyHost::interleaving(host.ports(), 1).ports();
    assert!(starter(&ports).start(request(None)).now_or_never().is_none(), "it hangs up before it is answered");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let ids = runs(&host).await;
    let id = *ids.first().expect("the run is recorded");
    assert_eq!((ids.len(), attempts(&host, id).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn crossing_calls_with_one_key_make_one_run() {
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
async fn crossing_calls_with_two_inputs_refuse_one() {
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

fn out_of_reach() -> PortError {
    PortError::new(ErrorClass::Retry, "WL0304", "send: out of reach")
}

/// An error after the record was written would make a caller without a key submit a second run.
#[tokio::test(start_paused = true)]
async fn start_message_completes_an_unsent_start() {
    let host = host().await;
    let refused = |queue: &QueueName, _: &Outgoing| (*queue != QueueName::Inbox).then(out_of_reach);
    let queues = WatchedQueues::refusing(host.ports().queues, refused);
    let started = starter(&queues.on(&host.ports())).start(request(None)).await.unwrap();
    assert_eq!((started.created, started.run.status), (true, RunStatus::Running));
    assert_eq!((starts(&host, started.run.id), attempts(&host, started.run.id)), (1, vec![]));

    host.advance(Millis::from_secs(60));
    manage(&host).await;
    check_begun(&host, &started.run, "completed");
    assert!(attempts(&host, started.run.id)[0].issue > 0, "the first message may have been sent");
}

#[tokio::test(start_paused = true)]
async fn submitter_without_first_message_records_nothing() {
    let host = host().await;
    let queues = WatchedQueues::refusing(host.ports().queues, |_, _| Some(out_of_reach()));
    let refused = starter(&queues.on(&host.ports())).start(request(None)).await;
    assert!(matches!(&refused, Err(StartError::Port(error)) if error.code == "WL0304"), "{refused:?}");
    assert_eq!(runs(&host).await, BTreeSet::new());
}

/// A clock on which so much time passes between any two looks.
struct Slow(MemoryHost, Duration, AtomicU32);

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.1 * self.2.fetch_add(1, Ordering::Relaxed)
    }
}

/// The process manager may have given up the message of a start by the time at which a slow submitter writes.
#[tokio::test(start_paused = true)]
async fn submitter_held_up_for_thirty_seconds_records_nothing() {
    for (millis, is_recorded) in [(29_999, true), (30_000, false)] {
        let host = host().await;
        let clock = Slow(host.clone(), Duration::from_millis(millis), AtomicU32::new(0));
        let ports = Ports { clock: Arc::new(clock), ..host.ports() };
        let answer = starter(&ports).start(request(None)).await;
        assert_eq!(runs(&host).await.len(), usize::from(is_recorded), "{millis} ms");
        match answer {
            Ok(started) => assert!(is_recorded && started.created, "{millis} ms"),
            Err(StartError::Port(error)) => assert_eq!((error.class, error.code), (ErrorClass::Retry, "WL0704")),
            Err(error) => panic!("{error}"),
        }
        pass(&host, 4).await;
        assert_eq!(host.messages(&QueueName::Inbox), Vec::<String>::new(), "{millis} ms");
        assert_eq!(host.messages(&QueueName::DeadLetter), Vec::<String>::new(), "{millis} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn ids_of_one_millisecond_are_in_order() {
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
async fn task_is_deleted_beside_other_writers() {
    for seed in 0..100 {
        let host = host().await;
        let ports = FaultyHost::interleaving(host.ports(), seed).ports();
        let (registry, name) = (registry(&ports), task());
        let write = async {
            for at in 0..5 {
                let Some(record) = ports.tasks.load(&name).await.unwrap() else { continue };
                let (active, revision) = (Some(Timestamp::from_millis(at)), record.revision + 1);
                let fired = TaskRecord { active, revision, ..record.clone() };
                let _ = ports.tasks.commit(&record, &fired, &[]).await;
            }
        };
        let (deleted, ()) = tokio::join!(registry.delete(&name), write);
        deleted.unwrap();
        let record = host.ports().tasks.load(&task()).await.unwrap().unwrap();
        assert!(record.deleted && record.next_due.is_none(), "seed {seed}: {record:?}");
        assert!(matches!(starter(&ports).start(request(None)).await, Err(StartError::DeletedTask(_))));
    }
}

/// A host may hand out a stale run rarely, as `DynamoDB`'s does: the sweeper sends the attempt whenever it finds the run.
#[tokio::test(start_paused = true)]
async fn sweeper_sends_what_all_queues_lost() {
    for first in (100..160).step_by(5) {
        let host = host().await;
        let started = starter(&host.ports()).start(request(None)).await.unwrap();
        for queue in [QueueName::Inbox, QueueName::Pool(PoolName::default())] {
            host.ports().queues.remove(&queue).await.unwrap();
        }
        let sweeper = Sweeper::new(host.ports(), Duration::from_secs(1));
        let (mut age, mut wait) = (0, first);
        while age < 600 {
            assert_eq!(attempts(&host, started.run.id), [], "sent again after {age} s");
            host.advance(Millis::from_secs(wait));
            age += wait;
            wait = age.clamp(120, 900);
            sweeper.round(host.ports().clock.now()).await.unwrap();
            manage(&host).await;
        }
        assert!(!attempts(&host, started.run.id).is_empty(), "first looked at after {first} s");
    }
}

/// The submitter has no input that comes again. So the process manager decides a start that ends an action.
#[tokio::test(start_paused = true)]
async fn process_manager_decides_start_that_ends_action() {
    let host = host_with(&format!("{TASK}  b: {{ when: \"false\", exec: [echo] }}\n")).await;
    let started = starter(&host.ports()).start(request(None)).await.unwrap();
    assert_eq!((started.run.status, starts(&host, started.run.id)), (RunStatus::Submitted, 2));
    manage(&host).await;
    assert_eq!(starts(&host, started.run.id), 1, "one message is held back");
    let run = host.ports().runs.load(&started.run.id).await.unwrap().unwrap();
    assert_eq!((run.status, run.action(ActionIndex(1)).status), (RunStatus::Running, ActionStatus::Skipped));
}

/// The submitter died when it had sent the first of two attempts, or before it had sent any and a caller paused the run.
#[tokio::test(start_paused = true)]
async fn each_lost_attempt_of_a_start_is_resent() {
    for is_paused in [false, true] {
        let host = host_with(&format!("{TASK}  b: {{ exec: [echo] }}\n")).await;
        let id = starter(&host.ports()).start(request(None)).await.unwrap().run.id;
        let (of, started_at) = (first_report(&attempts(&host, id)[0], "agent-1"), host.ports().clock.now());
        host.ports().queues.remove(&QueueName::Pool(PoolName::default())).await.unwrap();
        let input = if is_paused { Input::Pause { pauses: 0, retries: 0 } } else { Input::Started { of, started_at } };
        report(&host, id, input).await;
        // The message of the start comes after a minute.
        pass(&host, 2).await;
        let sent: BTreeSet<u32> = attempts(&host, id).iter().map(|sent| sent.of.action.0).collect();
        let unsent = if is_paused { BTreeSet::from([0, 1]) } else { BTreeSet::from([1]) };
        assert_eq!(sent, unsent, "paused: {is_paused}");
    }
}
