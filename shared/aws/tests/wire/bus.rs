//! The bus over the wire: a rule that takes everything from the bus, to a queue that the test reads by itself.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_eventbridge::types::Target;
use serde_json::{Value, json};
use windlass_aws::AwsHost;
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::{RunId, TaskName, derive};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_testkit::conformance::{self, Subscriber, Timing};
use windlass_testkit::memory::MemoryHost;

use crate::stack::Stack;

/// A queue that gets every event of Windlass, as any subsystem would subscribe.
struct QueueSubscriber {
    host: AwsHost,
    url: String,
}

impl QueueSubscriber {
    async fn subscribe(host: AwsHost, name: &str) -> Self {
        let queue = format!("wire-subscriber-{name}");
        let url = host.clients().sqs.create_queue().queue_name(&queue).send().await.expect("it is made").queue_url;
        let (bus, events) = (&host.settings().bus, &host.clients().eventbridge);
        let pattern = json!({ "source": ["windlass"] }).to_string();
        let rule = events.put_rule().name(&queue).event_bus_name(bus).event_pattern(pattern);
        rule.send().await.expect("it is a rule");
        let arn = format!("arn:aws:sqs:{}:000000000000:{queue}", host.settings().region);
        let target = Target::builder().id("queue").arn(arn).build().expect("all is set");
        let targets = events.put_targets().rule(&queue).event_bus_name(bus).targets(target);
        targets.send().await.expect("it is a target");
        Self { host, url: url.expect("it has an address") }
    }

    /// The events that came, with the envelope of the bus.
    async fn envelopes(&self, at_most: Duration) -> Vec<Value> {
        let wait = i32::try_from(at_most.as_secs()).expect("some seconds");
        let sqs = &self.host.clients().sqs;
        let receive = sqs.receive_message().queue_url(&self.url).max_number_of_messages(10).wait_time_seconds(wait);
        let mut envelopes = Vec::new();
        for message in receive.send().await.expect("the queue is there").messages.unwrap_or_default() {
            envelopes.push(serde_json::from_str(&message.body.expect("it has a body")).expect("it is JSON"));
            let receipt = message.receipt_handle.expect("it has a receipt");
            sqs.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await.expect("it is deleted");
        }
        envelopes
    }
}

#[async_trait]
impl Subscriber for QueueSubscriber {
    async fn next(&self, at_most: Duration) -> Vec<PublicEvent> {
        let envelopes = self.envelopes(at_most).await;
        let event = |mut envelope: Value| serde_json::from_value(envelope["detail"].take()).expect("it is an event");
        envelopes.into_iter().map(event).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let host = Stack::get().host().await;
    let subscriber = QueueSubscriber::subscribe(host.clone(), "suite").await;
    let others = MemoryHost::new(Timestamp::from_millis(0)).ports();
    let ports = Ports { bus: host.bus(), ..others };
    conformance::events(&ports, &subscriber, Timing::WIRE).await;
}

fn event(name: &str, data: Value) -> PublicEvent {
    PublicEvent {
        v: 1,
        id: derive(&[name]),
        kind: "run.succeeded".to_owned(),
        time: "2026-03-29T01:00:00.25Z".to_owned(),
        run: RunId::from_uuid(derive(&["run", name])),
        task: TaskName::new("nightly").expect("a name"),
        version: 1,
        labels: [].into(),
        action: None,
        attempt: None,
        data,
    }
}

async fn come(subscriber: &QueueSubscriber, event: &PublicEvent) -> Value {
    for _ in 0..20 {
        let envelopes = subscriber.envelopes(Duration::from_secs(1)).await;
        let id = event.id.to_string();
        if let Some(found) = envelopes.into_iter().find(|envelope| envelope["detail"]["id"] == id.as_str()) {
            return found;
        }
    }
    panic!("the event did not come");
}

/// The emulator says its own time in the envelope; AWS says that of the entry, in whole seconds
/// (<https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html>).
#[tokio::test(flavor = "multi_thread")]
async fn event_has_the_envelope_that_rules_match() {
    let host = Stack::get().host().await;
    let subscriber = QueueSubscriber::subscribe(host.clone(), "envelope").await;
    let event = event("envelope", json!({ "status": "succeeded" }));
    host.bus().publish(std::slice::from_ref(&event)).await.expect("it is published");
    let envelope = come(&subscriber, &event).await;
    assert_eq!(envelope["source"], "windlass");
    assert_eq!(envelope["detail-type"], "run.succeeded");
    assert_eq!(envelope["detail"], serde_json::to_value(&event).expect("it is JSON"));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_event_names_its_omitted_data() {
    let host = Stack::get().host().await;
    let subscriber = QueueSubscriber::subscribe(host.clone(), "large").await;
    let event = event("large", json!("x".repeat(1_100_000)));
    host.bus().publish(std::slice::from_ref(&event)).await.expect("it is published");
    let found: PublicEvent =
        serde_json::from_value(come(&subscriber, &event).await["detail"].take()).expect("it is an event");
    let read = format!("/v1/runs/{}/events", event.run);
    assert_eq!(found.data, json!({ "omitted": { "bytes": 1_100_002, "read": read } }));
    assert_eq!(PublicEvent { data: event.data.clone(), ..found }, event);
}
