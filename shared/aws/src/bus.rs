//! The event bus on `EventBridge`.
//!
//! An event that is too large for the bus by itself is published without its `data`; in its place stands what was left
//! out, and where the whole can be read:
//! ```json
//! {"omitted": {"bytes": 1204332, "read": "/v1/runs/RUN/events"}}
//! ```

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
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
/// 2026, 256 KB before. The decimal megabyte is below it however it is meant, and the rest is room for the envelope that
/// the bus puts around an event before it goes to a target with the same limit, such as a queue.
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

    /// Publishes entries that fit one request, until each has been taken; those that failed are asked for again, alone.
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

    /// Why an entry was not taken, by its own answer: answers come in the order of the entries.
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
        let time: jiff::Timestamp =
            event.time.parse().map_err(|error: jiff::Error| unpublishable(event, &error.to_string()))?;
        Ok(PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(SOURCE)
            .detail_type(&event.kind)
            .detail(detail)
            .time(DateTime::from_millis(time.as_millisecond()))
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
