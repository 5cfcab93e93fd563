//! The facts of a run: each says what has been decided, and alone changes the record.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::input::{ActionAt, CancelCause};
use super::source::Source;
use super::state::RunStatus;
use crate::attempt::{ErrorInfo, Owner, Progress};
use crate::caller::Caller;
use crate::delivery::Delivery;
use crate::ids::{ActionIndex, AgentId, PoolName, RunId, derive};
use crate::time::Timestamp;

/// Something that was decided about a run, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// When it was decided.
    pub at: Timestamp,
    /// What.
    pub kind: FactKind,
    /// What led to it.
    pub source: Source,
}

impl Fact {
    /// A fact that is only told, and not folded into a record.
    pub fn told(at: Timestamp, kind: FactKind) -> Self {
        Self { at, kind, source: Source::default() }
    }
}

/// The kind of a fact, with its data.
#[derive(Debug, Clone, PartialEq)]
pub enum FactKind {
    /// The run has begun.
    RunStarted {
        /// When it must have ended.
        deadline: Option<Timestamp>,
    },
    /// Nothing further is queued until it is resumed.
    RunPaused {
        /// Which of the run's pauses begins, from 1.
        number: u32,
        /// Who asked for it.
        caller: Caller,
    },
    /// The run goes on.
    RunResumed {
        /// Which of its pauses ends.
        number: u32,
        /// Who asked for it.
        caller: Caller,
    },
    /// The run ends early; what is queued or running is still answered.
    RunCancelling {
        /// By what.
        cause: CancelCause,
        /// Why, in words.
        reason: String,
        /// Who asked for it.
        caller: Caller,
    },
    /// A run that had ended is taken up again; its unsuccessful actions start over.
    RunRetried {
        /// When it must have ended, this time.
        deadline: Option<Timestamp>,
        /// The actions that start over.
        actions: Vec<ActionIndex>,
        /// Who asked for it.
        caller: Caller,
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
        /// Which.
        of: ActionAt,
        /// The issue of its first message: 0 may begin without asking, 1 must be claimed.
        issue: u64,
    },
    /// A queued attempt waits in a pool that no living agent serves. It goes on waiting.
    ActionUnserved {
        /// Which.
        of: ActionAt,
        /// Where it waits.
        pool: PoolName,
        /// Since when it waits there without an agent.
        since: Timestamp,
        /// The attempt's greatest delivery: one stay in the pool follows another.
        last: Delivery,
    },
    /// An agent has the attempt: it began unasked and said so, or the process manager confirmed its claim.
    ActionStarted {
        /// Which.
        of: ActionAt,
        /// By which delivery.
        delivery: Delivery,
        /// The agent, and its message.
        owner: Owner,
        /// What programs compare, from here on.
        fence: u64,
    },
    /// The attempt's agent keeps it without a message until then. Not published.
    ActionLeased {
        /// Which.
        of: ActionAt,
        /// Until when no other agent may have it, clocks that differ included.
        until: Timestamp,
        /// The number of the agent's renewal; 0: the process manager gave the time by itself.
        renewal: u32,
    },
    /// The lease of the attempt's agent has run out: it waits in its pool again, and the agent is still named. Not published.
    ActionLapsed {
        /// Which.
        of: ActionAt,
    },
    /// The agent that had the attempt by this delivery was lost: another displaces it. Not published.
    ActionLost {
        /// Which.
        of: ActionAt,
        /// By which delivery the lost agent had it.
        delivery: Delivery,
    },
    /// The agent of this delivery was not lost after all. Not published.
    ActionNotLost {
        /// Which.
        of: ActionAt,
        /// By which delivery it had the attempt.
        delivery: Delivery,
    },
    /// The attempt has come further.
    ActionProgressed {
        /// Which.
        of: ActionAt,
        /// By which delivery its agent has it.
        delivery: Delivery,
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
    /// The attempt's agent has stopped it and gives it back: it waits in its pool again. Not published.
    ActionHandedBack {
        /// Which.
        of: ActionAt,
        /// The issue that is reserved for its next message.
        issue: u64,
    },
    /// The action ended well.
    ActionSucceeded {
        /// Which.
        of: ActionAt,
        /// The agent that performed it, if one did.
        by: Option<Owner>,
        /// The action's output.
        output: Value,
    },
    /// An attempt failed and the next is due later.
    ActionRetrying {
        /// The attempt that failed.
        of: ActionAt,
        /// The agent that performed it, if one did.
        by: Option<Owner>,
        /// Why.
        error: ErrorInfo,
        /// When the next attempt is due.
        retry_at: Timestamp,
    },
    /// The last attempt failed.
    ActionFailed {
        /// Which.
        of: ActionAt,
        /// The agent that performed it, if one did.
        by: Option<Owner>,
        /// Why.
        error: ErrorInfo,
        /// Whether the run may succeed all the same.
        allowed: bool,
    },
    /// The last attempt took, or waited, too long.
    ActionTimedOut {
        /// Which.
        of: ActionAt,
        /// The agent that performed it, if one did.
        by: Option<Owner>,
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
    /// A person asked to end this action early; what is queued or running is still answered.
    ActionCancelling {
        /// Which; attempt 0 if it has none.
        of: ActionAt,
        /// Why, in words.
        reason: String,
        /// Who asked for it.
        caller: Caller,
    },
    /// The run was cancelled, or the action alone was killed, before it ended by itself.
    ActionCancelled {
        /// Which; attempt 0 if it had none.
        of: ActionAt,
        /// The agent that says that it does not run: it ended it, or got it and did not begin. Absent: no agent had to say
        /// so, or none did in time.
        agent: Option<AgentId>,
        /// Why the action alone was killed; absent: its run was cancelled.
        error: Option<ErrorInfo>,
        /// Whether the run may succeed all the same.
        allowed: bool,
    },
}

/// Why an action is not performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its trigger cannot hold any more.
    Trigger,
    /// Its condition is false.
    Condition,
}

impl FactKind {
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

    /// The action that it is about, with its attempt where it has one.
    pub fn about(&self) -> Option<ActionAt> {
        match self {
            Self::RunStarted { .. }
            | Self::RunPaused { .. }
            | Self::RunResumed { .. }
            | Self::RunCancelling { .. }
            | Self::RunRetried { .. }
            | Self::RunFinished { .. } => None,
            Self::ActionReady { action } | Self::ActionSkipped { action, .. } => {
                Some(ActionAt { action: *action, attempt: 0 })
            }
            Self::ActionQueued { of, .. }
            | Self::ActionUnserved { of, .. }
            | Self::ActionStarted { of, .. }
            | Self::ActionLost { of, .. }
            | Self::ActionNotLost { of, .. }
            | Self::ActionLeased { of, .. }
            | Self::ActionLapsed { of }
            | Self::ActionProgressed { of, .. }
            | Self::ActionCheckpointed { of, .. }
            | Self::ActionHandedBack { of, .. }
            | Self::ActionSucceeded { of, .. }
            | Self::ActionRetrying { of, .. }
            | Self::ActionFailed { of, .. }
            | Self::ActionTimedOut { of, .. }
            | Self::ActionCancelling { of, .. }
            | Self::ActionCancelled { of, .. } => Some(*of),
        }
    }

    /// Whether it is published. What is not has no id of its own.
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

    /// The id of its event: the same decision, however often it is made again, gives the same id.
    pub fn id(&self, run: RunId, retries: u32, at: Timestamp) -> Uuid {
        let run = run.to_string();
        if let Self::RunPaused { number, .. } | Self::RunResumed { number, .. } = self {
            // Pauses are numbered through all lives of the run, and one commit may end one and begin the next.
            return derive(&["event", self.name(), &run, &number.to_string()]);
        }
        // Attempts are numbered through all lives of the run: a later life cannot decide the same again.
        let retries = if self.is_of_one_attempt() { String::new() } else { retries.to_string() };
        let Some(of) = self.about() else {
            return derive(&["event", self.name(), &run, &retries]);
        };
        let (action, attempt) = (of.action.0.to_string(), of.attempt.to_string());
        let extra = match self {
            Self::ActionStarted { delivery, .. } => delivery.to_string(),
            Self::ActionUnserved { since, last, .. } => format!("{last}.{}", since.as_millis()),
            // An agent that does not number its reports may say the same again.
            Self::ActionProgressed { progress, number: 0, .. } => {
                format!("{}{}", serde_json::to_string(progress).unwrap_or_default(), at.as_millis())
            }
            Self::ActionProgressed { delivery, number, .. } => format!("{delivery}.{number}"),
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
        derive(&["event", self.name(), &run, &retries, &action, &attempt, &extra])
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
}
