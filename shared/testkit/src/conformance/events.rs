//! The promise of the event bus: every published event reaches a subscriber, at least once and unchanged.
//!
//! The port only publishes, so the caller of the suite brings a subscriber.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;
use windlass_contract::event::{EVENT_VERSION, PublicEvent};
use windlass_domain::ids::{ActionName, RunId, TaskName, derive};
use windlass_engine::Ports;

use super::{Fault, PATIENCE, Timing, Verdict, fresh_name, holds, same};

/// A subscriber to all events since before the suite began, which sees only the bus.
#[async_trait]
pub trait Subscriber: Send + Sync {
    /// Events that came since the last call, in any order, repeats included; waits for the first one for up to
    /// `at_most`.
    async fn next(&self, at_most: Duration) -> Vec<PublicEvent>;
}

/// The suite of `Bus`.
///
/// # Panics
/// If the host breaks a promise.
pub async fn events(ports: &Ports, subscriber: &dyn Subscriber, timing: Timing) {
    let bench = Bench { ports, subscriber, timing };
    let verdicts = [
        ("an_event_comes_as_it_was_published", bench.an_event_comes_as_it_was_published().await),
        ("no_events_are_no_error", bench.no_events_are_no_error().await),
        ("more_come_than_fit_one_request", bench.more_come_than_fit_one_request().await),
        ("large_events_come_beside_small_ones", bench.large_events_come_beside_small_ones().await),
        ("a_repeat_has_the_same_id", bench.a_repeat_has_the_same_id().await),
        ("concurrent_publishers_lose_nothing", bench.concurrent_publishers_lose_nothing().await),
    ];
    let faults = verdicts.into_iter().filter_map(|(name, verdict)| Some(format!("{name}: {}", verdict.err()?.0)));
    let faults: Vec<_> = faults.collect();
    assert!(faults.is_empty(), "events: {} cases failed\n{}", faults.len(), faults.join("\n"));
}

fn fresh_run() -> RunId {
    RunId::from_uuid(derive(&[&fresh_name("published")]))
}

fn event(run: RunId, number: usize, data: Value) -> PublicEvent {
    PublicEvent {
        v: EVENT_VERSION,
        id: derive(&[&run.to_string(), &number.to_string()]),
        kind: "action.succeeded".to_owned(),
        time: "2026-03-29T00:59:59.5Z".to_owned(),
        run,
        task: TaskName::new("nightly-report").expect("it is a name"),
        version: 3,
        labels: BTreeMap::from([("team".to_owned(), "finance, ž".to_owned())]),
        action: Some(ActionName::new("extract").expect("it is a name")),
        attempt: Some(2),
        data,
    }
}

struct Bench<'a> {
    ports: &'a Ports,
    subscriber: &'a dyn Subscriber,
    timing: Timing,
}

impl Bench<'_> {
    /// The events of a run that come until all expected ones have come, or no more do.
    async fn come(&self, run: RunId, expected: &[PublicEvent]) -> Vec<PublicEvent> {
        let mut end = Instant::now() + PATIENCE;
        let mut come: Vec<PublicEvent> = Vec::new();
        while Instant::now() < end && !expected.iter().all(|event| come.iter().any(|other| other.id == event.id)) {
            let next = self.subscriber.next(self.timing.prompt).await;
            if !next.is_empty() {
                end = Instant::now() + PATIENCE;
            }
            come.extend(next.into_iter().filter(|event| event.run == run));
        }
        come
    }

    /// Publishes, and expects each to come, as it is.
    async fn check(&self, run: RunId, events: &[PublicEvent]) -> Verdict {
        self.ports.bus.publish(events).await?;
        each_came(events, &self.come(run, events).await)
    }

    async fn an_event_comes_as_it_was_published(&self) -> Verdict {
        let run = fresh_run();
        let data = json!({ "output": { "rows": 12, "text": "line\nline \u{0} 🐎", "none": null, "part": 0.1 } });
        let whole = event(run, 0, data);
        let least = PublicEvent { labels: BTreeMap::new(), action: None, attempt: None, ..event(run, 1, Value::Null) };
        self.check(run, &[whole]).await?;
        self.check(run, &[least]).await
    }

    async fn no_events_are_no_error(&self) -> Verdict {
        Ok(self.ports.bus.publish(&[]).await?)
    }

    async fn more_come_than_fit_one_request(&self) -> Verdict {
        let run = fresh_run();
        let events: Vec<_> = (0..27).map(|number| event(run, number, json!(number))).collect();
        self.check(run, &events).await
    }

    async fn large_events_come_beside_small_ones(&self) -> Verdict {
        let run = fresh_run();
        let events: Vec<_> = (0..8).map(|number| event(run, number, json!("x".repeat(number * 30_000)))).collect();
        self.check(run, &events).await
    }

    async fn a_repeat_has_the_same_id(&self) -> Verdict {
        let run = fresh_run();
        let events = [event(run, 0, json!({ "agent": "a" }))];
        self.check(run, &events).await?;
        self.ports.bus.publish(&events).await?;
        let again = self.come(run, &events).await;
        holds("a repeat can be told by its id", again.iter().all(|event| event.id == events[0].id))
    }

    async fn concurrent_publishers_lose_nothing(&self) -> Verdict {
        const PUBLISHERS: usize = 8;
        const EACH: usize = 5;
        let run = fresh_run();
        let publisher = |first: usize| {
            let (bus, first) = (self.ports.bus.clone(), first * EACH);
            let events: Vec<_> = (first..first + EACH).map(|number| event(run, number, json!(number))).collect();
            (events.clone(), tokio::spawn(async move { bus.publish(&events).await }))
        };
        let (events, publishers): (Vec<_>, Vec<_>) = (0..PUBLISHERS).map(publisher).unzip();
        for publisher in publishers {
            publisher.await.map_err(|error| Fault(error.to_string()))??;
        }
        let events = events.concat();
        each_came(&events, &self.come(run, &events).await)
    }
}

/// Each event came at least once, and nothing else did.
fn each_came(published: &[PublicEvent], come: &[PublicEvent]) -> Verdict {
    let by_id = |events: &[PublicEvent]| -> BTreeMap<Uuid, String> {
        events.iter().map(|event| (event.id, format!("{event:?}"))).collect()
    };
    let (published, come) = (by_id(published), by_id(come));
    same("how many came", come.len(), published.len())?;
    holds("they came as they were published", come == published)
}
