//! The events of a run: each says what has been decided, and alone changes the record.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::record::{ErrorInfo, RunStatus};
use super::{ActionAt, Progress};
use crate::ids::{ActionIndex, AgentId, PoolName, RunId, derive};
use crate::time::Timestamp;

/// Something that was decided about a run, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it was decided.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// The run has begun.
    RunStarted {
        /// When it must have ended.
        deadline: Option<Timestamp>,
    },
    /// Nothing further is queued until it is resumed.
    RunPaused {
        /// Which of the run's pauses begins, from 1.
        number: u32,
    },
    /// The run goes on.
    RunResumed {
        /// Which of its pauses ends.
        number: u32,
    },
    /// The run ends early; what is queued or running is still answered.
    RunCancelling {
        /// By what.
        cause: CancelCause,
        /// Why, in words.
        reason: String,
    },
    /// A run that had ended is taken up again; its unsuccessful actions start over.
    RunRetried {
        /// When it must have ended, this time.
        deadline: Option<Timestamp>,
        /// The actions that start over.
        actions: Vec<ActionIndex>,
    },
    /// The run has ended.
    RunFinished {
        /// How.
        status: RunStatus,
        /// Its output.
        output: Option<Value>,
        /// Why it did not succeed.
        error: Option<ErrorInfo>,
    },
    /// An action's trigger holds, and it waits for room. Not published.
    ActionReady {
        /// Which.
        action: ActionIndex,
    },
    /// An attempt goes to its pool.
    ActionQueued {
        /// Which, and the attempt's number and first fence.
        of: ActionAt,
    },
    /// A queued attempt waits in a pool that no living agent serves. It goes on waiting.
    ActionUnserved {
        /// Which.
        of: ActionAt,
        /// Where it waits.
        pool: PoolName,
        /// Since when it waits there without an agent.
        since: Timestamp,
    },
    /// An agent performs the attempt.
    ActionStarted {
        /// Which.
        of: ActionAt,
        /// Who.
        agent: AgentId,
        /// When it began, by the agent's clock.
        started_at: Timestamp,
        /// The message by which it was claimed; of the first one, received 0 times, if it was not claimed.
        by: ClaimedBy,
    },
    /// The attempt's agent keeps it without a message until then. Not published.
    ActionLeased {
        /// Which.
        of: ActionAt,
        /// Until when nobody else may have it, clocks that differ included.
        until: Timestamp,
    },
    /// The attempt's lease has run out: it waits in its pool again. Not published.
    ActionLapsed {
        /// Which, with the fence that its agent had.
        of: ActionAt,
    },
    /// Whoever had the attempt under this fence is not there any more and never said why. Not published.
    ActionLost {
        /// Which.
        of: ActionAt,
    },
    /// Whoever had the action under this fence was not lost because of it after all. Not published.
    ActionNotLost {
        /// Which.
        of: ActionAt,
    },
    /// The attempt has come further.
    ActionProgressed {
        /// Which.
        of: ActionAt,
        /// The number of the report; 0: it has none.
        number: u32,
        /// How far.
        progress: Progress,
    },
    /// The attempt has said where its work can be taken up. Not published.
    ActionCheckpointed {
        /// Which.
        of: ActionAt,
        /// The number of the report; 0: it has none.
        number: u32,
        /// From where.
        checkpoint: Value,
    },
    /// The attempt's agent has stopped it and gives it back: the next fence is nobody's. Not published.
    ActionHandedBack {
        /// Which, with the fence that its agent had.
        of: ActionAt,
    },
    /// The action ended well.
    ActionSucceeded {
        /// Which.
        of: ActionAt,
        /// Who performed it.
        agent: Option<AgentId>,
        /// When it began.
        started_at: Option<Timestamp>,
        /// What it gave.
        output: Value,
    },
    /// An attempt failed and the next is due later.
    ActionRetrying {
        /// The attempt that failed.
        of: ActionAt,
        /// Who performed it.
        agent: Option<AgentId>,
        /// When it began.
        started_at: Option<Timestamp>,
        /// Why.
        error: ErrorInfo,
        /// When the next attempt is due.
        retry_at: Timestamp,
    },
    /// The last attempt failed.
    ActionFailed {
        /// Which.
        of: ActionAt,
        /// Who performed it.
        agent: Option<AgentId>,
        /// When it began.
        started_at: Option<Timestamp>,
        /// Why.
        error: ErrorInfo,
        /// Whether the run may succeed all the same.
        allowed: bool,
    },
    /// The last attempt took, or waited, too long.
    ActionTimedOut {
        /// Which.
        of: ActionAt,
        /// Who performed it.
        agent: Option<AgentId>,
        /// When it began.
        started_at: Option<Timestamp>,
        /// Why.
        error: ErrorInfo,
        /// Whether the run may succeed all the same.
        allowed: bool,
    },
    /// The action will not be performed.
    ActionSkipped {
        /// Which.
        action: ActionIndex,
        /// Why.
        reason: SkipReason,
    },
    /// Somebody wants this action to end early; what is queued or running is still answered.
    ActionCancelling {
        /// Which; attempt 0 if it has none.
        of: ActionAt,
        /// Why, in words.
        reason: String,
    },
    /// The run was cancelled, or the action alone was killed, before it ended by itself.
    ActionCancelled {
        /// Which; attempt 0 if it had none.
        of: ActionAt,
        /// Who says that it does not run: the agent that ended it, or that got it and did not begin. Absent: nobody had
        /// to, or nobody did in time.
        agent: Option<AgentId>,
        /// Why the action alone was killed; absent: its run was cancelled.
        error: Option<ErrorInfo>,
        /// Whether the run may succeed all the same.
        allowed: bool,
    },
}

/// One delivery of an attempt's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ClaimedBy {
    /// Which copy of the message; 0: the first one.
    pub copy: u32,
    /// How often that had been received.
    pub received: u32,
}

/// What ends a run early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// Somebody asked for it.
    Request,
    /// Its deadline passed.
    Deadline,
    /// The task's next run was due, and its schedule says `overlap: cancel_previous`.
    Overlap,
}

/// Why an action is not performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its trigger can not hold any more.
    Trigger,
    /// Its condition is false.
    Condition,
}

impl EventKind {
    /// The event's public type, such as `action.succeeded`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run.started",
            Self::RunPaused { .. } => "run.paused",
            Self::RunResumed { .. } => "run.resumed",
            Self::RunCancelling { .. } => "run.cancelling",
            Self::RunRetried { .. } => "run.retried",
            Self::RunFinished { status, .. } => match status {
                RunStatus::Succeeded => "run.succeeded",
                RunStatus::SucceededWithFaults => "run.succeeded_with_faults",
                RunStatus::TimedOut => "run.timed_out",
                RunStatus::Cancelled => "run.cancelled",
                RunStatus::Failed
                | RunStatus::Submitted
                | RunStatus::Running
                | RunStatus::Paused
                | RunStatus::Cancelling => "run.failed",
            },
            Self::ActionReady { .. } => "action.ready",
            Self::ActionQueued { .. } => "action.queued",
            Self::ActionUnserved { .. } => "action.unserved",
            Self::ActionStarted { .. } => "action.started",
            Self::ActionLost { .. } => "action.lost",
            Self::ActionNotLost { .. } => "action.not_lost",
            Self::ActionLeased { .. } => "action.leased",
            Self::ActionLapsed { .. } => "action.lapsed",
            Self::ActionProgressed { .. } => "action.progressed",
            Self::ActionCheckpointed { .. } => "action.checkpointed",
            Self::ActionHandedBack { .. } => "action.handed_back",
            Self::ActionSucceeded { .. } => "action.succeeded",
            Self::ActionRetrying { .. } => "action.retrying",
            Self::ActionFailed { .. } => "action.failed",
            Self::ActionTimedOut { .. } => "action.timed_out",
            Self::ActionSkipped { .. } => "action.skipped",
            Self::ActionCancelling { .. } => "action.cancelling",
            Self::ActionCancelled { .. } => "action.cancelled",
        }
    }

    /// The action that it is about, with its attempt and fence where it has one.
    pub fn about(&self) -> Option<ActionAt> {
        match self {
            Self::RunStarted { .. }
            | Self::RunPaused { .. }
            | Self::RunResumed { .. }
            | Self::RunCancelling { .. }
            | Self::RunRetried { .. }
            | Self::RunFinished { .. } => None,
            Self::ActionReady { action } | Self::ActionSkipped { action, .. } => {
                Some(ActionAt { action: *action, attempt: 0, fence: 0 })
            }
            Self::ActionQueued { of }
            | Self::ActionUnserved { of, .. }
            | Self::ActionStarted { of, .. }
            | Self::ActionLost { of }
            | Self::ActionNotLost { of }
            | Self::ActionLeased { of, .. }
            | Self::ActionLapsed { of }
            | Self::ActionProgressed { of, .. }
            | Self::ActionCheckpointed { of, .. }
            | Self::ActionHandedBack { of }
            | Self::ActionSucceeded { of, .. }
            | Self::ActionRetrying { of, .. }
            | Self::ActionFailed { of, .. }
            | Self::ActionTimedOut { of, .. }
            | Self::ActionCancelling { of, .. }
            | Self::ActionCancelled { of, .. } => Some(*of),
        }
    }

    /// Whether it is told to anybody. What is not has no id of its own.
    pub const fn is_public(&self) -> bool {
        !matches!(
            self,
            Self::ActionReady { .. }
                | Self::ActionLost { .. }
                | Self::ActionNotLost { .. }
                | Self::ActionLeased { .. }
                | Self::ActionLapsed { .. }
                | Self::ActionCheckpointed { .. }
                | Self::ActionHandedBack { .. }
        )
    }

    /// The event's id: the same decision, however often it is made again, gives the same id.
    pub fn id(&self, run: RunId, retries: u32, at: Timestamp) -> Uuid {
        let run = run.to_string();
        if let Self::RunPaused { number } | Self::RunResumed { number } = self {
            // Pauses are numbered through all lives of the run, and one commit may end one and begin the next.
            return derive(&["event", self.name(), &run, &number.to_string()]);
        }
        // What is said again of an action that a retry left alone was said in an earlier life of the run.
        let retries = if self.is_of_one_attempt() { String::new() } else { retries.to_string() };
        let at = if self.may_recur() { at.as_millis().to_string() } else { String::new() };
        let Some(of) = self.about() else {
            return derive(&["event", self.name(), &run, &retries, &at]);
        };
        let (action, attempt) = (of.action.0.to_string(), of.attempt.to_string());
        let extra = match self {
            Self::ActionStarted { .. } | Self::ActionUnserved { .. } => of.fence.to_string(),
            // Several reports of one batch are decided at one instant, and what was said may be said again.
            Self::ActionProgressed { progress, number: 0, .. } => serde_json::to_string(progress).unwrap_or_default(),
            Self::ActionProgressed { of, number, .. } => format!("{}.{number}", of.fence),
            Self::RunStarted { .. }
            | Self::RunPaused { .. }
            | Self::RunResumed { .. }
            | Self::RunCancelling { .. }
            | Self::RunRetried { .. }
            | Self::RunFinished { .. }
            | Self::ActionReady { .. }
            | Self::ActionQueued { .. }
            | Self::ActionLost { .. }
            | Self::ActionNotLost { .. }
            | Self::ActionLeased { .. }
            | Self::ActionLapsed { .. }
            | Self::ActionCheckpointed { .. }
            | Self::ActionHandedBack { .. }
            | Self::ActionSucceeded { .. }
            | Self::ActionRetrying { .. }
            | Self::ActionFailed { .. }
            | Self::ActionTimedOut { .. }
            | Self::ActionSkipped { .. }
            | Self::ActionCancelling { .. }
            | Self::ActionCancelled { .. } => String::new(),
        };
        derive(&["event", self.name(), &run, &retries, &action, &attempt, &extra, &at])
    }

    /// Whether no later life of the run can decide it again: attempts are numbered through all of them.
    fn is_of_one_attempt(&self) -> bool {
        matches!(
            self,
            Self::ActionQueued { .. }
                | Self::ActionStarted { .. }
                | Self::ActionProgressed { .. }
                | Self::ActionSucceeded { .. }
                | Self::ActionRetrying { .. }
        )
    }

    /// Whether it can be decided more than once in a run's life, for the same attempt.
    fn may_recur(&self) -> bool {
        matches!(self, Self::ActionProgressed { .. })
    }
}
