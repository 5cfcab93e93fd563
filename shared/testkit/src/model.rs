//! The reference model of a run: small, plain and slow.
//!
//! It is written from what SEMANTICS promises, over a [`Sketch`] instead of a definition, and shares no rule with
//! `windlass_domain::decide`. After every input it looks at every action from scratch until nothing more follows.
//!
//! One thing is left to the subject: when several actions could have the same room, which of those whose trigger has
//! just come to hold is first. The model follows the order it is shown, after it has checked that the order is allowed.

#![expect(clippy::wildcard_enum_match_arm, reason = "a model names the cases that matter")]

mod control;
mod follow;
mod kept;
mod report;
mod stand;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use windlass_domain::decide::Rejection;
use windlass_domain::ids::PoolName;
use windlass_domain::run::{ActionAt, CancelCause, Input, RunStatus};
use windlass_domain::time::Timestamp;

pub use stand::{Row, Stand};

use crate::sketch::{Sketch, name_of};

/// A run as the model sees it.
#[derive(Debug, Clone)]
pub struct Model {
    sketch: Sketch,
    /// Where the run stands.
    pub status: RunStatus,
    /// Where each action stands, by name.
    pub actions: BTreeMap<String, Row>,
    begun: Option<Timestamp>,
    cancelled: Option<(Timestamp, CancelCause)>,
    deadline: Option<Timestamp>,
    retries: u32,
    /// How often it was paused.
    pub pauses: u32,
    /// The commit that changed the run's own status last.
    status_commit: u64,
}

/// What the model expects of an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Why it is refused.
    pub refused: Option<Rejection>,
    /// The attempts that are sent, and whether they must be claimed.
    pub sent: BTreeSet<(ActionAt, bool)>,
}

/// One input's circumstances.
struct Turn<'a> {
    now: Timestamp,
    commit: u64,
    /// The order in which the subject gave room.
    order: &'a [String],
    sent: BTreeSet<(ActionAt, bool)>,
}

impl Model {
    /// A submitted run.
    pub fn new(sketch: &Sketch) -> Self {
        let row = Row {
            stand: Stand::Waiting,
            attempt: 0,
            fence: 0,
            checkpoint: None,
            handed_back: false,
            lost: BTreeSet::new(),
            copy: 0,
            received: 0,
            leased: None,
            killed: None,
            said: None,
            said_number: 0,
            unserved: None,
            base: 0,
            first_queued: None,
            queued: None,
            commit: 0,
        };
        Self {
            sketch: sketch.clone(),
            status: RunStatus::Submitted,
            actions: (0..sketch.actions.len()).map(|at| (name_of(at), row.clone())).collect(),
            begun: None,
            cancelled: None,
            deadline: None,
            retries: 0,
            pauses: 0,
            status_commit: 0,
        }
    }

    /// Takes an input at `now`. `commit` is the number of the commit that it will be part of; `order` the names of
    /// the actions that the subject queued, or tried to, in its order.
    pub fn take(&mut self, input: &Input, now: Timestamp, commit: u64, order: &[String]) -> Answer {
        let mut turn = Turn { now, commit, order, sent: BTreeSet::new() };
        let done = match input {
            Input::Start => {
                self.start(&mut turn);
                Ok(())
            }
            Input::Cancel { retries, .. } if *retries < self.retries => Ok(()),
            Input::Cancel { retries, .. } | Input::Retry { retries } if *retries > self.retries => {
                Err(Rejection::Stale)
            }
            Input::Cancel { cause, .. } => self.cancel(*cause, &mut turn),
            Input::Kill { action, .. } if action.as_usize() >= self.sketch.actions.len() => {
                Err(Rejection::UnknownAction)
            }
            Input::Kill { retries, .. } if *retries < self.retries => Ok(()),
            Input::Kill { retries, .. } if *retries > self.retries => Err(Rejection::Stale),
            Input::Kill { action, .. } => self.kill(action.as_usize(), &mut turn),
            Input::Pause { retries, .. } if *retries < self.retries => Ok(()),
            Input::Pause { retries, .. } if *retries > self.retries => Err(Rejection::Stale),
            Input::Pause { pauses, .. } | Input::Resume { pauses } if *pauses < self.pauses => Ok(()),
            Input::Pause { pauses, .. } | Input::Resume { pauses } if *pauses > self.pauses => Err(Rejection::Stale),
            Input::Pause { .. } => self.pause(&turn),
            Input::Resume { .. } => self.resume(&mut turn),
            Input::Retry { retries } if *retries < self.retries => {
                if *retries == self.retries - 1 {
                    self.send_again(self.status_commit, &mut turn);
                }
                Ok(())
            }
            Input::Retry { .. } => self.retry(&mut turn),
            Input::Unserved { pool, since } => {
                self.unserved(pool, *since);
                Ok(())
            }
            Input::Wake => self.wake(&mut turn),
            Input::Sweep { since } => self.sweep(*since, &mut turn),
            Input::Started { of, .. }
            | Input::Claim { of, .. }
            | Input::Renewed { of, .. }
            | Input::Progressed { of, .. }
            | Input::HandedBack { of, .. }
            | Input::Completed { of, .. }
            | Input::DeadLettered { of, .. } => self.report(input, *of, &mut turn),
        };
        Answer { refused: done.err(), sent: turn.sent }
    }

    fn row(&self, at: usize) -> &Row {
        &self.actions[&name_of(at)]
    }

    fn positions(&self) -> std::ops::Range<usize> {
        0..self.sketch.actions.len()
    }

    fn newest(&self, at: usize) -> ActionAt {
        let row = self.row(at);
        let action = windlass_domain::ids::ActionIndex::from_usize(at);
        ActionAt { action, attempt: row.attempt, fence: row.fence }
    }

    /// What waits in the pool says so, unless the run is ending.
    fn unserved(&mut self, pool: &PoolName, told: Timestamp) {
        if *pool != PoolName::default() || !matches!(self.status, RunStatus::Running | RunStatus::Paused) {
            return;
        }
        for row in self.actions.values_mut() {
            if let Stand::Queued { since } = row.stand {
                row.unserved.get_or_insert(told.max(since));
            }
        }
    }

    fn set(&mut self, at: usize, stand: Stand, turn: &Turn<'_>) {
        if let Some(row) = self.actions.get_mut(&name_of(at)) {
            if stand.is_settled() || stand == Stand::Waiting {
                row.checkpoint = None;
                row.lost.clear();
            }
            if stand.is_settled() && stand != Stand::Cancelled {
                row.killed = None;
            }
            row.handed_back = row.handed_back && matches!(stand, Stand::Queued { .. });
            if let Stand::Queued { since } = stand {
                row.queued = Some(since);
            }
            row.stand = stand;
            row.unserved = None;
            row.leased = None;
            row.commit = turn.commit;
        }
    }

    fn set_status(&mut self, status: RunStatus, turn: &Turn<'_>) {
        self.status = status;
        self.status_commit = turn.commit;
    }

    /// Whether nothing more is to be tried of that action.
    fn is_stopping(&self, at: usize) -> bool {
        self.is_ending() || self.row(at).killed.is_some()
    }

    fn is_ending(&self) -> bool {
        self.status == RunStatus::Cancelling
    }

    /// What that commit queued and nobody has reported since.
    fn send_again(&self, commit: u64, turn: &mut Turn<'_>) {
        for at in self.positions() {
            let row = self.row(at);
            let is_wanted = matches!(row.stand, Stand::Queued { .. }) && !self.is_stopping(at);
            if is_wanted && row.commit == commit && !row.handed_back {
                turn.sent.insert((self.newest(at), true));
            }
        }
    }
}
