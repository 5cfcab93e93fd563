//! The event bus on `EventBridge`.
//!
//! If one event is too large for the bus, it is published without its `data`. In its place stand the omitted size, and
//! the address of the whole:
//! ```json
//! {"omitted": {"bytes": 1204332, "read": "/v1/runs/RUN/events"}}
//! ```

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::{DateTime, DateTimeFormat as Format};
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use serde_json::json;
use windlass_contract::event::PublicEvent;
use windlass_engine::ports::{Bus, ErrorClass, PortError};

use crate::clients::Clients;
use crate::error::{INVALID, classify, classify_entry};
use crate::meter::entry_bytes;
use crate::settings::Settings;

/// The source of every event.
const SOURCE: &str = "windlass";
/// Entries of one request (<https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>).
const MAX_ENTRIES: usize = 10;
/// Bytes of all entries of one request, counted as
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html> does: less than 1 MB since January
/// 2026, 256 KB before. The decimal megabyte is below both readings of 1 MB. The rest is room for the bus's envelope
/// around an event, because a target such as a queue has the same limit.
const MAX_REQUEST_BYTES: usize = 1_000_000;
/// Requests for the same events.
const MAX_ROUNDS: u32 = 4;
/// The wait before the second of them; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const OPERATION: &str = "PutEvents";

/// The bus of a stack.
#[derive(Debug)]
pub struct EventBridgeBus {
    client: Client,
    bus: String,
}

impl EventBridgeBus {
    /// The bus that the settings name.
    pub fn new(clients: &Clients, settings: &Settings) -> Self {
        Self { client: clients.eventbridge.clone(), bus: settings.bus.clone() }
    }

    /// Publishes entries that fit one request until the bus has taken each. It repeats only the failed ones.
    async fn publish_some(&self, mut entries: Vec<PutEventsRequestEntry>) -> Result<(), PortError> {
        let mut wait = FIRST_WAIT;
        let mut refused = None;
        for round in 1..=MAX_ROUNDS {
            let request = self.client.put_events().set_entries(Some(entries.clone()));
            let answer = request.send().await.map_err(|error| classify(OPERATION, &self.bus, &error))?;
            let mut passing = None;
            let mut left = Vec::new();
            for (place, entry) in entries.into_iter().enumerate() {
                match self.failure(answer.entries().get(place)) {
                    None => {}
                    Some(failure) if failure.class == ErrorClass::Retry => {
                        passing = Some(failure);
                        left.push(entry);
                    }
                    Some(failure) => refused = refused.or(Some(failure)),
                }
            }
            let Some(failure) = passing else { break };
            if round == MAX_ROUNDS {
                return Err(refused.unwrap_or(failure));
            }
            entries = left;
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        refused.map_or(Ok(()), Err)
    }

    /// Why the bus did not take an entry, by its own answer. Answers come in the order of the entries.
    fn failure(&self, answer: Option<&PutEventsResultEntry>) -> Option<PortError> {
        if answer.is_some_and(|answer| answer.event_id().is_some()) {
            return None;
        }
        let cause = answer.map_or((None, None), |answer| (answer.error_code(), answer.error_message()));
        Some(classify_entry(OPERATION, &self.bus, false, cause))
    }

    fn entry(&self, event: &PublicEvent) -> Result<PutEventsRequestEntry, PortError> {
        let whole = self.entry_of(event)?;
        if entry_bytes(&whole) <= MAX_REQUEST_BYTES {
            return Ok(whole);
        }
        let bytes = event.data.to_string().len();
        tracing::warn!(event.id = %event.id, run.id = %event.run, bytes, "an event is published without its data");
        let data = json!({ "omitted": { "bytes": bytes, "read": format!("/v1/runs/{}/events", event.run) } });
        self.entry_of(&PublicEvent { data, ..event.clone() })
    }

    fn entry_of(&self, event: &PublicEvent) -> Result<PutEventsRequestEntry, PortError> {
        let detail = serde_json::to_string(event).map_err(|error| unpublishable(event, &error.to_string()))?;
        let time = DateTime::from_str(&event.time, Format::DateTime)
            .map_err(|error| unpublishable(event, &error.to_string()))?;
        Ok(PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(SOURCE)
            .detail_type(&event.kind)
            .detail(detail)
            .time(time)
            .build())
    }
}

#[async_trait]
impl Bus for EventBridgeBus {
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError> {
        let entries: Vec<_> = events.iter().map(|event| self.entry(event)).collect::<Result<_, _>>()?;
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let (fits, after) = rest.split_at(fitting(rest));
            self.publish_some(fits.to_vec()).await?;
            rest = after;
        }
        Ok(())
    }
}

/// How many entries from the first one on fit one request.
fn fitting(entries: &[PutEventsRequestEntry]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&PutEventsRequestEntry| {
        bytes += entry_bytes(entry);
        bytes <= MAX_REQUEST_BYTES
    };
    entries.iter().take(MAX_ENTRIES).take_while(fits).count().max(1).min(entries.len())
}

fn unpublishable(event: &PublicEvent, cause: &str) -> PortError {
    PortError::new(ErrorClass::Bug, INVALID, format!("publish the event {}: {cause}", event.id))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use windlass_domain::ids::{RunId, TaskName, derive};

    use super::*;
    use crate::scripted::{Scripted, settings};

    fn event(number: usize, data: Value) -> PublicEvent {
        PublicEvent {
            v: 1,
            id: derive(&["event", &number.to_string()]),
            kind: "action.failed".to_owned(),
            time: "2026-03-29T01:00:00.25Z".to_owned(),
            run: RunId::from_uuid(derive(&["run"])),
            task: TaskName::new("nightly").expect("a name"),
            version: 1,
            labels: [].into(),
            action: None,
            attempt: None,
            data,
        }
    }

    fn number(entry: &Value) -> u64 {
        let detail: Value =
            serde_json::from_str(entry["Detail"].as_str().expect("it has a detail")).expect("it is JSON");
        detail["data"].as_u64().unwrap_or_default()
    }

    /// Answers each entry by its number and the number of the request, from 1: why it is not taken.
    fn script(verdict: impl Fn(u64, u32) -> Option<&'static str> + Send + 'static) -> Scripted {
        let mut request = 0;
        Scripted::new(move |_, input| {
            request += 1;
            let answer = |entry: &Value| match verdict(number(entry), request) {
                None => json!({ "EventId": "e" }),
                Some(code) => json!({ "ErrorCode": code, "ErrorMessage": "as AWS says" }),
            };
            let answers: Vec<Value> = input["Entries"].as_array().into_iter().flatten().map(answer).collect();
            (200, json!({ "FailedEntryCount": 0, "Entries": answers }))
        })
    }

    /// Publishes that many, and gives the numbers in each request.
    async fn publish(script: &Scripted, events: &[PublicEvent]) -> (Result<(), PortError>, Vec<Vec<u64>>) {
        let (clients, _) = script.clients(1);
        let published = EventBridgeBus::new(&clients, &settings()).publish(events).await;
        let numbers = |input: &Value| input["Entries"].as_array().into_iter().flatten().map(number).collect();
        (published, script.asked().iter().map(|(_, input)| numbers(input)).collect())
    }

    fn numbered(count: usize) -> Vec<PublicEvent> {
        (0..count).map(|place| event(place, json!(place))).collect()
    }

    #[tokio::test]
    async fn only_failed_events_are_published_again() {
        let script = script(|number, request| match number {
            1 if request == 1 => Some("ThrottlingException"),
            3 if request < 3 => Some("InternalFailure"),
            _ => None,
        });
        let (published, requests) = publish(&script, &numbered(4)).await;
        published.expect("all are taken in the end");
        assert_eq!(requests, [vec![0, 1, 2, 3], vec![1, 3], vec![3]]);
    }

    #[tokio::test]
    async fn event_that_is_never_taken_is_an_error() {
        let throttled = script(|number, _| (number == 1).then_some("ThrottlingException"));
        let (published, requests) = publish(&throttled, &numbered(2)).await;
        assert_eq!(published.expect_err("one is never taken").class, ErrorClass::Retry);
        assert_eq!(requests, [vec![0, 1], vec![1], vec![1], vec![1]]);

        let refused = script(|number, request| match number {
            0 => Some("MalformedDetail"),
            1 if request == 1 => Some("InternalFailure"),
            _ => None,
        });
        let (published, requests) = publish(&refused, &numbered(3)).await;
        assert_eq!(published.expect_err("one is refused").class, ErrorClass::Reject);
        assert_eq!(requests, [vec![0, 1, 2], vec![1]]);
    }

    #[tokio::test]
    async fn requests_are_bounded_in_number_and_bytes() {
        let script = script(|_, _| None);
        let (published, requests) = publish(&script, &numbered(23)).await;
        published.expect("all are taken");
        assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 3]);

        let script = self::script(|_, _| None);
        let large: Vec<_> = (0..5).map(|place| event(place, json!("x".repeat(400_000)))).collect();
        let (published, requests) = publish(&script, &large).await;
        published.expect("all are taken");
        assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[tokio::test]
    async fn entry_has_the_fields_that_rules_match() {
        let script = script(|_, _| None);
        publish(&script, &numbered(1)).await.0.expect("it is taken");
        let (operation, input) = script.asked().remove(0);
        let entry = &input["Entries"][0];
        assert_eq!(operation, "PutEvents");
        assert_eq!(
            [&entry["EventBusName"], &entry["Source"], &entry["DetailType"]],
            ["prod", "windlass", "action.failed"]
        );
        assert_eq!(entry["Time"].as_f64(), Some(1_774_746_000.25));
    }
}
