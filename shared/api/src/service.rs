//! The service itself: whether it answers, who works for it, and what it does not have.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, Uri};

use crate::operation::Operation;
use crate::problem::{Kind, Refusal};
use crate::request::Parameters;
use crate::state::ApiState;
use crate::view::{AgentList, AgentView, Health};

/// `GET /healthz`
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// `GET /v1/agents`
pub(crate) async fn agents(State(api): State<ApiState>, parameters: Parameters) -> Result<Json<AgentList>, Refusal> {
    parameters.of(Operation::ListAgents)?;
    let agents = api.ports().agents.list().await?;
    Ok(Json(AgentList { agents: agents.into_iter().map(AgentView::of).collect() }))
}

/// Whatever has no route.
pub(crate) async fn no_such_route(uri: Uri) -> Refusal {
    Refusal::new(&Kind::NO_ROUTE, format!("there is nothing at `{}`; `/openapi.json` has every route", uri.path()))
}

/// A method that a route does not have; the `Allow` header names those it has.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(&Kind::NO_METHOD, format!("`{}` can not be called with {method}", uri.path()))
}
