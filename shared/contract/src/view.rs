//! The run as the API shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_domain::content::Place;
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionIndex, ActionName, AgentId, RunId, TaskName, TaskVersion};
use windlass_domain::run::{ActionStatus, ErrorInfo, Progress, Run, RunStatus};
use windlass_domain::time::Timestamp;

/// A run. Times are RFC 3339; a time that has not come is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// Its task.
    pub task: TaskName,
    /// The version of the task to which it is pinned.
    pub version: TaskVersion,
    /// Where it stands.
    pub status: RunStatus,
    /// What this answer leaves out, because it would be too large; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
    /// Its input, defaults filled in.
    pub input: Value,
    /// Its output, once it has succeeded.
    pub output: Option<Value>,
    /// Why the run as a whole did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
    /// The due time that it stands for, if its schedule asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub nominal_time: Option<String>,
    /// When it was recorded.
    #[schemars(extend("format" = "date-time"))]
    pub submitted_at: String,
    /// When its first actions were queued.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: Option<String>,
    /// When it ended.
    #[schemars(extend("format" = "date-time"))]
    pub finished_at: Option<String>,
    /// When it must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub deadline: Option<String>,
    /// How many of its actions are in each status: only where `actions` are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub action_counts: BTreeMap<ActionStatus, u32>,
    /// Its actions by name.
    pub actions: BTreeMap<ActionName, ActionView>,
}

/// What an answer leaves out of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// Values of more than 1 KiB. The output of one action is read with that action.
    Values,
    /// The actions. They are read in pages.
    Actions,
}

/// An action of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ActionView {
    /// Its name: only where it is not shown with its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ActionName>,
    /// Where it stands.
    pub status: ActionStatus,
    /// How many attempts there were.
    pub attempts: u32,
    /// The agent that last reported.
    pub agent: Option<AgentId>,
    /// When that agent last wrote to its register: only while the action is running and the agent is silent. Another agent
    /// goes on when the message comes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub agent_silent_since: Option<String>,
    /// When the newest attempt was queued.
    #[schemars(extend("format" = "date-time"))]
    pub queued_at: Option<String>,
    /// Since when it waits in a pool that no living agent serves: only while queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub unserved_since: Option<String>,
    /// When a caller asked to kill it: only while it is queued or running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub cancelling_since: Option<String>,
    /// When the newest attempt began, by its agent's clock.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: Option<String>,
    /// When the action was settled.
    #[schemars(extend("format" = "date-time"))]
    pub finished_at: Option<String>,
    /// When the next attempt is due: only while retry-waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub retry_at: Option<String>,
    /// The last progress that was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Its output, once it has succeeded.
    pub output: Option<Value>,
    /// How many bytes its output has as JSON: only where the output is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Why its last attempt failed.
    pub error: Option<ErrorInfo>,
}

/// A run in a list: without its actions, input and output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Its task.
    pub task: TaskName,
    /// The version of the task to which it is pinned.
    pub version: TaskVersion,
    /// Where it stands.
    pub status: RunStatus,
    /// When it was recorded.
    #[schemars(extend("format" = "date-time"))]
    pub submitted_at: String,
    /// When its first actions were queued.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: Option<String>,
    /// When it ended.
    #[schemars(extend("format" = "date-time"))]
    pub finished_at: Option<String>,
}

impl RunView {
    /// The run as it is shown.
    pub fn of(definition: &Definition, run: &Run) -> Self {
        let names = definition.actions.iter().map(|action| action.name.clone());
        let actions = names.zip(definition.indexes().map(|action| ActionView::of(run, action)));
        let mut places = definition.indexes().map(Place::Output).chain([Place::Input]);
        let left_out = places.any(|place| run.lacks(place)).then_some(LeftOut::Values);
        Self { left_out, action_counts: BTreeMap::new(), actions: actions.collect(), ..Self::without_actions(run) }
    }

    /// The run as it is shown where it has too many actions, or too large ones.
    pub fn without_actions(run: &Run) -> Self {
        let mut action_counts = BTreeMap::new();
        run.actions.iter().for_each(|state| *action_counts.entry(state.status).or_default() += 1);
        Self {
            left_out: Some(LeftOut::Actions),
            action_counts,
            actions: BTreeMap::new(),
            id: run.id,
            task: run.task.clone(),
            version: run.version,
            status: run.status,
            input: run.value(Place::Input).cloned().unwrap_or_default(),
            output: run.output.clone(),
            error: run.error.clone(),
            nominal_time: match &run.origin {
                windlass_domain::run::Origin::Request => None,
                windlass_domain::run::Origin::Schedule { nominal } => Some(nominal.to_string()),
            },
            submitted_at: run.submitted_at.to_string(),
            started_at: shown(run.started_at),
            finished_at: shown(run.finished_at),
            deadline: shown(run.deadline),
        }
    }
}

impl RunView {
    /// Marks the running actions of agents that are silent since then.
    pub fn mark_silent(&mut self, silent: &BTreeMap<AgentId, Timestamp>) {
        self.actions.values_mut().for_each(|action| action.mark_silent(silent));
    }
}

impl ActionView {
    /// The action as it is shown by itself.
    pub fn named(definition: &Definition, run: &Run, action: ActionIndex) -> Self {
        Self { name: Some(definition.action(action).name.clone()), ..Self::of(run, action) }
    }

    /// Marks it if it is running, and its agent is one of those that are silent since then.
    pub fn mark_silent(&mut self, silent: &BTreeMap<AgentId, Timestamp>) {
        if self.status == ActionStatus::Running {
            let since = self.agent.as_ref().and_then(|agent| silent.get(agent));
            self.agent_silent_since = shown(since.copied());
        }
    }

    fn of(run: &Run, action: ActionIndex) -> Self {
        let (state, place) = (run.action(action), Place::Output(action));
        let lacked = run.apart(place).filter(|_| run.lacks(place));
        Self {
            name: None,
            status: state.status,
            attempts: state.attempt(),
            agent: state.agent().cloned(),
            agent_silent_since: None,
            queued_at: shown(state.queued_at),
            unserved_since: shown(state.unserved.map(|unserved| unserved.since)),
            cancelling_since: shown(state.kill.as_ref().filter(|_| state.status.is_in_flight()).map(|kill| kill.at)),
            started_at: shown(state.started_at()),
            finished_at: shown(state.finished_at),
            retry_at: shown(state.retry_at),
            progress: state.progress.clone(),
            output: run.value(place).cloned(),
            output_bytes: lacked.map(|apart| apart.bytes),
            error: state.error.clone(),
        }
    }
}

impl RunSummary {
    /// The run as it stands in a list.
    pub fn of(run: &Run) -> Self {
        Self {
            id: run.id,
            task: run.task.clone(),
            version: run.version,
            status: run.status,
            submitted_at: run.submitted_at.to_string(),
            started_at: shown(run.started_at),
            finished_at: shown(run.finished_at),
        }
    }
}

/// How many bytes a value has as JSON.
///
/// # Panics
/// Never: what is shown has text keys.
pub fn json_bytes<T: Serialize>(value: &T) -> u64 {
    serde_json::to_vec(value).expect("what is shown has text keys").len() as u64
}

fn shown(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
