//! The inputs of a run: everything that can make it change.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::source::Source;
use crate::attempt::{Outcome, Progress};
use crate::delivery::Delivery;
use crate::ids::{ActionIndex, AgentId, PoolName};
use crate::time::Timestamp;

/// Something that happened to a run. Any input may come twice, late, or out of order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Input {
    /// The run has been recorded and may begin; or it has begun, and this sees to it that its first attempts were sent.
    Start,
    /// An agent has performed an attempt for a while.
    Started {
        /// Of which delivery, and by whom.
        of: Report,
        /// When the attempt began, by the agent's clock.
        started_at: Timestamp,
    },
    /// An agent asks to own attempts whose messages may have been with another agent before. The process manager answers
    /// each by a `confirm` or a `stop` in the agent's control queue.
    Claim {
        /// Which agent.
        agent: AgentId,
        /// The attempts that it claims: at most [`crate::limits::MAX_CLAIMS`].
        claims: Vec<Claim>,
    },
    /// An agent asks to keep an attempt without its message, which the queue would give up soon: no other agent may have
    /// it for [`crate::limits::LEASE_MS`]. The process manager answers by a `confirm` with `until`, or by a `stop`.
    Renewed {
        /// Of which delivery, and by whom.
        of: Report,
        /// When the attempt began, by the agent's clock.
        started_at: Timestamp,
        /// The number of the renewal, from 1: only a greater one extends the lease. The answer names it.
        number: u32,
    },
    /// An attempt has come further.
    Progressed {
        /// Of which delivery, and by whom.
        of: Report,
        /// Which report it is of this delivery, from 1: an earlier one that comes later changes nothing. 0: its agent does
        /// not count.
        #[serde(default, skip_serializing_if = "is_zero")]
        number: u32,
        /// How far; one that says nothing leaves what was said before.
        progress: Progress,
        /// Where the work could be taken up from here; absent: where it was said last. At most
        /// [`crate::limits::MAX_CHECKPOINT_BYTES`] as JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Value>,
    },
    /// An agent that drains, or that cannot keep the attempt's message, has stopped the attempt: it is sent again.
    HandedBack {
        /// Of which delivery, and by whom.
        of: Report,
        /// The agent has not deleted the attempt's message: another agent may have it, or its queue delivers it again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        kept: bool,
        /// Where the work can be taken up; absent: where it was said last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Value>,
    },
    /// An attempt has ended.
    Completed {
        /// Of which delivery, and by whom.
        of: Report,
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
        /// The action.
        action: ActionIndex,
        /// Which of the attempt's messages.
        delivery: Delivery,
        /// A hash of the message's id; 0: not known.
        #[serde(default, skip_serializing_if = "is_zero")]
        message: u32,
        /// Why.
        reason: String,
    },
    /// No living agent serves a pool: its queued attempts wait for one to come.
    Unserved {
        /// Which pool.
        pool: PoolName,
        /// Since when no agent serves it, as far as is known.
        since: Timestamp,
    },
    /// A caller wants the run to end.
    Cancel {
        /// Why, in words.
        reason: String,
        /// What made the caller ask.
        cause: CancelCause,
        /// How often the run had been retried when this was asked: a run that was retried since is left alone.
        retries: u32,
    },
    /// A caller wants one action to end, and the rest of the run to go on.
    Kill {
        /// Which.
        action: ActionIndex,
        /// Why, in words.
        reason: String,
        /// How often the run had been retried when this was asked: a run that was retried since is left alone.
        retries: u32,
    },
    /// A caller wants nothing further to be queued.
    Pause {
        /// How often the run had been paused when this was asked: each pause is asked for anew.
        #[serde(default, skip_serializing_if = "is_zero")]
        pauses: u32,
        /// How often the run had been retried when this was asked: a run that was retried since is left alone.
        #[serde(default, skip_serializing_if = "is_zero")]
        retries: u32,
    },
    /// A caller wants the run to go on.
    Resume {
        /// How often the run had been paused when this was asked: it ends that pause and no later one.
        #[serde(default, skip_serializing_if = "is_zero")]
        pauses: u32,
    },
    /// A caller wants the unsuccessful actions of an ended run to start over.
    Retry {
        /// How often the run had been retried when this was asked: each end is answered by one retry at most.
        retries: u32,
    },
    /// A timer of the run has run down.
    Wake {
        /// The action whose timer it is; absent: the run's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action: Option<ActionIndex>,
    },
    /// The sweeper has found the run: all that is due by now is done, and what may have been lost is sent again.
    Sweep,
}

impl Input {
    /// The source of its changes. A claim may name several actions; [`Source::Itself`] stands for each of them.
    pub fn source(&self) -> Source {
        match self {
            Self::Start => Source::Start,
            Self::Pause { .. } => Source::Pause,
            Self::Resume { .. } => Source::Resume,
            Self::Retry { .. } => Source::Retry,
            Self::Cancel { .. } => Source::Cancel,
            Self::Wake { action: None } => Source::Timer,
            Self::Sweep => Source::Sweep,
            Self::Unserved { .. } => Source::Unserved,
            Self::Started { of, .. }
            | Self::Renewed { of, .. }
            | Self::Progressed { of, .. }
            | Self::HandedBack { of, .. }
            | Self::Completed { of, .. } => Source::Action(of.action),
            Self::Kill { action, .. } | Self::DeadLettered { action, .. } | Self::Wake { action: Some(action) } => {
                Source::Action(*action)
            }
            Self::Claim { .. } => Source::Itself,
        }
    }

    /// Everything that it is about.
    pub fn sources(&self) -> Vec<Source> {
        if let Self::Claim { claims, .. } = self {
            return claims.iter().map(|claim| Source::Action(claim.action)).collect();
        }
        vec![self.source()]
    }
}

/// Why a run ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// A person or a program asked for it.
    Request,
    /// Its deadline passed.
    Deadline,
    /// The task's next run was due, and its schedule says `overlap: cancel_previous`.
    Overlap,
}

/// A claim of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Claim {
    /// The action's place in its definition.
    pub action: ActionIndex,
    /// The delivery by which the agent holds the attempt's message.
    pub delivery: Delivery,
    /// A hash of the id of that message.
    pub message: u32,
    /// The number that the agent gave to this request: the answer names it.
    pub asked: u32,
}

/// Of which delivery of which action a report is, and which agent makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Report {
    /// The action's place in its definition.
    pub action: ActionIndex,
    /// The delivery by which the agent has the attempt.
    pub delivery: Delivery,
    /// A hash of the id of the message that was delivered.
    pub message: u32,
    /// Which agent.
    pub agent: AgentId,
}

impl Report {
    /// The report of a claim by that agent.
    pub fn of_claim(agent: &AgentId, claim: &Claim) -> Self {
        let Claim { action, delivery, message, .. } = *claim;
        Self { action, delivery, message, agent: agent.clone() }
    }
}

/// One attempt of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ActionAt {
    /// The action's place in its definition.
    pub action: ActionIndex,
    /// The attempt's number, from 1.
    pub attempt: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
