//! The service itself: its health, its agents, and the answer to unknown paths.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use windlass_domain::caller::Caller;
use windlass_domain::time::Millis;
use windlass_engine::control::DRAIN_WITHIN;
use windlass_engine::pools::is_silent;
use windlass_engine::ports::AgentRecord;

use crate::operation::Operation;
use crate::problem::{Kind, Refusal};
use crate::request::{self, AgentPath, Parameters};
use crate::state::ApiState;
use crate::view::{AgentList, AgentView, Health};

/// Bytes of the body of a drain.
const MAX_DRAIN_BYTES: usize = 4096;
/// The longest that an agent may take to drain.
const LONGEST_DRAIN: Millis = Millis::from_secs(24 * 3600);

/// `GET /healthz`
pub(crate) async fn health(State(api): State<ApiState>) -> Result<Json<Health>, Refusal> {
    if let Some(error) = api.failing() {
        return Err(Refusal::unavailable(&error));
    }
    Ok(Json(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }))
}

/// `GET /v1/agents`
pub(crate) async fn agents(State(api): State<ApiState>, parameters: Parameters) -> Result<Json<AgentList>, Refusal> {
    parameters.of(Operation::ListAgents)?;
    let agents = api.ports().agents.list().await?;
    let view = |agent: AgentRecord| {
        let silent = is_silent(api.ports(), &agent);
        AgentView::of(agent, silent)
    };
    Ok(Json(AgentList { agents: agents.into_iter().map(view).collect() }))
}

/// The body of a drain; a caller may leave it out.
#[derive(Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DrainBody {
    /// How long the agent's running attempts may take, such as `5m`, at most `24h`; absent: `5m`. It hands back the
    /// rest.
    within: Option<String>,
}

/// `POST /v1/agents/{agent}/drain`
pub(crate) async fn drain(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    AgentPath(id): AgentPath,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    parameters.of(Operation::DrainAgent)?;
    let DrainBody { within } = request::json(&headers, body, MAX_DRAIN_BYTES).await?;
    let within = within.map_or(Ok(DRAIN_WITHIN), |text| span(&text))?;
    let agent = api.control().drain(&id, within).await?;
    tracing::info!(caller.who, agent.id = %id, within_ms = within.0, "an agent was told to drain");
    let silent = is_silent(api.ports(), &agent);
    Ok((StatusCode::ACCEPTED, Json(AgentView::of(agent, silent))).into_response())
}

fn span(text: &str) -> Result<Millis, Refusal> {
    let read = Millis::parse(text).filter(|within| *within <= LONGEST_DRAIN);
    let refused = || format!("`within` must be a span of time of at most 24h, such as 5m; `{text}` is not");
    read.ok_or_else(|| Refusal::new(&Kind::INVALID_PARAMETER, refused()))
}

/// Answers a call to a path that has no route.
pub(crate) async fn no_such_route(uri: Uri) -> Refusal {
    Refusal::new(&Kind::NO_ROUTE, format!("there is nothing at `{}`; `/openapi.json` has every route", uri.path()))
}

/// A method that a route does not have; the `Allow` header names those it has.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(&Kind::NO_METHOD, format!("`{}` can not be called with {method}", uri.path()))
}
