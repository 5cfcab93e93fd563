//! The bodies of the API's answers, beside the run itself. Times are RFC 3339; a value that does not exist yet is
//! `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_contract::event::PublicEvent;
use windlass_contract::view::{ActionView, RunSummary};
use windlass_domain::definition::Definition;
use windlass_domain::ids::{AgentId, PoolName, RunId, TaskName, TaskVersion};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{AgentRecord, LoggedEvent, PortError, StoredVersion, TaskRecord, VersionRecord};
use windlass_engine::registry::RegisteredTask;

/// That the service answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// The program's version.
    pub version: String,
}

/// The result of putting a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PutAnswer {
    /// The task's name.
    pub task: TaskName,
    /// Its newest version.
    pub version: TaskVersion,
    /// Whether this call made it; the same content again makes none.
    pub created: bool,
    /// The next due times of its schedule; empty without one.
    pub next_due: Vec<String>,
}

/// A task and its newest version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskView {
    /// The task's name.
    pub task: TaskName,
    /// Its newest version.
    pub version: TaskVersion,
    /// The task's purpose, in its author's words.
    pub description: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its schedule, as its author wrote it.
    pub schedule: Option<Value>,
    /// The next due times of its schedule.
    pub next_due: Vec<String>,
    /// When its newest version was made.
    #[schemars(extend("format" = "date-time"))]
    pub updated_at: String,
    /// The definition; absent in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Value>,
    /// Why its newest version cannot be read; absent: it can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The runs that a page of pruning has deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PruneAnswer {
    /// Their ids.
    pub deleted: Vec<RunId>,
    /// Where the next page begins; `null`: this was the last.
    pub next: Option<String>,
}

/// A page of tasks, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskList {
    /// The tasks.
    pub tasks: Vec<TaskView>,
    /// Where the next page begins; `null`: this is the last.
    pub next: Option<String>,
}

/// A version of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VersionView {
    /// The task's name.
    pub task: TaskName,
    /// The version's number.
    pub version: TaskVersion,
    /// When it was made.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// The definition, as its author wrote it.
    pub definition: Value,
}

/// A version in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VersionSummary {
    /// The version's number.
    pub version: TaskVersion,
    /// When it was made.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
}

/// A page of a task's versions, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VersionList {
    /// The versions.
    pub versions: Vec<VersionSummary>,
    /// Where the next page begins; `null`: this is the last.
    pub next: Option<String>,
}

/// A page of runs, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Where the next page begins; `null`: this is the last.
    pub next: Option<String>,
}

/// A page of a run's actions, in the order of its definition. Outputs of more than 1 KiB are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ActionList {
    /// The actions, each with its name.
    pub actions: Vec<ActionView>,
    /// Where the next page begins; `null`: this is the last.
    pub next: Option<String>,
}

/// An event, and beside its own fields its place in the run's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EventView {
    /// The place after it: give it as `after` to go on.
    pub cursor: String,
    /// The event. Its fields stand beside the cursor, so a program that reads events elsewhere can read this one too.
    #[serde(flatten)]
    pub event: PublicEvent,
}

/// Events of a run, the oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EventList {
    /// The events.
    pub events: Vec<EventView>,
    /// Give it as `after` to go on; `null`: the run has ended and these were its last events.
    pub next: Option<String>,
}

/// An agent, by its own entry in the register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentView {
    /// Who it is.
    pub id: AgentId,
    /// The pool it consumes.
    pub pool: PoolName,
    /// How many attempts it performs at once.
    pub slots: u32,
    /// How many it performs.
    pub busy: u32,
    /// The version of its program.
    pub version: String,
    /// Its machine and process: `host/pid`.
    pub address: String,
    /// It takes nothing further, and ends when its attempts have ended.
    pub draining: bool,
    /// It has not renewed its entry for so long that it was killed, or is cut off.
    pub silent: bool,
    /// When it came up.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: String,
    /// When it last said so.
    #[schemars(extend("format" = "date-time"))]
    pub seen_at: String,
}

/// Every agent that is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentList {
    /// The agents.
    pub agents: Vec<AgentView>,
}

impl TaskView {
    /// The task as it stands in a list.
    pub(crate) fn of(task: &RegisteredTask, next_due: &[Timestamp]) -> Self {
        let definition: &Definition = &task.definition;
        Self {
            task: task.record.name.clone(),
            version: task.record.version,
            description: definition.description.clone(),
            labels: definition.labels.clone(),
            schedule: definition.source.get("schedule").cloned(),
            next_due: shown(next_due),
            updated_at: task.record.updated_at.to_string(),
            definition: None,
            problem: None,
        }
    }

    /// A task whose newest version cannot be read.
    pub(crate) fn unreadable(record: &TaskRecord, error: &PortError) -> Self {
        tracing::error!(task = %record.name, error.code = error.code, error = %error, "failed to read a task");
        Self {
            task: record.name.clone(),
            version: record.version,
            description: None,
            labels: BTreeMap::new(),
            schedule: None,
            next_due: Vec::new(),
            updated_at: record.updated_at.to_string(),
            definition: None,
            problem: Some(format!("failed to {error} [{}]", error.code)),
        }
    }

    /// With its definition.
    pub(crate) fn whole(mut self, definition: &Definition) -> Self {
        self.definition = Some(definition.source.clone());
        self
    }
}

impl VersionView {
    pub(crate) fn of(task: TaskName, stored: StoredVersion) -> Self {
        Self { task, version: stored.version, created_at: stored.created_at.to_string(), definition: stored.source }
    }
}

impl VersionSummary {
    pub(crate) fn of(listed: VersionRecord) -> Self {
        Self { version: listed.version, created_at: listed.created_at.to_string() }
    }
}

impl EventView {
    pub(crate) fn of(logged: LoggedEvent) -> Self {
        Self { cursor: logged.cursor.0.to_string(), event: logged.event }
    }
}

impl AgentView {
    pub(crate) fn of(record: AgentRecord, silent: bool) -> Self {
        Self {
            silent,
            id: record.id,
            pool: record.pool,
            slots: record.slots,
            busy: record.busy,
            version: record.version,
            address: record.address,
            draining: record.draining,
            started_at: record.started_at.to_string(),
            seen_at: record.seen_at.to_string(),
        }
    }
}

/// Instants in RFC 3339.
pub(crate) fn shown(times: &[Timestamp]) -> Vec<String> {
    times.iter().map(Timestamp::to_string).collect()
}
