//! Requests of people to a run: cancel, kill, pause, resume, retry; and to an agent: drain.
//!
//! The same rules decide here whether it is allowed as later in the process manager. Only the process manager writes
//! the record. Between the two the run may move on, and then the request changes nothing.

use std::sync::Arc;

use windlass_contract::message::{ControlMessage, InboxMessage, MESSAGE_VERSION, encode};
use windlass_domain::caller::Caller;
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionName, AgentId, RunId, TaskName, TaskVersion};
use windlass_domain::limits::MAX_REASON_BYTES;
use windlass_domain::run::{ActionStatus, CancelCause, Input, Run, RunStatus, decide};
use windlass_domain::time::Millis;

use crate::Ports;
use crate::aside;
use crate::definitions::Definitions;
use crate::ports::{AgentRecord, Outgoing, PortError, QueueName};
use crate::subject::Subject;

/// Passes requests on to runs.
#[derive(Clone)]
pub struct Control {
    ports: Ports,
    definitions: Arc<Definitions>,
}

/// A caller's request to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlRequest {
    /// End early.
    Cancel {
        /// Why, in words.
        reason: String,
    },
    /// End one action early, and let the rest go on.
    Kill {
        /// Which.
        action: ActionName,
        /// Why, in words.
        reason: String,
    },
    /// Queue nothing further.
    Pause {
        /// Why, in words.
        reason: String,
    },
    /// Go on.
    Resume {
        /// Why, in words.
        reason: String,
    },
    /// Start the unsuccessful actions of an ended run over.
    Retry {
        /// Why, in words.
        reason: String,
    },
}

/// A request that was passed on.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The run as it stood when the request was accepted.
    pub run: Run,
    /// The definition that it is pinned to.
    pub definition: Arc<Definition>,
}

/// Why an agent gets no order to drain.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// There is no such agent.
    #[error("there is no agent {0}")]
    UnknownAgent(AgentId),
    /// The host failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// How long a draining agent may go on with its attempts, if the caller names no time.
pub const DRAIN_WITHIN: Millis = Millis::from_secs(5 * 60);

/// Why a request is not passed on.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such run.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// The run is not in a status in which this can be done.
    #[error("a run that is {} can not {request}", .status.as_str())]
    Refused {
        /// The request in words: `be paused`.
        request: &'static str,
        /// Where the run stands.
        status: RunStatus,
    },
    /// The run has no such action.
    #[error("the task `{task}` has no action `{action}` in version {version}")]
    UnknownAction {
        /// The run's task.
        task: TaskName,
        /// The version that it is pinned to.
        version: TaskVersion,
        /// The name that the caller gave.
        action: ActionName,
    },
    /// The action has ended.
    #[error("the action `{action}` has ended: it is {}", .status.as_str())]
    Settled {
        /// Which.
        action: ActionName,
        /// How it ended.
        status: ActionStatus,
    },
    /// The reason is too long.
    #[error("a reason has at most {MAX_REASON_BYTES} bytes; this one has {0}")]
    Reason(usize),
    /// The host failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Control {
    /// Control of that host's runs.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        Self { ports, definitions }
    }

    /// Passes the request of that caller on, if the run allows it.
    pub async fn request(&self, id: RunId, request: ControlRequest, caller: Caller) -> Result<Accepted, ControlError> {
        let passive = request.in_passive();
        let caller = request.caller(caller)?;
        let run = self.ports.runs.load(&id).await?.ok_or(ControlError::UnknownRun(id))?;
        let definition = self.definitions.get(&run.task, run.version).await?;
        if request.is_done(run.status) {
            return Err(ControlError::Refused { request: passive, status: run.status });
        }
        let input = request.into_input(&definition, &run)?;
        let (run, now) = run.timed(self.ports.clock.as_ref());
        if aside::decide(&definition, || decide(&definition, &run, &input, &caller, now)).answer.is_err() {
            return Err(refused(passive, &input, &definition, &run));
        }
        let message = InboxMessage::Run { v: MESSAGE_VERSION, run: id, input, caller };
        self.ports.queues.send(&QueueName::Inbox, vec![Outgoing::now(encode(&message))]).await?;
        Ok(Accepted { run, definition })
    }
}

/// Why the run's status does not allow the request.
fn refused(request: &'static str, input: &Input, definition: &Definition, run: &Run) -> ControlError {
    if let Input::Kill { action, .. } = input
        && !run.status.is_final()
        && run.action(*action).status.is_settled()
    {
        let action_status = run.action(*action).status;
        return ControlError::Settled { action: definition.action(*action).name.clone(), status: action_status };
    }
    ControlError::Refused { request, status: run.status }
}

impl Control {
    /// Tells an agent to drain: to take nothing further, finish its attempts within that time, hand back the rest, and
    /// end. Gives the agent as it is registered. A second order changes nothing: the time of the first counts.
    pub async fn drain(&self, id: &AgentId, within: Millis) -> Result<AgentRecord, DrainError> {
        let agents = self.ports.agents.list().await?;
        let agent = agents.into_iter().find(|agent| agent.id == *id);
        let agent = agent.ok_or_else(|| DrainError::UnknownAgent(id.clone()))?;
        let message = ControlMessage::Drain { v: MESSAGE_VERSION, deadline_ms: within, agent: id.clone() };
        let queue = QueueName::Control { pool: agent.pool.clone(), agent: id.clone() };
        self.ports.queues.send(&queue, vec![Outgoing::now(encode(&message))]).await?;
        Ok(agent)
    }
}

impl ControlRequest {
    /// The request's name: `pause`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cancel { .. } => "cancel",
            Self::Kill { .. } => "kill",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Retry { .. } => "retry",
        }
    }

    fn in_passive(&self) -> &'static str {
        match self {
            Self::Cancel { .. } => "be cancelled",
            Self::Kill { .. } => "have an action killed",
            Self::Pause { .. } => "be paused",
            Self::Resume { .. } => "be resumed",
            Self::Retry { .. } => "be retried",
        }
    }

    /// Whether a run in that status is already paused, or already goes on, as the caller asks. The engine refuses such
    /// a request. The same person may just have sent the opposite request, and this one would not undo it.
    const fn is_done(&self, status: RunStatus) -> bool {
        match self {
            Self::Pause { .. } => matches!(status, RunStatus::Paused),
            Self::Resume { .. } => matches!(status, RunStatus::Running),
            Self::Cancel { .. } | Self::Kill { .. } | Self::Retry { .. } => false,
        }
    }

    /// The caller, with its reason where the run keeps none of its own.
    fn caller(&self, caller: Caller) -> Result<Caller, ControlError> {
        let (Self::Cancel { reason }
        | Self::Kill { reason, .. }
        | Self::Pause { reason }
        | Self::Resume { reason }
        | Self::Retry { reason }) = self;
        if reason.len() > MAX_REASON_BYTES {
            return Err(ControlError::Reason(reason.len()));
        }
        let keeps_reason = matches!(self, Self::Cancel { .. } | Self::Kill { .. });
        Ok(if keeps_reason { caller } else { caller.because(reason) })
    }

    /// The input for the run as it stands.
    fn into_input(self, definition: &Definition, run: &Run) -> Result<Input, ControlError> {
        let retries = run.retries;
        Ok(match self {
            Self::Cancel { reason } => Input::Cancel { reason, cause: CancelCause::Request, retries },
            Self::Kill { action: name, reason } => {
                let (task, version) = (run.task.clone(), run.version);
                let found = definition.index_of(&name);
                let action = found.ok_or(ControlError::UnknownAction { task, version, action: name })?;
                Input::Kill { action, reason, retries }
            }
            Self::Pause { .. } => Input::Pause { pauses: run.pauses, retries },
            Self::Resume { .. } => Input::Resume { pauses: run.pauses },
            Self::Retry { .. } => Input::Retry { retries },
        })
    }
}
