//! The saga record.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::CancelCause;
use super::pages::Pages;
use crate::ids::{ActionIndex, AgentId, RunId, TaskName, TaskVersion};
use crate::time::Timestamp;

/// The revision in which every run begins: nothing else is heard before.
pub(crate) const STARTING_REVISION: u64 = 1;

/// The saved state of one run. Its head holds no list that grows with the task; its actions stand in pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Who it is.
    pub id: RunId,
    /// The task it is of.
    pub task: TaskName,
    /// The task's version that it is pinned to.
    pub version: TaskVersion,
    /// The number of commits of this record; 0 is the record as it was created. Writes are conditional on it.
    pub revision: u64,
    /// Who asked for it.
    pub origin: Origin,
    /// Where it stands.
    pub status: RunStatus,
    /// The checked input, defaults filled in.
    pub input: Value,
    /// The output, once it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why the run as a whole did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
    /// When it was recorded.
    pub submitted_at: Timestamp,
    /// When its first actions were let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When it must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When time alone may change this run; never later than the true instant, but it may be earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Timestamp>,
    /// Set once somebody, or the deadline, has cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// How often it was retried by hand.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// How often it was paused, in all its lives.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pauses: u32,
    /// Revision of the last change of the run's own status: start, pause, resume, cancel, retry, end.
    #[serde(default)]
    pub status_revision: u64,
    /// Actions that are not settled.
    pub open: u32,
    /// Actions that are queued or running.
    pub in_flight: u32,
    /// Actions that are ready and held back by `max_parallel` or a pause.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready: u32,
    /// No action before this one is ready; 0 while none is. Room is given from here on, so that it costs no look at
    /// every action.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready_from: u32,
    /// Actions that failed, timed out or were killed where that is not allowed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// Actions that failed, timed out or were killed where that is allowed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub faults: u32,
    /// The actions, in the definition's order.
    pub actions: Pages,
}

/// Who asked for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Origin {
    /// A call of the API.
    Request,
    /// The task's schedule.
    Schedule {
        /// The due time that this run stands for, in milliseconds since the epoch.
        nominal: Timestamp,
    },
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Recorded, not begun.
    Submitted,
    /// Under way.
    Running,
    /// Under way, but nothing further is queued.
    Paused,
    /// Ending early: waiting for what is queued or running to be answered.
    Cancelling,
    /// Ended: every action succeeded or was skipped.
    Succeeded,
    /// Ended: something failed that was allowed to.
    SucceededWithFaults,
    /// Ended: something failed.
    Failed,
    /// Ended: its deadline passed.
    TimedOut,
    /// Ended: somebody cancelled it.
    Cancelled,
}

/// Where an action stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ActionStatus {
    /// Its trigger does not hold yet, or there is no room for it.
    #[default]
    Waiting,
    /// An attempt is in its pool. A short attempt goes from here to its end.
    Queued,
    /// An agent reported that it performs the attempt.
    Running,
    /// An attempt failed and the next one is due later.
    RetryWaiting,
    /// Ended well.
    Succeeded,
    /// Ended: the last attempt failed.
    Failed,
    /// Ended: the last attempt took, or waited, too long.
    TimedOut,
    /// Ended: its trigger can not hold, or its condition is false.
    Skipped,
    /// Ended: the run was cancelled before it could end by itself.
    Cancelled,
}

/// The state of one action. Times are absent until they come to be.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ActionState {
    /// Where it stands.
    #[serde(rename = "s")]
    pub status: ActionStatus,
    /// Its trigger holds and it waits for room: only while waiting.
    #[serde(rename = "r", default, skip_serializing_if = "is_false")]
    pub ready: bool,
    /// The number of its newest attempt; 0: none.
    #[serde(rename = "a", default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// The attempt before the first that counts against the policy; above 0 after a retry by hand.
    #[serde(rename = "b", default, skip_serializing_if = "is_zero")]
    pub attempt_base: u32,
    /// The fence of the newest attempt: grows with each claim, and a report with a lower one is refused.
    #[serde(rename = "f", default, skip_serializing_if = "is_zero")]
    pub fence: u32,
    /// The agent that last reported.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// When the first attempt that counts was queued.
    #[serde(rename = "q1", default, skip_serializing_if = "Option::is_none")]
    pub first_queued_at: Option<Timestamp>,
    /// When the newest attempt was queued.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When the newest attempt began, by its agent's clock.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the action was settled.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When the next attempt is due: only while retry-waiting.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// The revision whose commit changed this action's status last: a repeated input of that commit sends its
    /// commands again.
    #[serde(rename = "v", default)]
    pub revision: u64,
    /// The last progress that was reported.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<super::Progress>,
    /// It waits in a pool that nobody serves: only while queued.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub unserved: Option<Unserved>,
    /// The number of the report that said so, of the newest fence; 0: none was numbered.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    pub progress_number: u32,
    /// Where the work can be taken up, as its newest owner said last; none once the action is settled.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// It was handed back: its message is in its pool or is being sent, its fence is nobody's, and nobody was lost. Only
    /// while queued.
    #[serde(rename = "h", default, skip_serializing_if = "is_false")]
    pub handed_back: bool,
    /// Somebody wants it to end, whatever becomes of the rest of the run; kept if it has ended by that.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<Kill>,
    /// The copy of the attempt's message that counts: those before it are refused. 0: the first message.
    #[serde(rename = "k", default, skip_serializing_if = "is_zero")]
    pub copy: u32,
    /// How often that copy had been received when it was claimed last: whoever received it before has it no more. 0: it
    /// was not claimed.
    #[serde(rename = "i", default, skip_serializing_if = "is_zero")]
    pub received: u32,
    /// Until when its agent has it without a message: only while running.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub leased_until: Option<Timestamp>,
    /// The fences whose owners were lost, in order: since the action was queued, or an agent came to an attempt's end.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<u32>,
    /// What the action gave.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why the last attempt failed.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
}

impl ActionState {
    /// Whether a claim by that agent says that the owner before was lost. Who claims again what it had itself is still
    /// there.
    pub fn is_lost_by_claim(&self, agent: &AgentId, redelivered: bool) -> bool {
        // Under the fence after a lapse nobody has had it.
        let has_lapsed =
            self.status == ActionStatus::Queued && self.lost.last().is_some_and(|lost| lost + 1 == self.fence);
        redelivered && !self.handed_back && !has_lapsed && self.agent.as_ref() != Some(agent)
    }
}

/// That a queued attempt waits in a pool that no living agent serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unserved {
    /// Since when it waits without one.
    #[serde(rename = "t")]
    pub since: Timestamp,
    /// The revision whose commit said so.
    #[serde(rename = "v")]
    pub revision: u64,
}

/// That somebody wants one action to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// When that was decided.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// Why, in words.
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The revision whose commit said so.
    #[serde(rename = "v")]
    pub revision: u64,
}

/// A failure, for people and for policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ErrorInfo {
    /// What kind it is, dotted from the general to the special: `auth.password`. Policies decide by it.
    pub kind: String,
    /// What happened.
    pub message: String,
}

/// That a run was cancelled, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub cause: CancelCause,
    /// Why, in words.
    pub reason: String,
}

impl Run {
    /// The record of a run that has been asked for and not begun.
    pub fn submitted(
        id: RunId,
        (task, version): (TaskName, TaskVersion),
        actions: usize,
        input: Value,
        origin: Origin,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            task,
            version,
            revision: 0,
            origin,
            status: RunStatus::Submitted,
            input,
            output: None,
            error: None,
            submitted_at: now,
            started_at: None,
            finished_at: None,
            deadline: None,
            wake_at: None,
            cancellation: None,
            retries: 0,
            pauses: 0,
            status_revision: 0,
            open: u32::try_from(actions).unwrap_or(u32::MAX),
            in_flight: 0,
            ready: 0,
            ready_from: 0,
            failed: 0,
            faults: 0,
            actions: Pages::new(actions),
        }
    }

    /// The state of one action.
    pub fn action(&self, index: ActionIndex) -> &ActionState {
        self.actions.get(index)
    }

    /// Whether nothing has been heard of it since its start: whoever recorded that may have died before it sent what
    /// follows. That its pool has no agent is no news of the run itself.
    pub fn is_unheard_of(&self) -> bool {
        let is_of_start = |revision: u64| revision <= STARTING_REVISION;
        is_of_start(self.status_revision) && self.actions.iter().all(|state| is_of_start(state.revision))
    }

    /// The first action, in the author's order, that waits for room.
    pub fn first_ready(&self) -> Option<ActionIndex> {
        if self.ready == 0 {
            return None;
        }
        let from = self.ready_from as usize;
        (from..self.actions.len()).map(ActionIndex::from_usize).find(|action| self.action(*action).ready)
    }
}

impl RunStatus {
    /// Every status, in the order of a run's life.
    pub const ALL: [Self; 9] = [
        Self::Submitted,
        Self::Running,
        Self::Paused,
        Self::Cancelling,
        Self::Succeeded,
        Self::SucceededWithFaults,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// Whether the run has ended.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Submitted | Self::Running | Self::Paused | Self::Cancelling => false,
            Self::Succeeded | Self::SucceededWithFaults | Self::Failed | Self::TimedOut | Self::Cancelled => true,
        }
    }

    /// Whether the run has ended well.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::SucceededWithFaults)
    }

    /// The status as it stands in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::SucceededWithFaults => "succeeded_with_faults",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

impl ActionStatus {
    /// Whether the action has ended.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Waiting | Self::Queued | Self::Running | Self::RetryWaiting => false,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Skipped | Self::Cancelled => true,
        }
    }

    /// Whether an attempt is in a pool or with an agent.
    pub const fn is_in_flight(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }

    /// Whether the action ended with an error of its own.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    /// The status as it stands in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::RetryWaiting => "retry_waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl ErrorInfo {
    /// An error of that kind.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
