//! The API refuses bodies that it cannot read, and answers for a host that fails.

use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use windlass_api::{AllowedHosts, ApiConfig, Auth};
use windlass_contract::event::PublicEvent;
use windlass_contract::message::{ControlMessage, MESSAGE_VERSION, decode};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName, RunId};
use windlass_domain::limits::{MAX_DEFINITION_BYTES, MAX_INPUT_BYTES};
use windlass_domain::run::{Input, Report, Run};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::ports::{
    AgentRecord, Agents, Created, ErrorClass, EventCursor, LoggedEvent, Outgoing, PortError, QueueName, Records,
    RunFilter, RunPage, Runs,
};
use windlass_testkit::memory::MemoryHost;

use futures::StreamExt;
use tower::ServiceExt;

use crate::world::{Call, HOST, REPORT, START, TOKEN, World};

#[tokio::test]
async fn malformed_json_has_its_place() {
    let world = World::with_report().await;
    let post =
        |body: &str| Call::new("POST", "/v1/tasks/report/runs").header("content-type", "application/json").body(body);
    let problem = world.send(post("{\n \"input\": }")).await.refused(400, "WL0406");
    assert_eq!((&problem["faults"][0]["line"], &problem["faults"][0]["column"]), (&json!(2), &json!(11)));
    let misplaced = world.send(post(r#"{ "day": "monday" }"#)).await.refused(400, "WL0406");
    assert!(misplaced["detail"].as_str().unwrap().contains("unknown field `day`"), "{misplaced}");
    for body in ["[]", "3", "\u{0}", "{} {}", r#"{"version": -1}"#, r#"{"version": "1"}"#] {
        world.send(post(body)).await.refused(400, "WL0406");
    }
    let deep = format!("{{\"input\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    world.send(post(&deep)).await.refused(400, "WL0406");
    world.send(post("\u{feff}{}")).await.refused(400, "WL0406");
    let mut bytes = Call::new("PUT", "/v1/tasks/report").body(vec![0xff, 0xfe]);
    world.send(bytes).await.refused(400, "WL0406");
    bytes = Call::new("POST", "/v1/tasks/report/runs").header("content-type", "text/plain").body("{}");
    world.send(bytes).await.refused(415, "WL0408");
}

/// A caller that sends a byte now and then, or nothing, would keep a connection for ever.
#[tokio::test(start_paused = true)]
async fn body_that_does_not_go_on_is_refused() {
    for (pause, pieces, seconds) in [(40, 2, 30), (20, 10, 60), (9, 5, 45)] {
        let world = World::with_report().await;
        let text = REPORT.as_bytes();
        let size = text.len().div_ceil(pieces);
        let slowly = futures::stream::iter(text.chunks(size).map(<[u8]>::to_vec)).then(move |piece| async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            Ok::<_, std::io::Error>(piece)
        });
        let request = axum::http::Request::put("/v1/tasks/report")
            .header("host", HOST)
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(axum::body::Body::from_stream(slowly))
            .unwrap();
        let began = tokio::time::Instant::now();
        let answer = world.router().oneshot(request).await.unwrap();
        let expected = if seconds == 45 { StatusCode::OK } else { StatusCode::REQUEST_TIMEOUT };
        assert_eq!((answer.status(), began.elapsed().as_secs()), (expected, seconds));
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&body).contains("WL0470"), expected == StatusCode::REQUEST_TIMEOUT);
    }
}

#[tokio::test]
async fn request_to_a_run_has_a_small_body() {
    let world = World::with_report().await;
    let id = world.start().await;
    for verb in ["cancel", "pause", "resume", "retry", "actions/extract/kill"] {
        let path = format!("/v1/runs/{id}/{verb}");
        world.post(&path, json!({ "why": "x" })).await.refused(400, "WL0406");
        world.post(&path, json!({ "reason": "x".repeat(1025) })).await.refused(400, "WL0410");
        world.post(&path, json!({ "reason": "x".repeat(20_000) })).await.refused(413, "WL0407");
    }
}

#[tokio::test]
async fn bodies_are_bounded() {
    let world = World::with_report().await;
    let padded = |bytes: usize| format!("{REPORT}#{}", "x".repeat(bytes - REPORT.len() - 1));
    world.put("report", &padded(MAX_DEFINITION_BYTES)).await.expect(StatusCode::OK);
    world.put("report", &padded(MAX_DEFINITION_BYTES + 1)).await.refused(413, "WL0407");
    let announced = Call::new("PUT", "/v1/tasks/report").header("content-length", "99999999").body(REPORT);
    world.send(announced).await.refused(413, "WL0407");
    let input = json!({ "input": { "day": "x".repeat(MAX_INPUT_BYTES + 4096) } });
    world.post("/v1/tasks/report/runs", input).await.refused(413, "WL0407");
    let large = json!({ "input": { "day": "x".repeat(MAX_INPUT_BYTES) } });
    world.post("/v1/tasks/report/runs", large).await.refused(422, "WL0417");
}

#[tokio::test]
async fn names_and_ids_are_checked() {
    let world = World::new();
    let long = "x".repeat(65);
    for path in ["/v1/tasks/1st", "/v1/tasks/a%20b", "/v1/tasks/%ff", &format!("/v1/tasks/{long}"), "/v1/runs/7"] {
        world.get(path).await.refused(400, "WL0409");
    }
    world.put("1st", REPORT).await.refused(400, "WL0409");
    world.send(Call::new("POST", "/v1/runs/7/cancel")).await.refused(400, "WL0409");
}

#[tokio::test]
async fn parameters_are_checked() {
    let world = World::with_report().await;
    let id = world.start().await;
    for path in [
        "/v1/runs?status=done",
        "/v1/runs?task=1st",
        "/v1/runs?limit=0",
        "/v1/runs?limit=501",
        "/v1/runs?limit=x",
        "/v1/runs?state=failed",
        "/v1/runs?limit=1&limit=2",
        "/v1/runs?limit=%ff",
        "/v1/tasks?cursor=1st",
        "/v1/tasks?x",
        "/v1/tasks/report?x=1",
        "/v1/agents?x=1",
        &format!("/v1/runs/{id}?x=1"),
        &format!("/v1/runs/{id}/events?after=x"),
        "/v1/tasks/report/versions?cursor=x",
    ] {
        world.get(path).await.refused(400, "WL0410");
    }
    for wait in ["20", "x", "-1s", ""] {
        world.send(Call::new("POST", &format!("/v1/tasks/report/runs?wait={wait}"))).await.refused(400, "WL0410");
    }
    let stream = Call::new("GET", &format!("/v1/runs/{id}/events")).header("accept", "text/event-stream");
    world.send(stream.header("last-event-id", "x")).await.refused(400, "WL0410");
}

/// A host whose register of agents and whose runs fail, each in its way.
struct Failing(PortError);

#[async_trait]
impl Agents for Failing {
    async fn register(&self, _: &AgentRecord) -> Result<(), PortError> {
        Err(self.0.clone())
    }
    async fn deregister(&self, _: &AgentId) -> Result<(), PortError> {
        Err(self.0.clone())
    }
    async fn list(&self) -> Result<Vec<AgentRecord>, PortError> {
        assert_ne!(self.0.code, "panic", "a secret of the inside");
        Err(self.0.clone())
    }
}

#[async_trait]
impl Records<Run> for Failing {
    async fn load(&self, _: &RunId) -> Result<Option<Run>, PortError> {
        Err(self.0.clone())
    }
    async fn commit(&self, _: &Run, _: &Run, _: &[PublicEvent]) -> Result<(), PortError> {
        Err(self.0.clone())
    }
}

#[async_trait]
impl Runs for Failing {
    async fn create(&self, _: &Run, _: &[PublicEvent], _: &[(QueueName, Outgoing)]) -> Result<Created, PortError> {
        Err(self.0.clone())
    }
    async fn changed(&self, _: RunId, _: u64, _: Duration) -> Result<Option<Run>, PortError> {
        Err(self.0.clone())
    }
    async fn list(&self, _: &RunFilter) -> Result<RunPage, PortError> {
        Err(self.0.clone())
    }
    async fn stale(&self, _: Timestamp, _: Timestamp, _: usize) -> Result<Vec<RunId>, PortError> {
        Err(self.0.clone())
    }
    async fn delete_run(&self, _: &Run) -> Result<bool, PortError> {
        Err(self.0.clone())
    }
    async fn events(&self, _: RunId, _: Option<EventCursor>, _: usize) -> Result<Vec<LoggedEvent>, PortError> {
        Err(self.0.clone())
    }
}

fn failing(class: ErrorClass, code: &'static str, message: &str) -> World {
    let host = MemoryHost::new(Timestamp::parse_rfc3339(START).unwrap());
    let failing = std::sync::Arc::new(Failing(PortError::new(class, code, message)));
    let ports = Ports { agents: failing.clone(), runs: failing, ..host.ports() };
    World::on(host, ports)
}

#[tokio::test]
async fn busy_host_answers_with_retry_after() {
    let world = failing(ErrorClass::Retry, "WL0306", "write: the disk is full");
    world.put("report", REPORT).await.expect(StatusCode::CREATED);
    let answer = world.post("/v1/tasks/report/runs", json!({})).await;
    let problem = answer.refused(503, "WL0306");
    assert_eq!(problem["detail"], "failed to write: the disk is full");
    assert_eq!(answer.header("retry-after"), Some("1"));
    world.get("/v1/runs").await.refused(503, "WL0306");
    let conflict = failing(ErrorClass::Conflict, "WL0302", "write: it changed");
    conflict.get("/v1/runs").await.refused(503, "WL0302");
}

#[tokio::test]
async fn request_that_the_host_rejects_is_400() {
    failing(ErrorClass::Reject, "WL0303", "read the cursor").get("/v1/runs?cursor=x").await.refused(400, "WL0303");
    World::new().get("/v1/runs?cursor=x").await.refused(400, "WL0315");
}

#[tokio::test]
async fn damaged_data_is_a_coded_internal_error() {
    failing(ErrorClass::Bug, "WL0701", "read the record").get("/v1/runs").await.refused(500, "WL0701");
}

#[tokio::test]
async fn panic_is_answered_without_internal_details() {
    let answer = failing(ErrorClass::Bug, "panic", "").get("/v1/agents").await;
    let problem = answer.refused(500, "WL0499");
    assert!(!problem.to_string().contains("secret"), "{problem}");
}

fn an_agent() -> AgentRecord {
    let at = Timestamp::parse_rfc3339(START).unwrap();
    AgentRecord {
        id: AgentId::new("agent-1").unwrap(),
        pool: windlass_domain::ids::PoolName::default(),
        slots: 4,
        busy: 1,
        version: "0.1.0".into(),
        address: "host/7".into(),
        draining: false,
        started_at: at,
        seen_at: at,
    }
}

/// The run's record says that the action runs; the register says that its agent has fallen silent.
#[tokio::test]
async fn running_action_shows_that_its_agent_is_silent() {
    let world = World::with_report().await;
    let id = world.start().await;
    let now = world.ports.clock.now();
    let of = Report { action: ActionIndex(0), delivery: Delivery::new(1, 0, 1), message: 7, agent: an_agent().id };
    world.feed(id, Input::Started { of, started_at: now }).await;
    let since = async |seconds_ago: i64| {
        let seen_at = Timestamp::from_millis(now.as_millis() - seconds_ago * 1000);
        world.ports.agents.register(&AgentRecord { seen_at, ..an_agent() }).await.unwrap();
        let view = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
        assert_eq!(view["actions"]["extract"]["status"], "running");
        view["actions"]["extract"].get("agent_silent_since").cloned()
    };
    assert_eq!(since(20).await, None);
    let told = Timestamp::from_millis(now.as_millis() - 60_000).to_string();
    assert_eq!(since(60).await, Some(json!(told)));
}

#[tokio::test]
async fn drain_request_reaches_the_agent() {
    let world = World::new();
    world.ports.agents.register(&an_agent()).await.unwrap();
    let asked = world.post("/v1/agents/agent-1/drain", json!({ "within": "90s" })).await.expect(StatusCode::ACCEPTED);
    assert_eq!(asked["id"], "agent-1");
    world.send(Call::new("POST", "/v1/agents/agent-1/drain")).await.expect(StatusCode::ACCEPTED);
    let queue = QueueName::Control { pool: PoolName::default(), agent: AgentId::new("agent-1").unwrap() };
    let told = world.ports.queues.receive(&queue, 10, Duration::from_secs(30), Duration::ZERO).await.unwrap();
    let told: Vec<ControlMessage> = told.iter().map(|message| decode(&message.body).unwrap()).collect();
    let drain = |secs| ControlMessage::Drain {
        v: MESSAGE_VERSION,
        deadline_ms: Millis::from_secs(secs),
        agent: AgentId::new("agent-1").unwrap(),
    };
    assert_eq!(told, [drain(90), drain(300)]);

    for within in ["25h", "soon", ""] {
        let refused = world.post("/v1/agents/agent-1/drain", json!({ "within": within })).await;
        refused.refused(400, "WL0410");
    }
    world.post("/v1/agents/agent-2/drain", json!({})).await.refused(404, "WL0422");
    world.post("/v1/agents/no%20name/drain", json!({})).await.refused(400, "WL0409");
}

#[tokio::test]
async fn agents_are_listed() {
    let world = World::new();
    world.ports.agents.register(&an_agent()).await.unwrap();
    for (passed, silent) in [(29_000, false), (2_000, true)] {
        world.host.advance(Millis(passed));
        let list = world.get("/v1/agents").await.expect(StatusCode::OK);
        assert_eq!(
            list["agents"],
            json!([{
                "id": "agent-1", "pool": "default", "slots": 4, "busy": 1, "version": "0.1.0", "address": "host/7",
                "draining": false, "silent": silent,
                "started_at": "2026-01-01T00:00:00.000Z", "seen_at": "2026-01-01T00:00:00.000Z",
            }])
        );
    }
}

#[tokio::test]
async fn failing_host_is_not_healthy() {
    let host = MemoryHost::new(Timestamp::parse_rfc3339(START).unwrap());
    let (fails, failing) = tokio::sync::watch::channel(None);
    let shutdown = CancellationToken::new();
    let config = ApiConfig::new(Auth::token(TOKEN), AllowedHosts::loopback(8080), shutdown);
    let world = World::configured(host.clone(), host.ports(), ApiConfig { failing: Some(failing), ..config });
    world.get("/healthz").await.expect(StatusCode::OK);
    fails.send(Some(PortError::new(ErrorClass::Retry, "WL0308", "sync the log to the disk"))).unwrap();
    let answer = world.get("/healthz").await.refused(503, "WL0308");
    assert_eq!(answer["detail"], "failed to sync the log to the disk");
    fails.send(Some(PortError::new(ErrorClass::Bug, "WL0305", "read the database"))).unwrap();
    world.get("/healthz").await.refused(503, "WL0305");
    fails.send(None).unwrap();
    world.get("/healthz").await.expect(StatusCode::OK);
}
