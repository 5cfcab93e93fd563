//! Large runs: every answer about one is bounded, and its actions come in pages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use windlass_api::{AllowedHosts, ApiConfig, Auth};
use windlass_contract::event::PublicEvent;
use windlass_domain::content::Wanted;
use windlass_domain::ids::{ActionIndex, RunId, TaskName};
use windlass_domain::run::{ActionAt, ErrorInfo, Fact, FactKind, Origin, Run, apply};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::{
    Created, ErrorClass, EventCursor, LoggedEvent, Outgoing, PortError, QueueName, Records, RunFilter, RunPage, Runs,
};
use windlass_testkit::memory::MemoryHost;

use crate::world::{Call, HOST, START, TOKEN, World};

/// What a Lambda hands over.
const MOST: usize = 4_500_000;

/// A world whose host hands over only so much.
fn world() -> World {
    let host = MemoryHost::new(Timestamp::parse_rfc3339(START).unwrap());
    let ports = host.ports();
    world_on(host, ports)
}

fn world_on(host: MemoryHost, ports: Ports) -> World {
    let config = ApiConfig::new(Auth::token(TOKEN), AllowedHosts::loopback(8080), CancellationToken::new());
    World::configured(host, ports, ApiConfig { max_answer: Some(MOST), ..config })
}

/// A running run of so many actions, of which each is in the state that `state` gives.
async fn run(world: &World, actions: usize, input: &Value, state: impl Fn(ActionAt) -> Option<FactKind>) -> RunId {
    let lines: Vec<String> = (0..actions).map(|at| format!("  a{at}: {{ exec: [x] }}\n")).collect();
    let lines = lines.concat();
    world.put("wide", &format!("task: wide\nactions:\n{lines}")).await.expect(StatusCode::CREATED);
    let now = Timestamp::parse_rfc3339(START).unwrap();
    let task = TaskName::new("wide").unwrap();
    let id = RunId::from_key(&task, "a key");
    let mut run = Run::submitted(id, (task, 1), actions, input.clone(), Origin::Request, now);
    apply(&mut run, &Fact::told(now, FactKind::RunStarted { deadline: None }));
    for at in 0..actions {
        let of = ActionAt { action: ActionIndex::from_usize(at), attempt: 1 };
        apply(&mut run, &Fact::told(now, FactKind::ActionQueued { of, issue: 0 }));
        if let Some(kind) = state(of) {
            apply(&mut run, &Fact::told(now, kind));
        }
    }
    assert_eq!(world.ports.runs.create(&run, &[], &[]).await.unwrap(), Created::New);
    id
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where a state may be left as it is")]
fn succeeded(of: ActionAt, output: Value) -> Option<FactKind> {
    Some(FactKind::ActionSucceeded { of, by: None, output })
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where a state may be left as it is")]
fn failed(of: ActionAt, message: &str) -> Option<FactKind> {
    Some(FactKind::ActionFailed { of, by: None, error: ErrorInfo::new("exit.1", message), allowed: true })
}

fn text(bytes: usize) -> Value {
    "x".repeat(bytes).into()
}

#[tokio::test]
async fn small_run_is_shown_whole() {
    let world = world();
    let id = run(&world, 9, &json!({ "long": text(5000) }), |of| succeeded(of, text(100_000))).await;
    let view = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
    assert_eq!((view.get("left_out"), view.get("action_counts")), (None, None));
    assert_eq!((&view["input"]["long"], &view["actions"]["a8"]["output"]), (&text(5000), &text(100_000)));
    assert_eq!(view["actions"]["a8"].get("output_bytes"), None);
}

#[tokio::test]
async fn outputs_are_left_out_of_a_large_answer() {
    let world = world();
    let output = |of: ActionAt| if of.action.0 == 3 { text(1000) } else { text(100_000) };
    let id = run(&world, 64, &json!({ "long": text(5000) }), |of| succeeded(of, output(of))).await;
    let view = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
    assert_eq!((&view["left_out"], &view["input"]["long"]), (&json!("values"), &text(5000)));
    let actions = &view["actions"];
    assert_eq!((&actions["a0"]["output"], &actions["a0"]["output_bytes"]), (&Value::Null, &json!(100_002)));
    assert_eq!((&actions["a3"]["output"], actions["a3"].get("output_bytes")), (&text(1000), None));
    let one = world.get(&format!("/v1/runs/{id}/actions/a0")).await.expect(StatusCode::OK);
    assert_eq!((&one["name"], &one["output"], one.get("output_bytes")), (&json!("a0"), &text(100_000), None));
    world.get(&format!("/v1/runs/{id}/actions/none")).await.refused(404, "WL0423");
    world.get(&format!("/v1/runs/{}/actions/a0", RunId::from_uuid(uuid::Uuid::nil()))).await.refused(404, "WL0414");
}

/// Every page of a run's actions, and how many pages there are.
async fn pages(world: &World, id: RunId, query: &str) -> (Vec<Value>, usize) {
    let (mut actions, mut cursor, mut count) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.get(&format!("/v1/runs/{id}/actions?{query}{cursor}")).await.expect(StatusCode::OK);
        count += 1;
        actions.extend(page["actions"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (actions, count),
        }
    }
}

fn names(actions: &[Value]) -> Vec<String> {
    actions.iter().map(|action| action["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn actions_come_in_pages_in_the_order_of_the_definition() {
    let world = world();
    let state =
        |of: ActionAt| if of.action.0.is_multiple_of(10) { failed(of, "no") } else { succeeded(of, text(2000)) };
    let id = run(&world, 130, &Value::Null, state).await;
    let (all, count) = pages(&world, id, "limit=50").await;
    assert_eq!((names(&all), count), ((0..130).map(|at| format!("a{at}")).collect(), 3));
    assert_eq!((&all[1]["output"], &all[1]["output_bytes"]), (&Value::Null, &json!(2002)));
    let (some, count) = pages(&world, id, "limit=5&status=failed").await;
    assert_eq!((names(&some), count), ((0..13).map(|at| format!("a{}", at * 10)).collect(), 3));
    let (exact, count) = pages(&world, id, "limit=13&status=failed").await;
    assert_eq!((exact.len(), count), (13, 1), "no empty page follows");
    assert_eq!(pages(&world, id, "limit=5&status=queued").await, (Vec::new(), 1));
    let beyond = world.get(&format!("/v1/runs/{id}/actions?cursor=1000")).await.expect(StatusCode::OK);
    assert_eq!(beyond, json!({ "actions": [], "next": null }));
    for query in ["status=done", "cursor=x", "limit=0", "state=failed"] {
        world.get(&format!("/v1/runs/{id}/actions?{query}")).await.refused(400, "WL0410");
    }
}

#[tokio::test]
async fn page_of_long_errors_ends_early() {
    let world = world();
    // Each character takes six bytes as JSON.
    let id = run(&world, 400, &Value::Null, |of| failed(of, &"\u{1}".repeat(8000))).await;
    let view = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
    assert_eq!((&view["left_out"], &view["actions"]), (&json!("actions"), &json!({})));
    let (all, count) = pages(&world, id, "limit=500").await;
    assert_eq!(all.len(), 400);
    assert!((18..30).contains(&count), "{count} pages of a megabyte");
}

#[tokio::test]
async fn run_of_the_largest_size_is_started_shown_and_controlled() {
    let world = world();
    let state = |of: ActionAt| if of.action.0 < 9000 { succeeded(of, text(1000)) } else { None };
    let id = run(&world, 10_000, &json!({ "long": text(120_000) }), state).await;
    let path = format!("/v1/runs/{id}");
    let view = world.get(&path).await.expect(StatusCode::OK);
    assert_eq!((&view["left_out"], &view["actions"]), (&json!("actions"), &json!({})));
    assert_eq!(view["action_counts"], json!({ "queued": 1000, "succeeded": 9000 }));
    for verb in ["pause", "cancel", "actions/a9999/kill"] {
        let view = world.post(&format!("{path}/{verb}"), json!({})).await.expect(StatusCode::ACCEPTED);
        assert_eq!((&view["id"], &view["left_out"]), (&json!(id.to_string()), &json!("actions")));
    }
    let started = world.post("/v1/tasks/wide/runs", json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(started["action_counts"], json!({ "waiting": 10_000 }));
    let (all, _) = pages(&world, id, "limit=500").await;
    assert_eq!(all.len(), 10_000);
}

#[tokio::test]
async fn page_of_events_ends_early() {
    let world = world();
    let id = run(&world, 64, &Value::Null, |of| succeeded(of, text(100))).await;
    let event = |number: u128| PublicEvent {
        v: 1,
        id: uuid::Uuid::from_u128(number),
        kind: "action.succeeded".to_owned(),
        time: START.to_owned(),
        run: id,
        task: TaskName::new("wide").unwrap(),
        version: 1,
        labels: std::collections::BTreeMap::new(),
        action: None,
        attempt: Some(1),
        data: json!({ "output": text(100_000) }),
    };
    let events: Vec<PublicEvent> = (0..230).map(event).collect();
    let before = world.run(id).await;
    let after = Run { revision: before.revision + 1, ..before.clone() };
    world.ports.runs.commit(&before, &after, &events).await.unwrap();
    let (mut read, mut after, mut count) = (0, String::new(), 0);
    while read < 230 {
        let page = world.get(&format!("/v1/runs/{id}/events?limit=500{after}")).await.expect(StatusCode::OK);
        read += page["events"].as_array().unwrap().len();
        after = format!("&after={}", page["next"].as_str().unwrap());
        count += 1;
    }
    assert_eq!((read, count), (230, 21), "each page is of a megabyte");
}

/// The runs of another host, whose values can not be read.
struct Lost(Arc<dyn Runs>);

#[async_trait]
impl Records<Run> for Lost {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        self.0.load(id).await
    }
    async fn fill(&self, _: &mut Run, _: &Wanted) -> Result<(), PortError> {
        Err(PortError::new(ErrorClass::Retry, "WL0301", "read a value: it is out of reach"))
    }
    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        self.0.commit(before, after, events).await
    }
}

#[async_trait]
impl Runs for Lost {
    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        sent: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError> {
        self.0.create(run, events, sent).await
    }
    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        self.0.changed(id, revision, at_most).await
    }
    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.0.list(filter).await
    }
    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        self.0.delete_run(run).await
    }
    async fn stale(&self, now: Timestamp, untouched: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        self.0.stale(now, untouched, most).await
    }
    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.0.events(id, after, most).await
    }
}

#[tokio::test]
async fn accepted_request_is_answered_although_a_value_can_not_be_read() {
    let host = MemoryHost::new(Timestamp::parse_rfc3339(START).unwrap());
    let ports = Ports { runs: Arc::new(Lost(host.ports().runs)), ..host.ports() };
    let world = world_on(host, ports);
    let state = |of: ActionAt| if of.action.0 == 0 { succeeded(of, text(5000)) } else { None };
    let id = run(&world, 3, &json!({ "long": text(5000) }), state).await;
    let view = world.post(&format!("/v1/runs/{id}/cancel"), json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!((&view["left_out"], &view["input"]), (&json!("values"), &Value::Null));
    assert_eq!(view["actions"]["a0"]["output_bytes"], 5002);
    world.get(&format!("/v1/runs/{id}")).await.refused(503, "WL0301");
    world.send(Call::new("GET", &format!("/v1/runs/{id}/actions/a0"))).await.refused(503, "WL0301");
    assert_eq!(world.get(&format!("/v1/runs/{id}/actions")).await.status, StatusCode::OK, "{HOST}");
}
