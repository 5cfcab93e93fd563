//! Where an action stands.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::Value;
use windlass_domain::ids::AgentId;
use windlass_domain::limits::{CHECK_AFTER_MS, CLOCKS_DIFFER_MS};
use windlass_domain::run::{ActionAt, ActionStatus, Progress};
use windlass_domain::time::Timestamp;

/// One action.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it stands.
    pub stand: Stand,
    /// Its newest attempt; 0: none.
    pub attempt: u32,
    /// The newest fence.
    pub fence: u32,
    /// Where the work can be taken up.
    pub checkpoint: Option<Value>,
    /// Its agent gave it back and nobody has claimed it since.
    pub handed_back: bool,
    /// The fences whose owners never said that they gave it back.
    pub lost: BTreeSet<u32>,
    /// The copy of its message by which it was claimed last.
    pub copy: u32,
    /// How often that copy had been received then.
    pub received: u32,
    /// Until when its agent keeps it without a message: only while it runs.
    pub leased: Option<Timestamp>,
    /// Since when it is being killed, if it is or was.
    pub killed: Option<Timestamp>,
    pub(super) said: Option<Progress>,
    pub(super) said_number: u32,
    /// Since when it waits in a pool that nobody serves, if that was told.
    pub unserved: Option<Timestamp>,
    pub(super) base: u32,
    pub(super) first_queued: Option<Timestamp>,
    pub(super) queued: Option<Timestamp>,
    /// The commit that changed its stand last.
    pub(super) commit: u64,
}

impl Row {
    /// Whether that message of the attempt, which says that fence, is the one that counts or may come to.
    pub(super) fn is_its_message(&self, of: ActionAt, copy: u32) -> bool {
        match copy.cmp(&self.copy) {
            Ordering::Less => false,
            Ordering::Equal => of.fence <= self.fence,
            Ordering::Greater if !matches!(self.stand, Stand::Queued { .. }) => false,
            Ordering::Greater => of.fence == self.fence || self.handed_back && of.fence + 1 == self.fence,
        }
    }

    /// Whether somebody may begin it by its first message without asking.
    pub(super) fn may_begin_unasked(&self, now: Timestamp) -> bool {
        let Stand::Queued { since } = self.stand else { return false };
        !self.handed_back && now.since(since).0 <= CHECK_AFTER_MS + CLOCKS_DIFFER_MS
    }
}

/// Where an action stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Stand {
    /// Its trigger does not hold yet.
    Waiting,
    /// It waits for room.
    Ready,
    /// An attempt is in its pool.
    Queued {
        /// Since when.
        since: Timestamp,
    },
    /// An agent performs it.
    Running {
        /// Since when.
        since: Timestamp,
        /// Who.
        agent: AgentId,
    },
    /// It is tried again.
    RetryWaiting {
        /// When.
        due: Timestamp,
    },
    /// It gave that.
    Succeeded(Value),
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It is not performed.
    Skipped,
    /// It was cancelled.
    Cancelled,
}

impl Stand {
    /// The status that a record shows for it.
    pub fn status(&self) -> ActionStatus {
        match self {
            Self::Waiting | Self::Ready => ActionStatus::Waiting,
            Self::Queued { .. } => ActionStatus::Queued,
            Self::Running { .. } => ActionStatus::Running,
            Self::RetryWaiting { .. } => ActionStatus::RetryWaiting,
            Self::Succeeded(_) => ActionStatus::Succeeded,
            Self::Failed => ActionStatus::Failed,
            Self::TimedOut => ActionStatus::TimedOut,
            Self::Skipped => ActionStatus::Skipped,
            Self::Cancelled => ActionStatus::Cancelled,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.status().is_settled()
    }

    pub(super) fn is_in_flight(&self) -> bool {
        matches!(self, Self::Queued { .. } | Self::Running { .. })
    }

    /// Whether that is a failure to whatever needs it: in a run that goes on, what is cancelled was killed.
    pub(super) fn failed(&self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Cancelled)
    }

    pub(super) fn succeeded(&self) -> bool {
        matches!(self, Self::Succeeded(_))
    }
}
