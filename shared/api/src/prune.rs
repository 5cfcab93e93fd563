//! Deleting runs that have ended: one, or a page of those that are old enough.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use windlass_domain::caller::Caller;
use windlass_domain::ids::TaskName;
use windlass_domain::run::RunStatus;
use windlass_domain::time::Millis;
use windlass_engine::ports::RunFilter;
use windlass_engine::retention::{PruneRequest, Pruned};

use crate::operation::Operation;
use crate::problem::{Kind, Refusal};
use crate::request::{self, MAX_LIMIT, Parameters, RunPath};
use crate::state::ApiState;
use crate::view::PruneAnswer;

/// Bytes of the body of a request to prune.
const MAX_PRUNE_BYTES: usize = 16 * 1024;

/// The body of a request to prune.
#[derive(Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PruneBody {
    /// Only runs that ended so long ago, such as `7d`; `0s` takes every run that has ended.
    older_than: String,
    /// Only runs of this task.
    #[serde(default)]
    task: Option<TaskName>,
    /// Only runs in this status.
    #[serde(default)]
    status: Option<RunStatus>,
    /// Where to go on: `next` of the call before.
    #[serde(default)]
    cursor: Option<String>,
    /// How many runs to look at, 1 to 500; 500 unless said.
    #[serde(default)]
    limit: Option<usize>,
}

/// `DELETE /v1/runs/{id}`
pub(crate) async fn delete(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    parameters: Parameters,
) -> Result<StatusCode, Refusal> {
    parameters.of(Operation::DeleteRun)?;
    let deleted = api.pruner().delete(id).await.map_err(Refusal::from);
    let run = deleted.map_err(|problem| problem.about(format!("/v1/runs/{id}")))?;
    tracing::info!(caller.who, run.id = %id, task = %run.task, "a run was deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/runs:prune`
pub(crate) async fn prune(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PruneAnswer>, Refusal> {
    parameters.of(Operation::PruneRuns)?;
    let body: PruneBody = request::json(&headers, body, MAX_PRUNE_BYTES).await?;
    let request = body.request()?;
    let Pruned { deleted, next } = api.pruner().prune(&request).await?;
    tracing::info!(caller.who, older_than = body.older_than, runs = deleted.len(), "runs were deleted");
    Ok(Json(PruneAnswer { deleted, next }))
}

impl PruneBody {
    fn request(&self) -> Result<PruneRequest, Refusal> {
        let refused = |what: String| Refusal::new(&Kind::INVALID_PARAMETER, what);
        let older_than = Millis::parse(&self.older_than).ok_or_else(|| {
            refused(format!("`older_than` must be a time with its unit, such as `7d`; `{}` is not", self.older_than))
        })?;
        let limit = self.limit.unwrap_or(MAX_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(refused(format!("`limit` must be from 1 to {MAX_LIMIT}, not {limit}")));
        }
        let filter = RunFilter { task: self.task.clone(), status: self.status, cursor: self.cursor.clone(), limit };
        Ok(PruneRequest { filter, older_than })
    }
}
