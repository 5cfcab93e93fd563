//! The part of the record that describes one action and its newest attempt.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::outcome::{ErrorInfo, Progress};
use crate::caller::Caller;
use crate::content::Content;
use crate::delivery::Delivery;
use crate::ids::AgentId;
use crate::run::Source;
use crate::time::Timestamp;

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
    /// An agent reported that it performs the attempt, or was confirmed to.
    Running,
    /// An attempt failed and the next one is due later.
    RetryWaiting,
    /// Ended well.
    Succeeded,
    /// Ended: the last attempt failed.
    Failed,
    /// Ended: the last attempt took, or waited, too long.
    TimedOut,
    /// Ended: its trigger cannot hold, or its condition is false.
    Skipped,
    /// Ended: the run was cancelled before it could end by itself.
    Cancelled,
}

/// The attempt or the time that an action waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Its attempt: in a pool, or with an agent.
    Pool,
    /// A time.
    Timer(Timestamp),
}

/// The state of one action. Times are absent until they come to be.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ActionState {
    /// Where it stands.
    #[serde(rename = "s")]
    pub status: ActionStatus,
    /// Its trigger and its condition hold, and it waits for room or for the next step: only while waiting.
    #[serde(rename = "r", default, skip_serializing_if = "is_false")]
    pub ready: bool,
    /// The greatest delivery of its newest attempt that has begun, was confirmed, or was reserved by a hand-back. Its
    /// `attempt` is the number of that attempt; 0: there was none.
    #[serde(rename = "d", default, skip_serializing_if = "is_none")]
    pub last: Delivery,
    /// The attempt before the first that counts against the policy; above 0 after a retry by hand.
    #[serde(rename = "b", default, skip_serializing_if = "is_zero")]
    pub attempt_base: u32,
    /// A number that programs compare: one more at each queueing, confirmation and hand-back.
    #[serde(rename = "f", default, skip_serializing_if = "is_zero_64")]
    pub fence: u64,
    /// The agent that has the attempt, had it when its lease ran out, or ended it.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// When the first attempt that counts was queued.
    #[serde(rename = "q1", default, skip_serializing_if = "Option::is_none")]
    pub first_queued_at: Option<Timestamp>,
    /// When the newest attempt was queued, or handed back.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When the action was settled.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When the next attempt is due: only while retry-waiting.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// The revision whose commit changed this action's status last.
    #[serde(rename = "v", default)]
    pub revision: u64,
    /// The source of that change.
    #[serde(rename = "y", default, skip_serializing_if = "Source::is_itself")]
    pub source: Source,
    /// The last progress that was reported.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The number of that report, of the newest delivery; 0: none was numbered.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    pub progress_number: u32,
    /// It waits in a pool that no agent serves: only while queued.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub unserved: Option<Unserved>,
    /// Where an agent can take the work up, by the last word of its newest owner; none once the action has ended.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// A person asked to end it alone. It stays if the action has ended since.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<Kill>,
    /// The deliveries whose agents were lost, in order: since the action was queued, or an agent came to an attempt's end.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Delivery>,
    /// The action's output, once it has succeeded.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Content>,
    /// Why the last attempt failed.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
}

/// The agent that has an attempt, by which message, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Which agent.
    #[serde(rename = "a")]
    pub agent: AgentId,
    /// When the attempt began, by its agent's clock. It is never before the attempt was queued, nor after the process
    /// manager received the report.
    #[serde(rename = "t")]
    pub started_at: Timestamp,
    /// When the process manager received the agent's first report of the attempt, by its own clock; 0: that report was
    /// of its end.
    #[serde(rename = "h", default, skip_serializing_if = "is_epoch")]
    pub since: Timestamp,
    /// A hash of the id of the message by which the agent has it; 0: it gave none.
    #[serde(rename = "i", default, skip_serializing_if = "is_zero")]
    pub message: u32,
    /// Until when the agent has it without a message; in the past: its lease has run out. Absent: it has its message.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The number of the renewal that was counted last; 0: none was.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub renewal: u32,
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

/// That a person asked to end one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// When that was decided.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// Why, in words.
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who asked for it.
    #[serde(rename = "b", default)]
    pub caller: Caller,
    /// The revision whose commit said so.
    #[serde(rename = "v")]
    pub revision: u64,
}

impl ActionState {
    /// The number of its newest attempt; 0: none.
    pub const fn attempt(&self) -> u32 {
        self.last.attempt
    }

    /// The agent that last had it.
    pub fn agent(&self) -> Option<&AgentId> {
        self.owner.as_ref().map(|owner| &owner.agent)
    }

    /// When the newest attempt began, if an agent said so.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.owner.as_ref().map(|owner| owner.started_at)
    }

    /// Whether its owner's lease has run out: it is queued again, and that agent is still named.
    pub fn has_lapsed(&self) -> bool {
        self.status == ActionStatus::Queued && self.owner.is_some()
    }

    /// Whether it waits in its pool and no agent has had the attempt yet.
    pub fn is_untaken(&self) -> bool {
        self.status == ActionStatus::Queued && self.owner.is_none() && self.last.is_of_none()
    }

    /// Until when its owner has it without a message, if that is after `now`.
    pub fn leased_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.owner.as_ref()?.until.filter(|until| now < *until)
    }

    /// Since when a queued attempt waits for an agent.
    pub fn waits_since(&self) -> Option<Timestamp> {
        let lapsed_at = self.owner.as_ref().and_then(|owner| owner.until);
        self.queued_at.max(lapsed_at.filter(|_| self.has_lapsed()))
    }

    /// Its attempt if it is in flight, a time if it waits for its retry; none in any other status.
    pub fn wait(&self) -> Option<Wait> {
        match self.status {
            ActionStatus::Queued | ActionStatus::Running => Some(Wait::Pool),
            ActionStatus::RetryWaiting => self.retry_at.map(Wait::Timer),
            ActionStatus::Waiting
            | ActionStatus::Succeeded
            | ActionStatus::Failed
            | ActionStatus::TimedOut
            | ActionStatus::Skipped
            | ActionStatus::Cancelled => None,
        }
    }
}

impl Owner {
    /// An agent that ended an attempt without an owner in the record.
    pub fn of_end(agent: AgentId, started_at: Timestamp) -> Self {
        Self { agent, started_at, since: Timestamp::from_millis(0), message: 0, until: None, renewal: 0 }
    }

    /// The owner as the record keeps it once the attempt has ended: the agent, and when it began.
    #[must_use]
    pub fn ended(self) -> Self {
        Self::of_end(self.agent, self.started_at)
    }
}

impl ActionStatus {
    /// Every status, in the order of an action's life.
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Queued,
        Self::Running,
        Self::RetryWaiting,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Skipped,
        Self::Cancelled,
    ];

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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero_64(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_epoch(at: &Timestamp) -> bool {
    at.as_millis() == 0
}

fn is_none(delivery: &Delivery) -> bool {
    *delivery == Delivery::default()
}
