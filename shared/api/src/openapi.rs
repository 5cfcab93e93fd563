//! The API's own description (`OpenAPI` 3.1), made from the table of operations and the schemas of bodies.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use windlass_contract::view::{ActionView, RunView};

use crate::operation::{Operation, Parameter};
use crate::plain::plain;
use crate::problem::Problem;
use crate::prune::PruneBody;
use crate::runs::{ReasonBody, StartBody};
use crate::service::DrainBody;
use crate::view::{
    ActionList, AgentList, AgentView, EventList, Health, PruneAnswer, PutAnswer, RunList, TaskList, TaskView,
    VersionList, VersionView,
};

static DOCUMENT: LazyLock<Value> = LazyLock::new(write);
static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_string());

/// The description of the API: an OpenAPI 3.1 document.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// `GET /openapi.json`
pub(crate) async fn answer() -> Response {
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

fn write() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator =
        settings.with(|settings| settings.definitions_path = "/components/schemas".into()).into_generator();
    let mut paths = Map::new();
    for operation in Operation::ALL {
        let entry = paths.entry(operation.path()).or_insert_with(|| json!({}));
        entry[operation.method()] = describe(operation, &mut generator);
    }
    let problem = schema::<Problem>(&mut generator);
    plain(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Windlass",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Tasks, their runs, and the events of runs. Every answer that is no success is a problem \
                document (RFC 9457) with a stable code, explained in docs/errors.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {
                "Problem": {
                    "description": "What went wrong.",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    }))
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// The schema of a request's body: a caller may leave out a key with a default.
fn read_schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The texts that the OpenAPI document has for one operation.
struct Text {
    id: &'static str,
    summary: &'static str,
    /// The statuses of success, and their meaning.
    answers: &'static [(u16, &'static str)],
}

fn describe(operation: Operation, generator: &mut SchemaGenerator) -> Value {
    let Text { id, summary, answers } = text(operation);
    let mut responses = Map::new();
    for (status, meaning) in answers {
        responses.insert(status.to_string(), response(operation, *status, meaning, generator));
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    let mut described = json!({
        "operationId": id,
        "summary": summary,
        "parameters": parameters(operation),
        "responses": responses,
    });
    if let Some(body) = request_body(operation) {
        described["requestBody"] = body;
    }
    if operation == Operation::Health {
        described["security"] = json!([]);
    }
    described
}

fn response(operation: Operation, status: u16, meaning: &str, generator: &mut SchemaGenerator) -> Value {
    let mut response = json!({ "description": meaning });
    if let Some(schema) = answer_schema(operation, generator).filter(|_| status != 204) {
        response["content"] = json!({ "application/json": { "schema": schema } });
    }
    if operation == Operation::ListEvents && status == 200 {
        response["content"]["text/event-stream"] = json!({ "schema": { "type": "string" } });
    }
    if operation == Operation::StartRun {
        let text = json!({ "type": "string" });
        response["headers"] = json!({
            "Location": { "description": "The run.", "required": true, "schema": text },
            "Idempotent-Replayed": { "description": "`true`: an earlier call started it.", "schema": text },
        });
    }
    response
}

fn parameters(operation: Operation) -> Vec<Value> {
    let names = operation.path().split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.map(|name| {
        let schema = match name {
            "id" => json!({ "type": "string", "format": "uuid" }),
            "version" => json!({ "type": "integer", "minimum": 1 }),
            _ => json!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]*$", "maxLength": 64 }),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    let in_query = operation.parameters().iter().map(|Parameter { name, description, example }| {
        let schema = if *name == "limit" {
            json!({ "type": "integer", "minimum": 1, "maximum": crate::request::MAX_LIMIT })
        } else {
            json!({ "type": "string" })
        };
        json!({ "name": name, "in": "query", "description": description, "example": example, "schema": schema })
    });
    let header = |name: &str, description: &str| json!({ "name": name, "in": "header", "description": description, "schema": { "type": "string" } });
    let key = header("Idempotency-Key", "The same key for the same task is the same run.");
    let last_event = header("Last-Event-ID", "Where a stream goes on.");
    let in_headers = [(Operation::StartRun, key), (Operation::ListEvents, last_event)];
    let in_headers = in_headers.into_iter().filter(|(of, _)| *of == operation).map(|(_, header)| header);
    in_path.chain(in_query).chain(in_headers).collect()
}

fn request_body(operation: Operation) -> Option<Value> {
    let json_body = |schema: Value| json!({ "content": { "application/json": { "schema": schema } } });
    let bodies = [
        (Operation::PutTask, definition_body()),
        (Operation::StartRun, json_body(read_schema::<StartBody>())),
        (Operation::CancelRun, json_body(read_schema::<ReasonBody>())),
        (Operation::KillAction, json_body(read_schema::<ReasonBody>())),
        (Operation::PauseRun, json_body(read_schema::<ReasonBody>())),
        (Operation::ResumeRun, json_body(read_schema::<ReasonBody>())),
        (Operation::RetryRun, json_body(read_schema::<ReasonBody>())),
        (Operation::PruneRuns, json_body(read_schema::<PruneBody>())),
        (Operation::DrainAgent, json_body(read_schema::<DrainBody>())),
    ];
    bodies.into_iter().find(|(of, _)| *of == operation).map(|(_, body)| body)
}

fn definition_body() -> Value {
    let definition = json!({
        "type": "object",
        "description": "A task, as schemas/task.v1.schema.json describes it.",
        "required": ["task", "actions"],
    });
    let content = json!({
        "application/yaml": { "schema": definition },
        "application/json": { "schema": definition },
    });
    json!({ "required": true, "content": content })
}

fn answer_schema(operation: Operation, generator: &mut SchemaGenerator) -> Option<Value> {
    Some(match operation {
        Operation::Health => schema::<Health>(generator),
        Operation::Document => json!({ "type": "object" }),
        Operation::PutTask => schema::<PutAnswer>(generator),
        Operation::ListTasks => schema::<TaskList>(generator),
        Operation::GetTask => schema::<TaskView>(generator),
        Operation::DeleteTask | Operation::DeleteRun => return None,
        Operation::PruneRuns => schema::<PruneAnswer>(generator),
        Operation::ListVersions => schema::<VersionList>(generator),
        Operation::GetVersion => schema::<VersionView>(generator),
        Operation::StartRun
        | Operation::GetRun
        | Operation::CancelRun
        | Operation::KillAction
        | Operation::PauseRun
        | Operation::ResumeRun
        | Operation::RetryRun => schema::<RunView>(generator),
        Operation::ListActions => schema::<ActionList>(generator),
        Operation::GetAction => schema::<ActionView>(generator),
        Operation::ListRuns => schema::<RunList>(generator),
        Operation::ListEvents => schema::<EventList>(generator),
        Operation::ListAgents => schema::<AgentList>(generator),
        Operation::DrainAgent => schema::<AgentView>(generator),
    })
}

const ACCEPTED: &[(u16, &str)] = &[(202, "Accepted; the run as it stood then.")];

fn text(operation: Operation) -> Text {
    let (id, summary, answers): (_, _, &[(u16, &str)]) = match operation {
        Operation::Health => ("health", "Whether the service answers; wants no token.", &[(200, "It does.")]),
        Operation::Document => ("document", "This document.", &[(200, "The document.")]),
        Operation::PutTask => (
            "putTask",
            "Put a definition: the same content is the same version.",
            &[(200, "It equals the newest version."), (201, "It is a version of its own now.")],
        ),
        Operation::ListTasks => ("listTasks", "Tasks by name, with their next due times.", &[(200, "A page.")]),
        Operation::GetTask => ("getTask", "A task and its newest definition.", &[(200, "The task.")]),
        Operation::DeleteTask => (
            "deleteTask",
            "Delete a task: it starts no runs; its open runs go on.",
            &[(204, "It is deleted, or was already.")],
        ),
        Operation::ListVersions => ("listVersions", "A task's versions, the newest first.", &[(200, "A page.")]),
        Operation::GetVersion => ("getVersion", "One version of a task.", &[(200, "The version.")]),
        Operation::StartRun => (
            "startRun",
            "Start a run. It is recorded before anything is answered.",
            &[(200, "The run has ended."), (202, "The run is recorded and has not ended.")],
        ),
        Operation::ListRuns => ("listRuns", "Runs, the newest first.", &[(200, "A page.")]),
        Operation::GetRun => {
            ("getRun", "A run and its actions; `left_out` says what is not shown.", &[(200, "The run.")])
        }
        Operation::ListActions => {
            ("listActions", "A run's actions, in the order of its definition.", &[(200, "A page.")])
        }
        Operation::GetAction => ("getAction", "One action of a run, with its whole output.", &[(200, "The action.")]),
        Operation::CancelRun => ("cancelRun", "End a run early.", ACCEPTED),
        Operation::KillAction => ("killAction", "End one action of a run early; the rest goes on.", ACCEPTED),
        Operation::PauseRun => ("pauseRun", "Queue nothing further.", ACCEPTED),
        Operation::ResumeRun => ("resumeRun", "Let a paused run go on.", ACCEPTED),
        Operation::RetryRun => ("retryRun", "Start the unsuccessful actions of an ended run over.", ACCEPTED),
        Operation::DeleteRun => {
            ("deleteRun", "Delete a run that has ended, with its events and its values.", &[(204, "It is gone.")])
        }
        Operation::PruneRuns => (
            "pruneRuns",
            "Delete the runs of one page that ended long enough ago. Calls follow `next` until it is `null`.",
            &[(200, "The runs of this page that are gone.")],
        ),
        Operation::ListEvents => (
            "listEvents",
            "A run's events: a page, or with `Accept: text/event-stream` a stream that can be resumed.",
            &[(200, "The events."), (204, "A stream that is resumed after the last event of a run that has ended.")],
        ),
        Operation::DrainAgent => (
            "drainAgent",
            "Have an agent take nothing further, finish what it performs, and end.",
            &[(202, "Accepted; the agent as it is registered.")],
        ),
        Operation::ListAgents => ("listAgents", "The agents that are registered.", &[(200, "The agents.")]),
    };
    Text { id, summary, answers }
}
