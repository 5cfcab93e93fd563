//! The inputs of a run: everything that can make it change.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::ErrorInfo;
use crate::ids::{ActionIndex, AgentId, PoolName};
use crate::time::Timestamp;

/// Something that happened to a run. Any input may come twice, late, or never in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Input {
    /// The run has been recorded and may begin.
    Start,
    /// An agent has performed an attempt for a while.
    Started {
        /// Which.
        of: ActionAt,
        /// Who.
        agent: AgentId,
        /// When the attempt began, by the agent's clock.
        started_at: Timestamp,
    },
    /// An agent that holds a message asks to perform it: a redelivery, or a message that waited.
    Claim {
        /// Which attempt, with the fence of the message.
        of: ActionAt,
        /// Who.
        agent: AgentId,
        /// How often the message has been received, this time included: above 1, whoever held it has lost it.
        received: u32,
        /// Which copy of the attempt's message it is: it is sent again if the first one may be lost. 0: the first one.
        #[serde(default, skip_serializing_if = "is_zero")]
        copy: u32,
        /// It was asked before, by the very same delivery, and the answer was lost: what it led to then holds.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// An agent keeps an attempt without its message, which the queue would give up soon: nobody else may have it for
    /// [`crate::limits::LEASE_MS`].
    Renewed {
        /// Which.
        of: ActionAt,
        /// Who.
        agent: AgentId,
        /// When the attempt began, by the agent's clock.
        started_at: Timestamp,
    },
    /// An attempt has come further.
    Progressed {
        /// Which.
        of: ActionAt,
        /// Which report it is of this attempt and fence, from 1: an earlier one that comes later changes nothing. 0: its
        /// agent does not count.
        #[serde(default, skip_serializing_if = "is_zero")]
        number: u32,
        /// How far; one that says nothing leaves what was said before.
        progress: Progress,
        /// Where the work could be taken up from here; absent: where it was said last. At most
        /// [`crate::limits::MAX_CHECKPOINT_BYTES`] as JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Value>,
    },
    /// An agent that drains, or that can not keep the attempt's message, has stopped the attempt: it is sent again, unless
    /// somebody has claimed it since.
    HandedBack {
        /// Which, with the fence that the agent had.
        of: ActionAt,
        /// Who.
        agent: AgentId,
        /// Which of the attempt's messages it had: what that says. 0: the first.
        #[serde(default, skip_serializing_if = "is_zero")]
        copy: u32,
        /// Where the work can be taken up; absent: where it was said last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Value>,
    },
    /// An attempt has ended.
    Completed {
        /// Which.
        of: ActionAt,
        /// Who.
        agent: AgentId,
        /// When the attempt began, by the agent's clock.
        started_at: Timestamp,
        /// How it ended.
        outcome: Outcome,
        /// Where the next attempt can take the work up, if this one failed; absent: where it was said last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Value>,
    },
    /// The attempt's message could not be performed by any agent and went to the dead-letter queue. If another message of
    /// the attempt counts by now, that changes nothing.
    DeadLettered {
        /// Which.
        of: ActionAt,
        /// Which of the attempt's messages: what that says. 0: the first.
        #[serde(default, skip_serializing_if = "is_zero")]
        copy: u32,
        /// Why.
        reason: String,
    },
    /// No living agent serves a pool: its queued attempts wait for one to come.
    Unserved {
        /// Which pool.
        pool: PoolName,
        /// Since when nobody serves it, as far as is known.
        since: Timestamp,
    },
    /// Somebody wants the run to end.
    Cancel {
        /// Why, in words.
        reason: String,
        /// Because of what.
        cause: super::CancelCause,
        /// How often the run had been retried when this was asked: a run that was retried since is left alone.
        retries: u32,
    },
    /// Somebody wants one action to end, and the rest of the run to go on.
    Kill {
        /// Which.
        action: ActionIndex,
        /// Why, in words.
        reason: String,
        /// How often the run had been retried when this was asked: a run that was retried since is left alone.
        retries: u32,
    },
    /// Somebody wants nothing further to be queued.
    Pause {
        /// How often the run had been paused when this was asked: each pause is asked for anew.
        #[serde(default, skip_serializing_if = "is_zero")]
        pauses: u32,
        /// How often the run had been retried when this was asked: a run that was retried since is left alone.
        #[serde(default, skip_serializing_if = "is_zero")]
        retries: u32,
    },
    /// Somebody wants the run to go on.
    Resume {
        /// How often the run had been paused when this was asked: it ends that pause and no later one.
        #[serde(default, skip_serializing_if = "is_zero")]
        pauses: u32,
    },
    /// Somebody wants the unsuccessful actions of an ended run to start over.
    Retry {
        /// How often the run had been retried when this was asked: each end is answered by one retry at most.
        retries: u32,
    },
    /// Time has passed: whatever is due by now is to be done.
    Wake,
    /// The sweeper has not seen this run change for a while: whatever may have been lost is sent again.
    Sweep {
        /// When the sweeper looked at this run the time before, or earlier.
        since: Timestamp,
    },
}

/// One attempt of one action, as the message that carries it knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ActionAt {
    /// The action's place in its definition.
    pub action: ActionIndex,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The attempt's fence: grows with each claim.
    pub fence: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// Well.
    Succeeded {
        /// What it gave.
        output: Value,
    },
    /// With an error.
    Failed {
        /// Which.
        error: ErrorInfo,
    },
    /// It took longer than the attempt's timeout and was stopped.
    TimedOut {
        /// What it had said.
        error: ErrorInfo,
    },
    /// It was stopped, or never begun, because its run is being cancelled, or it alone was killed.
    Cancelled,
}

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Progress {
    /// From 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// What it is doing, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
