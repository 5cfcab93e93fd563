//! The operations of the API, as data: one table from which the routes and their document are made. `lib.rs` pairs them
//! with their handlers.

/// The operations of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Health,
    Document,
    PutTask,
    ListTasks,
    GetTask,
    DeleteTask,
    ListVersions,
    GetVersion,
    StartRun,
    ListRuns,
    GetRun,
    ListActions,
    GetAction,
    CancelRun,
    KillAction,
    PauseRun,
    ResumeRun,
    RetryRun,
    DeleteRun,
    PruneRuns,
    ListEvents,
    ListAgents,
    DrainAgent,
}

/// A parameter after the path's `?`.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) example: &'static str,
}

const LIMIT: Parameter =
    Parameter { name: "limit", description: "How many entries at most, from 1 to 500.", example: "50" };
const CURSOR: Parameter =
    Parameter { name: "cursor", description: "Where to go on: `next` of the page before.", example: "" };
const WAIT: Parameter = Parameter {
    name: "wait",
    description: "How long to wait for the run's end, at most 60s; behind a gateway, 20s.",
    example: "20s",
};
const TASK: Parameter = Parameter { name: "task", description: "Only runs of this task.", example: "nightly-report" };
const STATUS: Parameter = Parameter { name: "status", description: "Only runs in this status.", example: "failed" };
const ACTION_STATUS: Parameter =
    Parameter { name: "status", description: "Only actions in this status.", example: "failed" };
const AFTER: Parameter = Parameter { name: "after", description: "Only events after this cursor.", example: "7" };

impl Operation {
    /// Every operation.
    pub(crate) const ALL: [Self; 23] = [
        Self::Health,
        Self::Document,
        Self::PutTask,
        Self::ListTasks,
        Self::GetTask,
        Self::DeleteTask,
        Self::ListVersions,
        Self::GetVersion,
        Self::StartRun,
        Self::ListRuns,
        Self::GetRun,
        Self::ListActions,
        Self::GetAction,
        Self::CancelRun,
        Self::KillAction,
        Self::PauseRun,
        Self::ResumeRun,
        Self::RetryRun,
        Self::DeleteRun,
        Self::PruneRuns,
        Self::ListEvents,
        Self::ListAgents,
        Self::DrainAgent,
    ];

    /// The path, its parts that vary in braces.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::Document => "/openapi.json",
            Self::ListTasks => "/v1/tasks",
            Self::PutTask | Self::GetTask | Self::DeleteTask => "/v1/tasks/{name}",
            Self::ListVersions => "/v1/tasks/{name}/versions",
            Self::GetVersion => "/v1/tasks/{name}/versions/{version}",
            Self::StartRun => "/v1/tasks/{name}/runs",
            Self::ListRuns => "/v1/runs",
            Self::GetRun | Self::DeleteRun => "/v1/runs/{id}",
            Self::PruneRuns => "/v1/runs:prune",
            Self::ListActions => "/v1/runs/{id}/actions",
            Self::GetAction => "/v1/runs/{id}/actions/{action}",
            Self::CancelRun => "/v1/runs/{id}/cancel",
            Self::KillAction => "/v1/runs/{id}/actions/{action}/kill",
            Self::PauseRun => "/v1/runs/{id}/pause",
            Self::ResumeRun => "/v1/runs/{id}/resume",
            Self::RetryRun => "/v1/runs/{id}/retry",
            Self::ListEvents => "/v1/runs/{id}/events",
            Self::ListAgents => "/v1/agents",
            Self::DrainAgent => "/v1/agents/{agent}/drain",
        }
    }

    /// The method, as a document names it.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::PutTask => "put",
            Self::DeleteTask | Self::DeleteRun => "delete",
            Self::StartRun
            | Self::CancelRun
            | Self::KillAction
            | Self::PauseRun
            | Self::ResumeRun
            | Self::RetryRun
            | Self::PruneRuns
            | Self::DrainAgent => "post",
            Self::Health
            | Self::Document
            | Self::ListTasks
            | Self::GetTask
            | Self::ListVersions
            | Self::GetVersion
            | Self::ListRuns
            | Self::GetRun
            | Self::ListActions
            | Self::GetAction
            | Self::ListEvents
            | Self::ListAgents => "get",
        }
    }

    /// The parameters that it takes.
    pub(crate) const fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::ListTasks | Self::ListVersions => &[CURSOR, LIMIT],
            Self::StartRun => &[WAIT],
            Self::ListRuns => &[TASK, STATUS, CURSOR, LIMIT],
            Self::ListActions => &[ACTION_STATUS, CURSOR, LIMIT],
            Self::ListEvents => &[AFTER, LIMIT],
            Self::Health
            | Self::Document
            | Self::PutTask
            | Self::GetTask
            | Self::DeleteTask
            | Self::GetVersion
            | Self::GetRun
            | Self::GetAction
            | Self::CancelRun
            | Self::KillAction
            | Self::PauseRun
            | Self::ResumeRun
            | Self::RetryRun
            | Self::DeleteRun
            | Self::PruneRuns
            | Self::ListAgents
            | Self::DrainAgent => &[],
        }
    }
}
