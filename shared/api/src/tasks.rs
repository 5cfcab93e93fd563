//! Tasks: put, shown, listed, deleted.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use windlass_domain::definition::{Definition, Faults};
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::limits::MAX_DEFINITION_BYTES;
use windlass_engine::ports::{StoredVersion, TaskRecord};
use windlass_engine::registry::{ListedTask, RegisteredTask};

use crate::operation::Operation;
use crate::problem::{Kind, Refusal};
use crate::request::{self, Parameters, TaskPath, VersionPath, malformed};
use crate::state::ApiState;
use crate::view::{PutAnswer, TaskList, TaskView, VersionList, VersionSummary, VersionView, shown};

/// How many due times of a schedule the API shows.
const SHOWN_DUE: usize = 5;
/// The media types of definitions. JSON is YAML too, so one reader reads them all.
const DEFINITION_TYPES: [&str; 5] =
    ["application/yaml", "application/json", "application/x-yaml", "text/yaml", "text/x-yaml"];

/// `PUT /v1/tasks/{name}`
pub(crate) async fn put(
    State(api): State<ApiState>,
    TaskPath(name): TaskPath,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    parameters.of(Operation::PutTask)?;
    request::check_media_type(&headers, &DEFINITION_TYPES)?;
    let body = request::body(&headers, body, MAX_DEFINITION_BYTES).await?;
    let text = String::from_utf8(body.into()).map_err(|_| malformed("the definition is not UTF-8".to_owned()))?;
    let definition = parse(&api, text).await??;
    if definition.task != name {
        let detail = format!("the path names `{name}` and the definition `{}`", definition.task);
        return Err(Refusal::new(&Kind::OTHER_NAME, detail));
    }
    let put = api.registry().put(&definition).await?;
    tracing::info!(task = %name, version = put.version, created = put.created, "a definition was put");
    let answer = PutAnswer {
        task: name,
        version: put.version,
        created: put.created,
        next_due: shown(&api.registry().upcoming(&definition, SHOWN_DUE)),
    };
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(answer)).into_response())
}

/// Reads a definition where it may take its time: one of megabytes would hold up every other call. Two are read at once, so that
/// many callers do not take all memory. The others wait with their texts.
async fn parse(api: &ApiState, text: String) -> Result<Result<Definition, Faults>, Refusal> {
    // The semaphore is never closed.
    let _permit = api.reading().acquire().await;
    let parsed = tokio::task::spawn_blocking(move || Definition::from_text(&text)).await;
    parsed.map_err(|_| Refusal::new(&Kind::INTERNAL, "the definition could not be read by a fault of this program"))
}

/// `GET /v1/tasks`
pub(crate) async fn list(State(api): State<ApiState>, parameters: Parameters) -> Result<Json<TaskList>, Refusal> {
    let parameters = parameters.of(Operation::ListTasks)?;
    let limit = parameters.limit()?;
    let after = parameters.read("cursor", "one that a page gave", |text| TaskName::new(text).ok())?;
    let mut tasks = api.registry().list(after.as_ref(), limit + 1).await?;
    let more = tasks.len() > limit;
    tasks.truncate(limit);
    let next = tasks.last().filter(|_| more).map(|task| task.record().name.to_string());
    let listed = |task: &ListedTask| match task {
        ListedTask::Readable(task) => view(&api, task),
        ListedTask::Unreadable(record, error) => TaskView::unreadable(record, error),
    };
    Ok(Json(TaskList { tasks: tasks.iter().map(listed).collect(), next }))
}

/// `GET /v1/tasks/{name}`
pub(crate) async fn get(
    State(api): State<ApiState>,
    TaskPath(name): TaskPath,
    parameters: Parameters,
) -> Result<Json<TaskView>, Refusal> {
    parameters.of(Operation::GetTask)?;
    let task = api.registry().get(&name).await?.ok_or_else(|| unknown(&name))?;
    if task.record.deleted {
        return Err(Refusal::new(&Kind::DELETED_TASK, format!("the task `{name}` has been deleted")));
    }
    Ok(Json(view(&api, &task).whole(&task.definition)))
}

fn view(api: &ApiState, task: &RegisteredTask) -> TaskView {
    TaskView::of(task, &api.registry().upcoming(&task.definition, SHOWN_DUE))
}

fn unknown(name: &TaskName) -> Refusal {
    Refusal::new(&Kind::UNKNOWN_TASK, format!("there is no task `{name}`"))
}

/// `DELETE /v1/tasks/{name}`
pub(crate) async fn delete(
    State(api): State<ApiState>,
    TaskPath(name): TaskPath,
    parameters: Parameters,
) -> Result<StatusCode, Refusal> {
    parameters.of(Operation::DeleteTask)?;
    api.registry().delete(&name).await?;
    tracing::info!(task = %name, "a task was deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/tasks/{name}/versions`. Versions outlive the task: its runs are pinned to them.
pub(crate) async fn versions(
    State(api): State<ApiState>,
    TaskPath(name): TaskPath,
    parameters: Parameters,
) -> Result<Json<VersionList>, Refusal> {
    let parameters = parameters.of(Operation::ListVersions)?;
    let limit = parameters.limit()?;
    let before = parameters.read("cursor", "one that a page gave", |text| text.parse::<TaskVersion>().ok())?;
    record(&api, &name).await?;
    let mut versions = api.ports().tasks.versions(&name, before, limit + 1).await?;
    let more = versions.len() > limit;
    versions.truncate(limit);
    let next = versions.last().filter(|_| more).map(|last| last.version.to_string());
    let versions = versions.into_iter().map(VersionSummary::of).collect();
    Ok(Json(VersionList { versions, next }))
}

/// `GET /v1/tasks/{name}/versions/{version}`
pub(crate) async fn version(
    State(api): State<ApiState>,
    VersionPath(name, version): VersionPath,
    parameters: Parameters,
) -> Result<Json<VersionView>, Refusal> {
    parameters.of(Operation::GetVersion)?;
    record(&api, &name).await?;
    Ok(Json(VersionView::of(name.clone(), stored(&api, &name, version).await?)))
}

async fn record(api: &ApiState, name: &TaskName) -> Result<TaskRecord, Refusal> {
    api.ports().tasks.load(name).await?.ok_or_else(|| unknown(name))
}

async fn stored(api: &ApiState, name: &TaskName, version: TaskVersion) -> Result<StoredVersion, Refusal> {
    let missing = || Refusal::new(&Kind::UNKNOWN_VERSION, format!("the task `{name}` has no version {version}"));
    api.ports().tasks.version(name, version).await?.ok_or_else(missing)
}
