//! The JSON Schemas (draft 2020-12) of the formats that others read: generated from the types, published in `schemas/`.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};
use windlass_domain::caller::Caller;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::run::{CancelCause, ErrorInfo, Progress, RunStatus, SkipReason};

use crate::event::PublicEvent;
use crate::message::{ControlMessage, InboxMessage, PerformMessage};
use crate::view::{RunSummary, RunView};

/// The names of the schemas begin with this.
const PUBLISHED_AT: &str = "https://windlass.dev/schemas";

/// A schema and the name it is published under.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The format and its version, such as `event.v1`.
    pub name: &'static str,
    /// The schema.
    pub schema: Value,
}

/// Every format's schema, as it is written today.
pub fn all() -> Vec<Published> {
    vec![
        published::<InboxMessage>("inbox-message.v1"),
        published::<PerformMessage>("perform-message.v1"),
        published::<ControlMessage>("control-message.v1"),
        event("event.v1"),
        published::<RunView>("run.v1"),
        published::<RunSummary>("run-summary.v1"),
    ]
}

/// A generator for written formats: a key that is always there is `required`, though it may be `null`.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

fn published<T: JsonSchema>(name: &'static str) -> Published {
    Published { name, schema: with_id(name, generator().into_root_schema_for::<T>().to_value()) }
}

fn with_id(name: &str, mut schema: Value) -> Value {
    schema["$id"] = json!(format!("{PUBLISHED_AT}/{name}.schema.json"));
    schema
}

/// The event's schema, with what `data` holds for each type.
fn event(name: &'static str) -> Published {
    let mut generator = generator();
    let rules: Vec<Value> = data_by_type(&mut generator)
        .into_iter()
        .map(|(kind, data)| {
            json!({
                "if": { "properties": { "type": { "const": kind } } },
                "then": match data {
                    Data::Always(data) => json!({ "properties": { "data": data }, "required": ["data"] }),
                    Data::Maybe(data) => json!({ "properties": { "data": data } }),
                    Data::Never => json!({ "properties": { "data": false } }),
                },
            })
        })
        .collect();
    let mut schema = generator.root_schema_for::<PublicEvent>().to_value();
    schema["allOf"] = Value::Array(rules);
    Published { name, schema: with_id(name, schema) }
}

/// Whether an event of some type has `data`, and the schema of it.
#[derive(Clone)]
enum Data {
    Always(Value),
    Maybe(Value),
    Never,
}

/// Each type of event and its data.
fn data_by_type(generator: &mut SchemaGenerator) -> Vec<(&'static str, Data)> {
    let caller = ("caller", Field::Caller);
    let begun = Data::Maybe(object_of(generator, &[], &[("deadline", Field::Time), caller]));
    let asked = Data::Maybe(object_of(generator, &[], &[caller]));
    let cancelling = object_of(generator, &[("cause", Field::Cause), ("reason", Field::Text)], &[caller]);
    let killing = object_of(generator, &[("reason", Field::Text)], &[caller]);
    let stopped = object(generator, &[("agent", Field::Agent)]);
    // A killed action has an error that says why, as a failed one has.
    let killed = object(generator, &[("agent", Field::MaybeAgent), ("error", Field::Error), ("allowed", Field::Flag)]);
    let mut of = |fields: &[(&str, Field)]| Data::Always(object(generator, fields));
    let failure = of(&[("agent", Field::MaybeAgent), ("error", Field::Error), ("allowed", Field::Flag)]);
    let end = of(&[("status", Field::Status), ("output", Field::Anything), ("error", Field::MaybeError)]);
    vec![
        ("run.started", begun.clone()),
        ("run.retried", begun),
        ("run.paused", asked.clone()),
        ("run.resumed", asked),
        ("run.cancelling", Data::Always(cancelling)),
        ("run.succeeded", end.clone()),
        ("run.succeeded_with_faults", end.clone()),
        ("run.failed", end.clone()),
        ("run.timed_out", end.clone()),
        ("run.cancelled", end),
        ("action.queued", Data::Never),
        ("action.unserved", of(&[("pool", Field::Pool), ("since", Field::Time)])),
        ("action.started", of(&[("agent", Field::Agent), ("started_at", Field::Time)])),
        ("action.progressed", of(&[("progress", Field::Progress)])),
        ("action.succeeded", of(&[("agent", Field::MaybeAgent), ("output", Field::Anything)])),
        ("action.retrying", of(&[("agent", Field::MaybeAgent), ("error", Field::Error), ("retry_at", Field::Time)])),
        ("action.failed", failure.clone()),
        ("action.timed_out", failure),
        ("action.skipped", of(&[("reason", Field::Skip)])),
        ("action.cancelling", Data::Always(killing)),
        ("action.cancelled", Data::Maybe(json!({ "anyOf": [stopped, killed] }))),
    ]
}

/// The type of one field of an event's data.
#[derive(Clone, Copy)]
enum Field {
    Agent,
    MaybeAgent,
    Anything,
    Caller,
    Cause,
    Error,
    MaybeError,
    Flag,
    Pool,
    Progress,
    Skip,
    Status,
    Text,
    Time,
}

impl Field {
    fn schema(self, generator: &mut SchemaGenerator) -> Value {
        match self {
            Self::Agent => generator.subschema_for::<AgentId>().to_value(),
            Self::MaybeAgent => generator.subschema_for::<Option<AgentId>>().to_value(),
            Self::Anything => Value::Bool(true),
            Self::Caller => generator.subschema_for::<Caller>().to_value(),
            Self::Cause => generator.subschema_for::<CancelCause>().to_value(),
            Self::Error => generator.subschema_for::<ErrorInfo>().to_value(),
            Self::MaybeError => generator.subschema_for::<Option<ErrorInfo>>().to_value(),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Pool => generator.subschema_for::<PoolName>().to_value(),
            Self::Progress => generator.subschema_for::<Progress>().to_value(),
            Self::Skip => generator.subschema_for::<SkipReason>().to_value(),
            Self::Status => generator.subschema_for::<RunStatus>().to_value(),
            Self::Text => json!({ "type": "string" }),
            Self::Time => json!({ "type": "string", "format": "date-time" }),
        }
    }
}

/// An object that has all of these fields.
fn object(generator: &mut SchemaGenerator, fields: &[(&str, Field)]) -> Value {
    object_of(generator, fields, &[])
}

/// An object that has the first fields, and may have the others.
fn object_of(generator: &mut SchemaGenerator, always: &[(&str, Field)], maybe: &[(&str, Field)]) -> Value {
    let properties = always.iter().chain(maybe).map(|(name, field)| ((*name).to_owned(), field.schema(generator)));
    let properties: serde_json::Map<String, Value> = properties.collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !always.is_empty() {
        object["required"] = always.iter().map(|(name, _)| *name).collect();
    }
    object
}
