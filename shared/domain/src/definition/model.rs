//! The definition as decisions see it: checked, indexed, every expression compiled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::input::{self, InputFaults, InputSchema};
use crate::expression::{Expression, Template};
use crate::ids::{ActionIndex, ActionName, PoolName, TaskName};
use crate::keep::Keep;
use crate::retry::RetryPolicy;
use crate::time::Millis;
use crate::work::StandardOutput;

/// A checked task definition. Its actions stand in the order in which the author wrote them.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The task's name.
    pub task: TaskName,
    /// The purpose of the task, in the author's words.
    pub description: Option<String>,
    /// Labels for search and permissions.
    pub labels: BTreeMap<String, String>,
    /// When the task is due by itself.
    pub schedule: Option<Schedule>,
    /// How long a run may take from its start.
    pub timeout: Option<Millis>,
    /// How many actions of one run may be queued or running at once.
    pub max_parallel: Option<u32>,
    /// How long its runs are kept after their end.
    pub keep: Keep,
    /// Which events go to the bus.
    pub events: PublishedEvents,
    /// The JSON Schema of the run's input, as written.
    pub input: Option<Value>,
    /// The actions.
    pub actions: Vec<Action>,
    /// The run's output, made when the run has succeeded.
    pub output: Option<Template>,
    /// The definition as its author wrote it, as JSON. Hosts store, show and hash this form.
    pub source: Value,
    /// Whether a decision may take long: an expression calls something, and a call may loop over much.
    pub may_take_long: bool,
    pub(crate) by_name: BTreeMap<ActionName, ActionIndex>,
    pub(crate) input_schema: Option<InputSchema>,
}

/// One vertex of the task's graph.
#[derive(Debug, Clone)]
pub struct Action {
    /// The action's name.
    pub name: ActionName,
    /// The purpose of the action, in the author's words.
    pub description: Option<String>,
    /// The actions that must be settled before this one.
    pub needs: Vec<ActionIndex>,
    /// The actions that need this one: `needs`, turned around.
    pub dependents: Vec<ActionIndex>,
    /// What must be true of `needs` for this action to start.
    pub trigger: Trigger,
    /// A condition, evaluated when the trigger holds; false skips the action.
    pub when: Option<Expression>,
    /// How the action is performed.
    pub facade: Facade,
    /// The pool whose agents perform it.
    pub pool: PoolName,
    /// How long one attempt may take.
    pub timeout: Option<Millis>,
    /// How long an attempt may wait in its pool.
    pub queue_timeout: Option<Millis>,
    /// What happens after a failed attempt.
    pub retry: RetryPolicy,
    /// A failure of this action does not fail the run, and counts as a success for those that need it.
    pub allow_failure: bool,
}

/// What must be true of an action's `needs` for it to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Every one succeeded (or failed where failure is allowed).
    #[default]
    AllSucceeded,
    /// Every one is settled, however it ended.
    AllDone,
    /// At least one succeeded; the action does not wait for the others.
    AnySucceeded,
    /// At least one failed or timed out; the action does not wait for the others.
    AnyFailed,
    /// Every one is settled and none failed or timed out; skipped ones do not matter.
    NoneFailed,
}

/// How an action is performed, with its expressions.
#[derive(Debug, Clone)]
pub enum Facade {
    /// Run a program.
    Exec(ExecFacade),
    /// Call an HTTP endpoint.
    Http(HttpFacade),
    /// Call a Rust handler of the agent.
    Native(NativeFacade),
}

/// A program, its arguments and its input.
#[derive(Debug, Clone)]
pub struct ExecFacade {
    /// The program and its arguments: each renders to one argument.
    pub command: Vec<Template>,
    /// Rendered to JSON and written to standard input.
    pub stdin: Option<Template>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, Template>,
    /// The folder the program runs in: its own, or the task's.
    pub workdir: Option<Template>,
    /// What its standard output is, if its author says so.
    pub output: Option<StandardOutput>,
}

/// A request and its parts.
#[derive(Debug, Clone)]
pub struct HttpFacade {
    /// The method, in capitals.
    pub method: String,
    /// Renders to an absolute URL.
    pub url: Template,
    /// Headers of the request.
    pub headers: BTreeMap<String, Template>,
    /// The body: text is sent as it stands, anything else as JSON.
    pub body: Option<Template>,
}

/// A handler and its input.
#[derive(Debug, Clone)]
pub struct NativeFacade {
    /// The name under which the agent registered it.
    pub handler: String,
    /// The input of the handler, with its expressions not evaluated yet; none: the handler gets null.
    pub input: Option<Template>,
}

/// When a task is due by itself.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The rule of its due times.
    pub rule: ScheduleRule,
    /// The IANA time zone that the rule is read in; `UTC` if the author named none.
    pub timezone: String,
    /// What happens when a run is due while the one before it is open.
    pub overlap: Overlap,
    /// Which missed due times are still fired.
    pub catch_up: CatchUp,
}

/// The rule of a schedule's due times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleRule {
    /// Five fields: minute, hour, day of month, month, day of week.
    Cron(String),
    /// Every so many milliseconds, counted from the epoch.
    Every(Millis),
}

/// Which events of a task's runs go to the bus; an event is paid for, and most have no reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedEvents {
    /// The ends of runs, the requests of people, and every failure.
    #[default]
    Ends,
    /// Everything.
    All,
}

/// What happens when a scheduled run is due while an earlier scheduled run of the task is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The due time is passed over, and an event says so.
    #[default]
    Skip,
    /// It waits for its turn, in order.
    Queue,
    /// Both run.
    Allow,
    /// The open run is cancelled; the due one starts when that has ended.
    CancelPrevious,
}

/// The window in which a missed due time is still fired: milliseconds after its nominal time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CatchUp(pub Millis);

impl Default for CatchUp {
    /// One minute: enough for a restart, too little to surprise.
    fn default() -> Self {
        Self(Millis::from_secs(60))
    }
}

impl Definition {
    /// The action of that index.
    ///
    /// # Panics
    /// If the index is not of this definition: a record that belongs to another version.
    pub fn action(&self, index: ActionIndex) -> &Action {
        &self.actions[index.as_usize()]
    }

    /// The index of the action of that name.
    pub fn index_of(&self, name: &ActionName) -> Option<ActionIndex> {
        self.by_name.get(name).copied()
    }

    /// Every index, in the author's order.
    pub fn indexes(&self) -> impl DoubleEndedIterator<Item = ActionIndex> + use<> {
        (0..self.actions.len()).map(ActionIndex::from_usize)
    }
    /// Checks a run's input against the task's schema, and fills in the schema's `default` for each property that the
    /// input leaves out. No input (`null`) means an empty mapping, unless the schema allows `null`.
    pub fn check_input(&self, input: Value) -> Result<Value, InputFaults> {
        input::check(self.input_schema.as_ref(), input)
    }
}
