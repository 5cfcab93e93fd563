//! Public events: what subsystems subscribe to and the event log keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use windlass_domain::definition::{Definition, PublishedEvents};
use windlass_domain::ids::{ActionName, RunId, TaskName, TaskVersion};
use windlass_domain::run::{Event, EventKind, Run};

/// The version of every event that is published.
pub const EVENT_VERSION: u32 = 1;

/// The events that a bus gets only of tasks that ask for them: each is paid for, and says that all is well.
pub const ON_REQUEST: [&str; 7] = [
    "run.started",
    "action.queued",
    "action.started",
    "action.progressed",
    "action.succeeded",
    "action.skipped",
    "action.cancelled",
];

/// An event, as it is published: the `detail` on a bus, a line of the event log, a message of the event stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PublicEvent {
    /// The format's version: 1.
    #[schemars(extend("const" = EVENT_VERSION))]
    pub v: u32,
    /// The event's id. The same event published twice has the same id.
    pub id: Uuid,
    /// Its type, such as `action.succeeded`: the `detail-type` on a bus.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was decided, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// The run it is of.
    pub run: RunId,
    /// The task it is of.
    pub task: TaskName,
    /// The task's version.
    pub version: TaskVersion,
    /// The task's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The action it is about; absent for an event of the run as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionName>,
    /// The attempt it is about, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What else there is to say, by type.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl PublicEvent {
    /// Whether it goes to the bus: how runs end and whatever fails always does, the rest if the task asks for it.
    pub fn is_published(&self, definition: &Definition) -> bool {
        match definition.events {
            PublishedEvents::All => true,
            PublishedEvents::Ends => !ON_REQUEST.contains(&self.kind.as_str()),
        }
    }

    /// The public form of an event; `None` if it is not published.
    pub fn of(definition: &Definition, run: &Run, event: &Event) -> Option<Self> {
        let data = data_of(&event.kind)?;
        let about = event.kind.about();
        Some(Self {
            v: EVENT_VERSION,
            id: event.kind.id(run.id, run.retries, event.at),
            kind: event.kind.name().to_owned(),
            time: event.at.to_string(),
            run: run.id,
            task: run.task.clone(),
            version: run.version,
            labels: definition.labels.clone(),
            action: about.map(|of| definition.action(of.action).name.clone()),
            attempt: about.map(|of| of.attempt).filter(|attempt| *attempt > 0),
            data,
        })
    }
}

fn data_of(kind: &EventKind) -> Option<Value> {
    Some(match kind {
        EventKind::ActionReady { .. }
        | EventKind::ActionCheckpointed { .. }
        | EventKind::ActionLost { .. }
        | EventKind::ActionNotLost { .. }
        | EventKind::ActionLeased { .. }
        | EventKind::ActionLapsed { .. }
        | EventKind::ActionHandedBack { .. } => {
            return None;
        }
        EventKind::RunStarted { deadline } | EventKind::RunRetried { deadline, .. } => match deadline {
            Some(deadline) => json!({ "deadline": deadline.to_string() }),
            None => Value::Null,
        },
        EventKind::RunPaused { .. }
        | EventKind::RunResumed { .. }
        | EventKind::ActionQueued { .. }
        | EventKind::ActionCancelled { agent: None, error: None, .. } => Value::Null,
        EventKind::ActionCancelled { agent: Some(agent), error: None, .. } => json!({ "agent": agent }),
        EventKind::ActionCancelling { reason, .. } => json!({ "reason": reason }),
        EventKind::RunCancelling { cause, reason } => json!({ "cause": cause, "reason": reason }),
        EventKind::RunFinished { status, output, error } => {
            json!({ "status": status, "output": output, "error": error })
        }
        EventKind::ActionUnserved { pool, since, .. } => json!({ "pool": pool, "since": since.to_string() }),
        EventKind::ActionStarted { agent, started_at, .. } => {
            json!({ "agent": agent, "started_at": started_at.to_string() })
        }
        EventKind::ActionProgressed { progress, .. } => json!({ "progress": progress }),
        EventKind::ActionSucceeded { agent, output, .. } => json!({ "agent": agent, "output": output }),
        EventKind::ActionRetrying { agent, error, retry_at, .. } => {
            json!({ "agent": agent, "error": error, "retry_at": retry_at.to_string() })
        }
        EventKind::ActionFailed { agent, error, allowed, .. }
        | EventKind::ActionTimedOut { agent, error, allowed, .. }
        | EventKind::ActionCancelled { agent, error: Some(error), allowed, .. } => {
            json!({ "agent": agent, "error": error, "allowed": allowed })
        }
        EventKind::ActionSkipped { reason, .. } => json!({ "reason": reason }),
    })
}
