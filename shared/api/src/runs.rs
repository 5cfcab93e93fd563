//! Runs: start, wait, show, list, and requests to them.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_contract::view::RunView;
use windlass_domain::caller::Caller;
use windlass_domain::ids::{RunId, TaskName, TaskVersion};
use windlass_domain::limits::MAX_INPUT_BYTES;
use windlass_domain::run::{ActionStatus, RunStatus};
use windlass_engine::control::ControlRequest;
use windlass_engine::pools::silent_agents;
use windlass_engine::ports::RunFilter;
use windlass_engine::submit::{StartRequest, Started};

use crate::operation::Operation;
use crate::problem::Refusal;
use crate::request::{self, ActionPath, Parameters, RunPath, TaskPath};
use crate::shown;
use crate::state::ApiState;
use crate::view::RunList;

/// Bytes of the body that starts a run: its input, and the text around it.
const MAX_START_BYTES: usize = MAX_INPUT_BYTES + 4096;
/// Bytes of the body of a request to a run.
const MAX_CONTROL_BYTES: usize = 16 * 1024;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Says that an earlier call with the same key had started the run.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The body that starts a run. An empty body means an empty input.
#[derive(Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StartBody {
    /// The run's input, as the task's `input` describes it.
    input: Value,
    /// The task's version; absent: the newest.
    version: Option<TaskVersion>,
}

/// The body of a request to a run; a caller may leave it out.
#[derive(Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReasonBody {
    /// Why, in words.
    reason: String,
}

/// `POST /v1/tasks/{name}/runs`
pub(crate) async fn start(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    TaskPath(task): TaskPath,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let wait = parameters.of(Operation::StartRun)?.wait()?;
    let key = request::header(&headers, IDEMPOTENCY_KEY)?.map(str::to_owned);
    let StartBody { input, version } = request::json(&headers, body, MAX_START_BYTES).await?;
    let who = caller.who.clone();
    let started = api.starter().start(StartRequest { task, version, input, key, caller }).await?;
    let Started { run, definition, created } = started;
    tracing::info!(caller.who = who, run.id = %run.id, task = %run.task, created, "a run was asked for");
    let run = api.wait_for_end(run, wait).await;
    let status = if run.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = [(LOCATION, format!("/v1/runs/{}", run.id))];
    let view = shown::accepted(&api, &definition, run).await;
    let mut response = (status, location, Json(view)).into_response();
    if !created {
        response.headers_mut().insert(REPLAYED, axum::http::HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// `GET /v1/runs`
pub(crate) async fn list(State(api): State<ApiState>, parameters: Parameters) -> Result<Json<RunList>, Refusal> {
    let parameters = parameters.of(Operation::ListRuns)?;
    let statuses = RunStatus::ALL.map(RunStatus::as_str).join(", ");
    let known = |text: &str| RunStatus::ALL.into_iter().find(|status| status.as_str() == text);
    let filter = RunFilter {
        task: parameters.read("task", "the name of a task", |text| TaskName::new(text).ok())?,
        status: parameters.read("status", &format!("one of {statuses}"), known)?,
        cursor: parameters.get("cursor").map(str::to_owned),
        limit: parameters.limit()?,
    };
    let page = api.ports().runs.list(&filter).await?;
    Ok(Json(RunList { runs: page.runs, next: page.next }))
}

/// `GET /v1/runs/{id}`
pub(crate) async fn get(
    State(api): State<ApiState>,
    RunPath(id): RunPath,
    parameters: Parameters,
) -> Result<Json<RunView>, Refusal> {
    parameters.of(Operation::GetRun)?;
    let mut view = shown::read(&api, id).await?;
    if view.actions.values().any(|action| action.status == ActionStatus::Running) {
        view.mark_silent(&silent_agents(api.ports()).await);
    }
    Ok(Json(view))
}

/// `POST /v1/runs/{id}/cancel`
pub(crate) async fn cancel(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    parameters.of(Operation::CancelRun)?;
    let ReasonBody { reason } = request::json(&headers, body, MAX_CONTROL_BYTES).await?;
    control(&api, &caller, id, ControlRequest::Cancel { reason }).await
}

/// `POST /v1/runs/{id}/actions/{action}/kill`
pub(crate) async fn kill(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    ActionPath(id, action): ActionPath,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    parameters.of(Operation::KillAction)?;
    let ReasonBody { reason } = request::json(&headers, body, MAX_CONTROL_BYTES).await?;
    control(&api, &caller, id, ControlRequest::Kill { action, reason }).await
}

/// `POST /v1/runs/{id}/pause`
pub(crate) async fn pause(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    parameters.of(Operation::PauseRun)?;
    let ReasonBody { reason } = request::json(&headers, body, MAX_CONTROL_BYTES).await?;
    control(&api, &caller, id, ControlRequest::Pause { reason }).await
}

/// `POST /v1/runs/{id}/resume`
pub(crate) async fn resume(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    parameters.of(Operation::ResumeRun)?;
    let ReasonBody { reason } = request::json(&headers, body, MAX_CONTROL_BYTES).await?;
    control(&api, &caller, id, ControlRequest::Resume { reason }).await
}

/// `POST /v1/runs/{id}/retry`
pub(crate) async fn retry(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    parameters.of(Operation::RetryRun)?;
    let ReasonBody { reason } = request::json(&headers, body, MAX_CONTROL_BYTES).await?;
    control(&api, &caller, id, ControlRequest::Retry { reason }).await
}

/// Passes a request on and answers with the run as it stood then: the request has its effect afterwards.
async fn control(api: &ApiState, caller: &Caller, id: RunId, request: ControlRequest) -> Result<Response, Refusal> {
    let name = request.name();
    let accepted = api.control().request(id, request, caller.clone()).await.map_err(Refusal::from);
    let accepted = accepted.map_err(|problem| problem.about(format!("/v1/runs/{id}")))?;
    tracing::info!(caller.who, run.id = %id, request = name, "a request to a run was accepted");
    let view = shown::accepted(api, &accepted.definition, accepted.run).await;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}
