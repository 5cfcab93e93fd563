//! Public events: what subsystems subscribe to and the event log keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use windlass_domain::attempt::Owner;
use windlass_domain::caller::Caller;
use windlass_domain::definition::{Definition, PublishedEvents};
use windlass_domain::ids::{ActionName, AgentId, RunId, TaskName, TaskVersion};
use windlass_domain::run::{Fact, FactKind, Run};
use windlass_domain::time::Timestamp;

/// The version of every event that is published.
pub const EVENT_VERSION: u32 = 1;

/// The events that go to a bus only if their task asks for them: each costs money and says that all is well.
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
    /// The time of the decision, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// The run.
    pub run: RunId,
    /// The run's task.
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
    /// Its details, by type.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl PublicEvent {
    /// Whether it goes to the bus. The ends of runs and all failures always do; the rest does if the task asks for it.
    pub fn is_published(&self, definition: &Definition) -> bool {
        match definition.events {
            PublishedEvents::All => true,
            PublishedEvents::Ends => !ON_REQUEST.contains(&self.kind.as_str()),
        }
    }

    /// The public form of a fact; `None` if it is not published.
    pub fn of(definition: &Definition, run: &Run, fact: &Fact) -> Option<Self> {
        let data = data_of(run, &fact.kind)?;
        let about = fact.kind.about();
        Some(Self {
            v: EVENT_VERSION,
            id: fact.kind.id(run.id, run.retries, fact.at),
            kind: fact.kind.name().to_owned(),
            time: fact.at.to_string(),
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

fn data_of(run: &Run, kind: &FactKind) -> Option<Value> {
    Some(match kind {
        FactKind::ActionReady { .. }
        | FactKind::ActionCheckpointed { .. }
        | FactKind::ActionLost { .. }
        | FactKind::ActionNotLost { .. }
        | FactKind::ActionLeased { .. }
        | FactKind::ActionLapsed { .. }
        | FactKind::ActionHandedBack { .. } => {
            return None;
        }
        FactKind::RunStarted { deadline } => asked_for(deadline_of(deadline.as_ref()), &run.caller),
        FactKind::RunRetried { deadline, caller, .. } => asked_for(deadline_of(deadline.as_ref()), caller),
        FactKind::RunPaused { caller, .. } | FactKind::RunResumed { caller, .. } => asked_for(Value::Null, caller),
        FactKind::ActionQueued { .. } | FactKind::ActionCancelled { agent: None, error: None, .. } => Value::Null,
        FactKind::ActionCancelled { agent: Some(agent), error: None, .. } => json!({ "agent": agent }),
        FactKind::ActionCancelling { reason, caller, .. } => asked_for(json!({ "reason": reason }), caller),
        FactKind::RunCancelling { cause, reason, caller } => {
            asked_for(json!({ "cause": cause, "reason": reason }), caller)
        }
        FactKind::RunFinished { status, output, error } => {
            json!({ "status": status, "output": output, "error": error })
        }
        FactKind::ActionUnserved { pool, since, .. } => json!({ "pool": pool, "since": since.to_string() }),
        FactKind::ActionStarted { owner, .. } => {
            json!({ "agent": owner.agent, "started_at": owner.started_at.to_string() })
        }
        FactKind::ActionProgressed { progress, .. } => json!({ "progress": progress }),
        FactKind::ActionSucceeded { by, output, .. } => json!({ "agent": agent_of(by.as_ref()), "output": output }),
        FactKind::ActionRetrying { by, error, retry_at, .. } => {
            json!({ "agent": agent_of(by.as_ref()), "error": error, "retry_at": retry_at.to_string() })
        }
        FactKind::ActionFailed { by, error, allowed, .. } | FactKind::ActionTimedOut { by, error, allowed, .. } => {
            json!({ "agent": agent_of(by.as_ref()), "error": error, "allowed": allowed })
        }
        FactKind::ActionCancelled { agent, error: Some(error), allowed, .. } => {
            json!({ "agent": agent, "error": error, "allowed": allowed })
        }
        FactKind::ActionSkipped { reason, .. } => json!({ "reason": reason }),
    })
}

fn deadline_of(deadline: Option<&Timestamp>) -> Value {
    deadline.map_or(Value::Null, |deadline| json!({ "deadline": deadline.to_string() }))
}

fn agent_of(by: Option<&Owner>) -> Option<&AgentId> {
    by.map(|owner| &owner.agent)
}

/// The data of an event that follows from a request, with its caller; the host itself is not named.
fn asked_for(data: Value, caller: &Caller) -> Value {
    if *caller == Caller::HOST {
        return data;
    }
    let mut data = if data.is_null() { json!({}) } else { data };
    data["caller"] = json!(caller);
    data
}
