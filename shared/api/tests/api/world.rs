//! A host, its API and a caller who has the token.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use windlass_api::{AllowedHosts, ApiConfig, ApiState, Auth, Verified, app};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, RunId};
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_domain::run::{ErrorInfo, Input, Outcome, Report, Run};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::settle::advance;
use windlass_engine::subject::{Engine, Given};
use windlass_testkit::memory::MemoryHost;

use crate::document::check_answer;

pub(crate) const TOKEN: &str = "the-token-of-the-tests";
pub(crate) const HOST: &str = "127.0.0.1:8080";

/// A task of two actions, with an input, labels and a schedule.
pub(crate) const REPORT: &str = r#"
task: report
description: Extract and publish
labels: { client: acme }
schedule: { cron: "30 2 * * *", timezone: Europe/Berlin }
input:
  type: object
  additionalProperties: false
  properties: { day: { type: string, default: today } }
actions:
  extract: { exec: [echo, "${{ input.day }}"] }
  publish: { needs: [extract], exec: [echo, done] }
output: "${{ actions.extract.output }}"
"#;

/// The host's time when a test begins.
pub(crate) const START: &str = "2026-01-01T00:00:00Z";

pub(crate) struct World {
    pub(crate) host: MemoryHost,
    pub(crate) ports: Ports,
    pub(crate) shutdown: CancellationToken,
    definitions: Arc<Definitions>,
    app: Router,
}

/// A call: built up, then sent by [`World::send`].
pub(crate) struct Call {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    verified: Option<Verified>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let host = MemoryHost::new(Timestamp::parse_rfc3339(START).unwrap());
        let ports = host.ports();
        Self::on(host, ports)
    }

    /// A world whose ports may be others than its host's own.
    pub(crate) fn on(host: MemoryHost, ports: Ports) -> Self {
        let shutdown = CancellationToken::new();
        Self::configured(host, ports, ApiConfig::new(Auth::token(TOKEN), AllowedHosts::loopback(8080), shutdown))
    }

    /// A world whose API is set up so.
    pub(crate) fn configured(host: MemoryHost, ports: Ports, config: ApiConfig) -> Self {
        let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
        let shutdown = config.shutdown.clone();
        let app = app(ApiState::new(ports.clone(), definitions.clone(), config));
        Self { host, ports, shutdown, definitions, app }
    }

    /// A world with the task `report`.
    pub(crate) async fn with_report() -> Self {
        let world = Self::new();
        world.host.serve(&windlass_domain::ids::PoolName::default());
        world.put("report", REPORT).await.expect(StatusCode::CREATED);
        world
    }

    /// Sends a call and reads its answer to the end, holding it against the document.
    pub(crate) async fn send(&self, call: Call) -> Answer {
        let (method, path) = (call.method, call.path.clone());
        let answer = read(self.open(call).await).await;
        check_answer(method, &path, &answer);
        answer
    }

    /// The app, to be served.
    pub(crate) fn router(&self) -> Router {
        self.app.clone()
    }

    /// Sends a call, whose answer may have no end.
    pub(crate) async fn open(&self, call: Call) -> Response<Body> {
        let mut request = Request::builder().method(call.method).uri(&call.path);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(verified) = call.verified {
            request = request.extension(verified);
        }
        self.app.clone().oneshot(request.body(Body::from(call.body)).unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Call::new("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Call::new("POST", path).json(&body)).await
    }

    pub(crate) async fn put(&self, task: &str, definition: &str) -> Answer {
        self.send(Call::new("PUT", &format!("/v1/tasks/{task}")).body(definition)).await
    }

    /// Starts a run of `report` and gives its id.
    pub(crate) async fn start(&self) -> RunId {
        let answer = self.post("/v1/tasks/report/runs", json!({})).await.expect(StatusCode::ACCEPTED);
        answer["id"].as_str().unwrap().parse().unwrap()
    }

    /// Starts a run of more actions than begin at once: it is submitted until the process manager has its start.
    pub(crate) async fn start_large(&self) -> RunId {
        let actions: Vec<String> = (0..=ACTIONS_PER_PAGE).map(|n| format!("  a{n}: {{ exec: [echo] }}\n")).collect();
        self.put("large", &format!("task: large\nactions:\n{}", actions.concat())).await.expect(StatusCode::CREATED);
        let view = self.post("/v1/tasks/large/runs", json!({})).await.expect(StatusCode::ACCEPTED);
        assert_eq!(view["status"], "submitted");
        view["id"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn run(&self, id: RunId) -> Run {
        self.ports.runs.load(&id).await.unwrap().unwrap()
    }

    /// Gives the run an input, as the process manager would.
    pub(crate) async fn feed(&self, id: RunId, input: Input) {
        let engine = Engine::new(self.ports.clone(), self.definitions.clone());
        advance::<Run>(&engine, &id, &[Given::new(input)], None).await.unwrap();
    }

    /// Ends the newest attempt of an action, as its agent would.
    pub(crate) async fn complete(&self, id: RunId, action: u32, outcome: Outcome) {
        let state = self.run(id).await.action(ActionIndex(action)).clone();
        let delivery = Delivery::new(state.attempt(), 0, 1);
        let agent = AgentId::new("agent-1").unwrap();
        let of = Report { action: ActionIndex(action), delivery, message: 7, agent };
        let started_at = self.ports.clock.now();
        self.feed(id, Input::Completed { of, started_at, outcome, checkpoint: None }).await;
    }

    pub(crate) async fn succeed(&self, id: RunId, action: u32) {
        self.complete(id, action, Outcome::Succeeded { output: json!({ "rows": 3 }) }).await;
    }

    pub(crate) async fn fail(&self, id: RunId, action: u32) {
        self.complete(id, action, Outcome::Failed { error: ErrorInfo::new("auth.password", "wrong") }).await;
    }

    /// Takes a run of `report` from its start to its end.
    pub(crate) async fn finish(&self, id: RunId) {
        self.feed(id, Input::Start).await;
        self.succeed(id, 0).await;
        self.succeed(id, 1).await;
    }
}

impl Call {
    /// A call as it should be: to the right host, with the token.
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self::bare(method, path).header("host", HOST).header("authorization", &format!("Bearer {TOKEN}"))
    }

    /// A call without any header.
    pub(crate) fn bare(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Vec::new(), verified: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As a host hands it over after its gateway has verified the caller.
    pub(crate) fn verified(mut self, subject: &str) -> Self {
        self.verified = Some(Verified { subject: subject.to_owned() });
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }
}

async fn read(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answer { status: head.status, headers: head.headers, text: String::from_utf8(bytes.into()).unwrap() }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body of a success.
    pub(crate) fn expect(&self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem of a failure: its document is whole, and of that status and code.
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status.as_u16(), &problem["code"]), (status, &json!(code)), "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["status"], status);
        let page = problem["type"].as_str().unwrap();
        assert!(page.starts_with("https://") && page.ends_with(&format!("/docs/errors/{code}.md")), "{page}");
        problem
    }
}
