//! Events of a process that dies between its calls: a later process publishes each, though the run has gone on
//! meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_contract::event::PublicEvent;
use windlass_contract::message::{InboxMessage, PerformMessage, decode, encode};
use windlass_domain::caller::{Caller, Way};
use windlass_domain::definition::Definition;
use windlass_domain::ids::{PoolName, RunId, TaskName};
use windlass_domain::run::{CancelCause, ErrorInfo, Input, Outcome};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{Bus, ErrorClass, Outgoing, PortError, QueueName, Received};
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::submit::{StartRequest, Starter};
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::memory::MemoryHost;

use crate::world::first_report;

/// One action, then two that need it. The bus gets every event.
fn source() -> Value {
    json!({ "task": "t", "events": "all", "actions": {
        "first": { "native": { "handler": "x" }, "retry": { "attempts": 2, "delay": "1s" } },
        "left": { "needs": ["first"], "native": { "handler": "x" } },
        "right": { "needs": ["first"], "native": { "handler": "x" } },
    } })
}

async fn host() -> MemoryHost {
    let host = MemoryHost::new(Timestamp::from_millis(1_700_000_000_000));
    let ports = host.ports();
    let definition = Definition::from_source(&source()).unwrap();
    ports.tasks.put(&definition.task, &source(), None, ports.clock.now()).await.unwrap();
    host.serve(&PoolName::default());
    host
}

/// Whether it was answered.
async fn start(ports: &Ports) -> Option<RunId> {
    let starter = Starter::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
    let (task, caller) = (TaskName::new("t").unwrap(), Caller::by(Way::Api));
    let request = StartRequest { task, version: None, input: Value::Null, key: None, caller };
    starter.start(request).await.ok().map(|started| started.run.id)
}

async fn send(host: &MemoryHost, run: RunId, input: Input) {
    let message = InboxMessage::of_run(run, input);
    host.ports().queues.send(&QueueName::Inbox, vec![Outgoing::now(encode(&message))]).await.unwrap();
}

async fn receive(host: &MemoryHost) -> Vec<Received> {
    host.ports().queues.receive(&QueueName::Inbox, 10, Duration::from_mins(1), Duration::ZERO).await.unwrap()
}

async fn handle(ports: &Ports, batch: &[Received]) -> bool {
    let manager = ProcessManager::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())));
    manager.handle(&QueueName::Inbox, batch, None).await.iter().all(|done| *done)
}

/// The attempts in the pool.
fn attempts(host: &MemoryHost) -> Vec<PerformMessage> {
    host.messages(&QueueName::Pool(PoolName::default())).iter().map(|body| decode(body).unwrap()).collect()
}

/// The actions whose queueing was published.
fn told(host: &MemoryHost) -> Vec<String> {
    let queued = host.published().into_iter().filter(|event| event.kind == "action.queued");
    queued.map(|event| event.action.unwrap().to_string()).collect()
}

/// No agent can have an attempt whose queueing was not published. Once an agent has it the run goes on, and a redelivery
/// publishes only what still stands.
fn check_told(host: &MemoryHost, place: &str) {
    let told = told(host);
    for attempt in attempts(host) {
        assert!(
            told.contains(&attempt.name.to_string()),
            "{place}: `{}` is in its pool, told of: {told:?}",
            attempt.name
        );
    }
}

/// A report that `first` is done.
async fn first_is_done(host: &MemoryHost) -> RunId {
    let run = start(&host.ports()).await.unwrap();
    let (of, started_at) = (first_report(&attempts(host)[0], "agent"), host.ports().clock.now());
    let outcome = Outcome::Succeeded { output: Value::Null };
    send(host, run, Input::Completed { of, started_at, outcome, checkpoint: None }).await;
    run
}

#[tokio::test(start_paused = true)]
async fn queueing_is_published_before_attempt_is_sent() {
    type Fault = fn(Ports, usize, Moment) -> FaultyHost;
    for (what, fault) in [("from", FaultyHost::crashing as Fault), ("only", FaultyHost::failing)] {
        for moment in [Moment::Before, Moment::After] {
            for call in 0..20 {
                let host = host().await;
                first_is_done(&host).await;
                let batch = receive(&host).await;
                let survived = handle(&fault(host.ports(), call, moment).ports(), &batch).await;
                check_told(&host, &format!("{what} call {call} failed ({moment:?})"));
                assert!(!survived || attempts(&host).len() == 3);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn start_is_published_before_attempts_are_sent() {
    for moment in [Moment::Before, Moment::After] {
        for call in 0.. {
            let host = host().await;
            let survived = start(&FaultyHost::crashing(host.ports(), call, moment).ports()).await.is_some();
            check_told(&host, &format!("the starter died {moment:?} call {call}"));
            if survived && attempts(&host).len() == 1 {
                break;
            }
        }
    }
}

/// The events of the run's log that say that an action was queued, or how it or the run ended.
async fn logged(host: &MemoryHost, run: RunId) -> BTreeSet<(String, Option<String>)> {
    let logged = host.ports().runs.events(run, None, 1000).await.unwrap();
    let is_told = |kind: &str| ["queued", "succeeded", "cancelled"].iter().any(|end| kind.ends_with(end));
    let told = logged.into_iter().map(|logged| logged.event).filter(|event| is_told(&event.kind));
    told.map(|event| (event.kind, event.action.map(|action| action.to_string()))).collect()
}

/// The process manager dies while it decides a report. A caller cancels the run before the report comes again.
#[tokio::test(start_paused = true)]
async fn events_are_published_though_the_run_is_cancelled() {
    for call in 0.. {
        let host = host().await;
        let run = first_is_done(&host).await;
        let batch = receive(&host).await;
        let survived = handle(&FaultyHost::crashing(host.ports(), call, Moment::Before).ports(), &batch).await;
        send(&host, run, Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries: 0 }).await;
        assert!(handle(&host.ports(), &receive(&host).await).await);
        host.advance(Millis::from_secs(40));
        send(&host, run, Input::Wake { action: None }).await;
        assert!(handle(&host.ports(), &receive(&host).await).await);
        host.advance(Millis::from_secs(40));
        let again = receive(&host).await;
        assert!(handle(&host.ports(), &again).await);
        let place = format!("the process manager died before call {call}");
        let logged = logged(&host, run).await;
        assert!(logged.contains(&("run.cancelled".to_owned(), None)), "{place}: {logged:?}");
        let published = host.published().into_iter();
        let published = published.map(|event| (event.kind, event.action.map(|action| action.to_string()))).collect();
        assert!(logged.is_subset(&published), "{place}: {logged:?} of {published:?}");
        if survived {
            break;
        }
    }
}

/// The process manager that decided a retry dies before it publishes that. The sweeper begins the next attempt before the
/// report of the failed one comes again.
#[tokio::test(start_paused = true)]
async fn retry_begun_by_sweeper_is_published() {
    for call in 0.. {
        let host = host().await;
        let run = start(&host.ports()).await.unwrap();
        let (of, started_at) = (first_report(&attempts(&host)[0], "agent"), host.ports().clock.now());
        let outcome = Outcome::Failed { error: ErrorInfo::new("exit.1", "by script") };
        send(&host, run, Input::Completed { of, started_at, outcome, checkpoint: None }).await;
        let batch = receive(&host).await;
        let survived = handle(&FaultyHost::crashing(host.ports(), call, Moment::Before).ports(), &batch).await;
        host.advance(Millis::from_secs(40));
        send(&host, run, Input::Sweep).await;
        while let batch = receive(&host).await
            && !batch.is_empty()
        {
            handle(&host.ports(), &batch).await;
        }
        host.advance(Millis::from_secs(40));
        handle(&host.ports(), &receive(&host).await).await;
        let retrying = host.published().into_iter().any(|event| event.kind == "action.retrying");
        assert!(retrying, "the process manager died before call {call}: {:?}", host.published());
        if survived {
            break;
        }
    }
}

/// A bus that refuses some events, each time with the same class of error.
struct Refusing {
    inner: Arc<dyn Bus>,
    refused: fn(&PublicEvent) -> bool,
    class: ErrorClass,
}

impl Refusing {
    fn on(ports: Ports, refused: fn(&PublicEvent) -> bool, class: ErrorClass) -> Ports {
        Ports { bus: Arc::new(Self { inner: ports.bus.clone(), refused, class }), ..ports }
    }
}

#[async_trait]
impl Bus for Refusing {
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError> {
        if events.iter().any(self.refused) {
            return Err(PortError::new(self.class, "WL0301", "publish, by script"));
        }
        self.inner.publish(events).await
    }
}

#[tokio::test(start_paused = true)]
async fn event_that_the_bus_never_takes_is_a_dead_letter() {
    let host = host().await;
    first_is_done(&host).await;
    let is_refused = |event: &PublicEvent| event.action.as_ref().is_some_and(|action| action.as_str() == "left");
    let batch = receive(&host).await;
    assert!(handle(&Refusing::on(host.ports(), is_refused, ErrorClass::Reject), &batch).await);
    assert_eq!(attempts(&host).len(), 3, "its run goes on");
    assert_eq!(told(&host), ["first", "right"]);
    let [letter] = host.messages(&QueueName::DeadLetter).try_into().expect("one dead letter");
    let letter: Value = serde_json::from_str(&letter).unwrap();
    assert_eq!(letter["queue"], "bus");
    assert!(letter["body"].as_str().unwrap().contains("action.queued"), "{letter}");
}

#[tokio::test(start_paused = true)]
async fn bus_out_of_reach_holds_up_no_stop() {
    let host = host().await;
    let ports = host.ports();
    let run = start(&ports).await.unwrap();
    let of = first_report(&attempts(&host)[0], "agent");
    let control = QueueName::Control { pool: PoolName::default(), agent: of.agent.clone() };
    ports.queues.make(&control).await.unwrap();
    send(&host, run, Input::Started { of, started_at: ports.clock.now() }).await;
    assert!(handle(&ports, &receive(&host).await).await);
    send(&host, run, Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries: 0 }).await;
    let batch = receive(&host).await;
    let done = handle(&Refusing::on(host.ports(), |_| true, ErrorClass::Retry), &batch).await;
    assert!(!done, "it comes again, for its events");
    assert_eq!(host.messages(&control).len(), 1, "the agent is told to stop");
}
