//! Submitting runs while callers die, calls cross and the inbox is out of reach: one key is one run, and a run that
//! was answered is recorded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_contract::message::{InboxMessage, MESSAGE_VERSION, PerformMessage, decode, encode};
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName, RunId, TaskName};
use windlass_domain::run::{ActionAt, ActionStatus, Input, Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{ErrorClass, Outgoing, PortError, QueueName, RunFilter, TaskRecord};
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::registry::Registry;
use windlass_engine::starter::{StartError, StartRequest, Started, Starter};
use windlass_engine::sweeper::Sweeper;
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::memory::MemoryHost;
use windlass_testkit::watched::WatchedQueues;

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
    StartRequest { task: task(), version: None, input: Value::Null, key: key.map(str::to_owned) }
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

/// A task of that many actions, of which the first needs nothing and is needed by all others.
fn fan(actions: usize) -> String {
    let others: Vec<String> = (1..actions).map(|n| format!("  b{n}: {{ needs: [a], exec: [echo] }}\n")).collect();
    format!("{TASK}{}", others.concat())
}

async fn host_with(source: &str) -> MemoryHost {
    let host = MemoryHost::new(Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap());
    registry(&host.ports()).put(&Definition::from_text(source).unwrap()).await.unwrap();
    host
}

/// How often the start of a run was asked of the process manager.
fn starts(host: &MemoryHost, id: RunId) -> usize {
    let is_start = |body: &&String| matches!(decode(body).unwrap(), InboxMessage::Run { run, input: Input::Start, .. } if run == id);
    host.messages(&QueueName::Inbox).iter().filter(is_start).count()
}

/// The messages of a run's attempts in the pool.
fn attempts(host: &MemoryHost, id: RunId) -> Vec<PerformMessage> {
    let messages = host.messages(&QueueName::Pool(PoolName::default()));
    messages.iter().map(|body| decode::<PerformMessage>(body).unwrap()).filter(|perform| perform.run == id).collect()
}

/// The process manager handles what it can see.
async fn manage(host: &MemoryHost) {
    let ports = host.ports();
    let manager = ProcessManager::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
    loop {
        let visibility = Duration::from_secs(30);
        let batch = ports.queues.receive(&QueueName::Inbox, 10, visibility, Duration::ZERO).await.unwrap();
        if batch.is_empty() {
            return;
        }
        assert!(manager.handle(&batch, None).await.iter().all(|done| *done), "{batch:?}");
        let receipts = batch.into_iter().map(|delivery| delivery.receipt).collect();
        ports.queues.delete(&QueueName::Inbox, receipts).await.unwrap();
    }
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

/// The run has begun: its first action can be performed, and no other; who follows its events was told.
fn check_begun(host: &MemoryHost, run: &Run, case: &str) {
    assert_eq!(run.status, RunStatus::Running, "{case}");
    let sent = attempts(host, run.id);
    assert!(!sent.is_empty(), "{case}: nobody can perform it");
    let first = ActionAt { action: ActionIndex(0), attempt: 1, fence: 1 };
    assert!(sent.iter().all(|perform| perform.of == first), "{case}: {sent:?}");
    assert!(sent.iter().skip(1).all(|again| again.claim), "{case}: only the first message is begun unasked");
    let mut told: BTreeSet<String> = host.published().into_iter().map(|event| event.kind).collect();
    // That there is no agent is no news of the run: it begins all the same.
    told.remove("action.unserved");
    assert_eq!(told, BTreeSet::from(["run.started".into(), "action.queued".into()]), "{case}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_dies_at_any_call_and_asks_again_has_one_run_that_begins() {
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
            assert_eq!(again.run.input, json!({ "n": 1 }));
            host.advance(Millis::from_secs(10));
            manage(&host).await;
            let run = host.ports().runs.load(id).await.unwrap().unwrap();
            check_begun(&host, &run, &case);
            let events = host.ports().runs.events(id, None, 1000).await.unwrap();
            assert_eq!(events.len(), 2, "{case}: what happened once is logged once");
            if faulty.calls() <= call {
                break;
            }
        }
    }
}

/// Nobody asks again: whoever recorded the run died before, between or after the sends.
#[tokio::test(start_paused = true)]
async fn a_run_whose_caller_died_at_any_call_begins_within_three_minutes() {
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
                let run = host.ports().runs.load(id).await.unwrap().unwrap();
                check_begun(&host, &run, &case);
            }
            if faulty.calls() <= call {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_starts_again_what_was_heard_of() {
    let host = host().await;
    let id = starter(&host.ports()).start(request(Some("k"))).await.unwrap().run.id;
    let of = ActionAt { action: ActionIndex(0), attempt: 1, fence: 1 };
    let started = Input::Started { of, agent: AgentId::new("agent").unwrap(), started_at: host.ports().clock.now() };
    let message = InboxMessage::Run { v: MESSAGE_VERSION, run: id, input: started };
    host.ports().queues.send(&QueueName::Inbox, vec![Outgoing::now(encode(&message))]).await.unwrap();
    manage(&host).await;
    starter(&host.ports()).start(request(Some("k"))).await.unwrap();
    assert_eq!(starts(&host, id), 0);
    pass(&host, 10).await;
    assert_eq!(attempts(&host, id).len(), 1);
}

/// The repeat of a call that is still under way does not race its sends.
#[tokio::test(start_paused = true)]
async fn a_repeated_call_leaves_the_first_one_its_time() {
    let host = host().await;
    let starter = starter(&host.ports());
    let id = starter.start(request(Some("k"))).await.unwrap().run.id;
    starter.start(request(Some("k"))).await.unwrap();
    host.advance(Millis(9_999));
    manage(&host).await;
    assert_eq!((starts(&host, id), attempts(&host, id).len()), (1, 1), "it waits");
    host.advance(Millis(1));
    manage(&host).await;
    assert_eq!((starts(&host, id), attempts(&host, id).len()), (0, 2));
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

/// An error would make a caller without a key submit a second run; the sweeper starts the one that is recorded.
#[tokio::test(start_paused = true)]
async fn a_run_whose_start_can_not_be_sent_is_answered_and_swept() {
    let host = host().await;
    let out_of_reach = || PortError::new(ErrorClass::Retry, "WL0304", "send: out of reach");
    let queues = WatchedQueues::refusing(host.ports().queues, move |_, _| Some(out_of_reach()));
    let started = starter(&queues.on(&host.ports())).start(request(None)).await.unwrap();
    assert_eq!((started.created, started.run.status), (true, RunStatus::Running));
    assert_eq!((starts(&host, started.run.id), attempts(&host, started.run.id)), (0, vec![]));

    pass(&host, 3).await;
    check_begun(&host, &started.run, "swept");
    assert!(attempts(&host, started.run.id)[0].claim, "it is not known whether the first message was sent");
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

/// A host may hand out a stale run rarely, as DynamoDB's does: whatever minute it is found in, its start is sent.
#[tokio::test(start_paused = true)]
async fn a_lost_start_is_sent_whenever_the_sweeper_looks() {
    for first in (100..160).step_by(5) {
        let host = host().await;
        let lost = || PortError::new(ErrorClass::Retry, "WL0304", "send: out of reach");
        let queues = WatchedQueues::refusing(host.ports().queues, move |_, _| Some(lost()));
        let started = starter(&queues.on(&host.ports())).start(request(None)).await.unwrap();
        let sweeper = Sweeper::new(host.ports(), Duration::from_secs(1));
        let (mut age, mut wait) = (0, first);
        while age < 600 {
            host.advance(Millis::from_secs(wait));
            age += wait;
            wait = age.clamp(120, 900);
            sweeper.round(host.ports().clock.now()).await.unwrap();
            manage(&host).await;
        }
        assert!(!attempts(&host, started.run.id).is_empty(), "first looked at after {first} s");
    }
}

/// Nobody looks again for an end that was not told: a start that ends an action is the process manager's, which is given it
/// again if it dies before it has told.
#[tokio::test(start_paused = true)]
async fn a_start_that_ends_an_action_is_left_to_the_process_manager() {
    let host = host_with(&format!("{TASK}  b: {{ when: \"false\", exec: [echo] }}\n")).await;
    let started = starter(&host.ports()).start(request(None)).await.unwrap();
    assert_eq!((started.run.status, starts(&host, started.run.id)), (RunStatus::Submitted, 1));
    manage(&host).await;
    let run = host.ports().runs.load(started.run.id).await.unwrap().unwrap();
    assert_eq!((run.status, run.action(ActionIndex(1)).status), (RunStatus::Running, ActionStatus::Skipped));
}

/// The starter died when it had sent the first of two attempts, or before it had sent any and the run was paused since.
#[tokio::test(start_paused = true)]
async fn every_attempt_of_a_start_is_looked_for_by_itself() {
    for paused in [false, true] {
        let host = host_with(&format!("{TASK}  b: {{ exec: [echo] }}\n")).await;
        let started = starter(&host.ports()).start(request(None)).await.unwrap();
        let pool = QueueName::Pool(PoolName::default());
        let taken = host.ports().queues.receive(&pool, 10, Duration::from_secs(30), Duration::ZERO).await.unwrap();
        let receipts = taken.into_iter().map(|delivery| delivery.receipt).collect();
        host.ports().queues.delete(&pool, receipts).await.unwrap();
        let of = ActionAt { action: ActionIndex(0), attempt: 1, fence: 1 };
        let (agent, started_at) = (AgentId::new("agent-1").unwrap(), host.ports().clock.now());
        let input =
            if paused { Input::Pause { pauses: 0, retries: 0 } } else { Input::Started { of, agent, started_at } };
        let message = InboxMessage::Run { v: MESSAGE_VERSION, run: started.run.id, input };
        host.ports().queues.send(&QueueName::Inbox, vec![Outgoing::now(encode(&message))]).await.unwrap();
        manage(&host).await;
        pass(&host, 3).await;
        let sent: BTreeSet<u32> = attempts(&host, started.run.id).iter().map(|sent| sent.of.action.0).collect();
        let unsent = if paused { BTreeSet::from([0, 1]) } else { BTreeSet::from([1]) };
        assert_eq!(sent, unsent, "paused: {paused}");
    }
}
