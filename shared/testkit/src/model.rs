//! The reference model of a run: small, plain and slow.
//!
//! It is written from what SEMANTICS promises, over a [`Sketch`] instead of a definition, and shares no rule with
//! `windlass_domain::decide`. After every input it looks at every action from scratch until nothing more follows.
//!
//! One thing is left to the subject: when several actions could have the same room, which of those whose trigger has
//! just come to hold is first. The model follows the order it is shown, after it has checked that the order is allowed.

#![expect(clippy::wildcard_enum_match_arm, reason = "a model names the cases that matter")]

mod follow;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use windlass_domain::decide::Rejection;
use windlass_domain::ids::AgentId;
use windlass_domain::limits::{
    CANCEL_FORCE_MS, CANCEL_GRACE_MS, REISSUE_QUEUED_AFTER_MS, RESTART_AFTER_MS, TIMEOUT_MARGIN_MS,
};
use windlass_domain::run::{ActionAt, ActionStatus, CancelCause, Input, Outcome, RunStatus};
use windlass_domain::time::{Millis, Timestamp};

use crate::sketch::{NEVER_RETRIED, Sketch, name_of};

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
    /// The commit that changed the run's own status last.
    status_commit: u64,
}

/// One action.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it stands.
    pub stand: Stand,
    /// Its newest attempt; 0: none.
    pub attempt: u32,
    /// The newest fence.
    pub fence: u32,
    base: u32,
    first_queued: Option<Timestamp>,
    /// The commit that changed its stand last.
    commit: u64,
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

    fn is_settled(&self) -> bool {
        self.status().is_settled()
    }

    fn is_in_flight(&self) -> bool {
        matches!(self, Self::Queued { .. } | Self::Running { .. })
    }

    fn failed(&self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    fn succeeded(&self) -> bool {
        matches!(self, Self::Succeeded(_))
    }
}

impl Model {
    /// A submitted run.
    pub fn new(sketch: &Sketch) -> Self {
        let row = Row { stand: Stand::Waiting, attempt: 0, fence: 0, base: 0, first_queued: None, commit: 0 };
        Self {
            sketch: sketch.clone(),
            status: RunStatus::Submitted,
            actions: (0..sketch.actions.len()).map(|at| (name_of(at), row.clone())).collect(),
            begun: None,
            cancelled: None,
            deadline: None,
            retries: 0,
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
            Input::Pause => self.pause(&turn),
            Input::Resume => self.resume(&mut turn),
            Input::Retry { retries } if *retries < self.retries => {
                if *retries == self.retries - 1 {
                    self.send_again(self.status_commit, &mut turn);
                }
                Ok(())
            }
            Input::Retry { .. } => self.retry(&mut turn),
            Input::Wake => self.wake(&mut turn),
            Input::Sweep { since } => self.sweep(*since, &mut turn),
            Input::Started { of, .. }
            | Input::Claim { of, .. }
            | Input::Progressed { of, .. }
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

    fn set(&mut self, at: usize, stand: Stand, turn: &Turn<'_>) {
        if let Some(row) = self.actions.get_mut(&name_of(at)) {
            row.stand = stand;
            row.commit = turn.commit;
        }
    }

    fn set_status(&mut self, status: RunStatus, turn: &Turn<'_>) {
        self.status = status;
        self.status_commit = turn.commit;
    }

    fn is_ending(&self) -> bool {
        self.status == RunStatus::Cancelling
    }

    fn start(&mut self, turn: &mut Turn<'_>) {
        if self.status == RunStatus::Submitted {
            self.begun = Some(turn.now);
            self.deadline = self.sketch.timeout.map(|timeout| turn.now.plus(timeout));
            self.set_status(RunStatus::Running, turn);
            self.follow(turn);
        } else {
            self.send_again(1, turn);
        }
    }

    fn cancel(&mut self, cause: CancelCause, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        if self.status.is_final() {
            return if self.status == RunStatus::Cancelled { Ok(()) } else { Err(Rejection::RunEnded) };
        }
        if self.is_ending() {
            return Ok(());
        }
        self.cancelled = Some((turn.now, cause));
        self.set_status(RunStatus::Cancelling, turn);
        for at in self.positions() {
            if matches!(self.row(at).stand, Stand::Waiting | Stand::Ready | Stand::RetryWaiting { .. }) {
                self.set(at, Stand::Cancelled, turn);
            }
        }
        self.follow(turn);
        Ok(())
    }

    fn check_controllable(&self) -> Result<(), Rejection> {
        match self.status {
            RunStatus::Running | RunStatus::Paused => Ok(()),
            RunStatus::Submitted | RunStatus::Cancelling => Err(Rejection::RunStatus(self.status)),
            RunStatus::Succeeded
            | RunStatus::SucceededWithFaults
            | RunStatus::Failed
            | RunStatus::TimedOut
            | RunStatus::Cancelled => Err(Rejection::RunEnded),
        }
    }

    fn pause(&mut self, turn: &Turn<'_>) -> Result<(), Rejection> {
        self.check_controllable()?;
        if self.status == RunStatus::Running {
            self.set_status(RunStatus::Paused, turn);
        }
        Ok(())
    }

    fn resume(&mut self, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        self.check_controllable()?;
        if self.status == RunStatus::Paused {
            self.set_status(RunStatus::Running, turn);
            self.follow(turn);
        } else {
            self.send_again(self.status_commit, turn);
        }
        Ok(())
    }

    fn retry(&mut self, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        if self.status == RunStatus::Running && self.retries > 0 {
            self.send_again(self.status_commit, turn);
            return Ok(());
        }
        if !self.status.is_final() || self.status == RunStatus::Succeeded {
            return Err(Rejection::RunStatus(self.status));
        }
        for at in self.start_over() {
            if let Some(row) = self.actions.get_mut(&name_of(at)) {
                row.base = row.attempt;
                row.first_queued = None;
            }
            self.set(at, Stand::Waiting, turn);
        }
        self.retries += 1;
        self.cancelled = None;
        self.deadline = self.sketch.timeout.map(|timeout| turn.now.plus(timeout));
        self.set_status(RunStatus::Running, turn);
        self.follow(turn);
        Ok(())
    }

    /// What was unsuccessful, and whatever needs something that starts over.
    fn start_over(&self) -> BTreeSet<usize> {
        let unsuccessful = |at: &usize| {
            let stand = &self.row(*at).stand;
            stand.failed() || *stand == Stand::Cancelled
        };
        let mut over: BTreeSet<usize> = self.positions().filter(unsuccessful).collect();
        loop {
            let needs_one = |at: &usize| self.sketch.actions[*at].needs.iter().any(|need| over.contains(need));
            let more: BTreeSet<usize> = self.positions().filter(needs_one).filter(|at| !over.contains(at)).collect();
            if more.is_empty() {
                return over;
            }
            over.extend(more);
        }
    }

    fn wake(&mut self, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        match self.status {
            RunStatus::Running | RunStatus::Paused => {
                if self.deadline.is_some_and(|deadline| deadline <= turn.now) {
                    return self.cancel(CancelCause::Deadline, turn);
                }
                for at in self.positions() {
                    self.wake_action(at, turn);
                }
                self.follow(turn);
            }
            RunStatus::Cancelling => self.force(turn),
            RunStatus::Submitted
            | RunStatus::Succeeded
            | RunStatus::SucceededWithFaults
            | RunStatus::Failed
            | RunStatus::TimedOut
            | RunStatus::Cancelled => {}
        }
        Ok(())
    }

    fn wake_action(&mut self, at: usize, turn: &mut Turn<'_>) {
        let sketch = &self.sketch.actions[at];
        match self.row(at).stand.clone() {
            Stand::RetryWaiting { due } if due <= turn.now => self.set(at, Stand::Ready, turn),
            Stand::Queued { since } if sketch.queue_timeout.is_some_and(|span| since.plus(span) <= turn.now) => {
                self.attempt_failed(at, "timeout.queue", Stand::TimedOut, turn);
            }
            Stand::Running { since, .. } => {
                let is_lost = |timeout| since.plus(timeout).plus(Millis(TIMEOUT_MARGIN_MS)) <= turn.now;
                if sketch.timeout.is_some_and(is_lost) {
                    self.attempt_failed(at, "timeout.lost", Stand::TimedOut, turn);
                }
            }
            _ => {}
        }
    }

    fn force(&mut self, turn: &mut Turn<'_>) {
        let Some((cancelled_at, _)) = self.cancelled else { return };
        let waited = turn.now.since(cancelled_at).0;
        for at in self.positions() {
            let patience = match self.row(at).stand {
                Stand::Queued { .. } => CANCEL_GRACE_MS,
                Stand::Running { .. } => CANCEL_FORCE_MS,
                _ => continue,
            };
            if waited >= patience {
                self.set(at, Stand::Cancelled, turn);
            }
        }
        self.follow(turn);
    }

    fn sweep(&mut self, since: Timestamp, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        if self.status == RunStatus::Submitted {
            self.start(turn);
            return Ok(());
        }
        self.wake(turn)?;
        if !matches!(self.status, RunStatus::Running | RunStatus::Paused) {
            return Ok(());
        }
        let is_at_a_mark = |from: Timestamp, first: u64| {
            let marks = (0..30).map(|doubling| from.plus(Millis(first << doubling)));
            marks.into_iter().any(|mark| mark > since && mark <= turn.now)
        };
        // The commit that begins a run is its first: before the second one, nothing has been heard of it.
        if turn.commit <= 2 {
            if self.begun.is_some_and(|begun| is_at_a_mark(begun, RESTART_AFTER_MS)) {
                self.send_again(1, turn);
            }
            return Ok(());
        }
        for at in self.positions() {
            let Stand::Queued { since: queued } = self.row(at).stand else { continue };
            if is_at_a_mark(queued, REISSUE_QUEUED_AFTER_MS) {
                turn.sent.insert((self.newest(at), true));
            }
        }
        Ok(())
    }

    fn report(&mut self, input: &Input, of: ActionAt, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        let at = of.action.as_usize();
        if at >= self.sketch.actions.len() {
            return Err(Rejection::UnknownAction);
        }
        let stand = self.row(at).stand.clone();
        let is_newest = self.newest(at) == of;
        let hears_late = match input {
            Input::Completed { .. } => true,
            Input::DeadLettered { .. } => stand.is_settled(),
            _ => false,
        };
        if self.status.is_final() && !hears_late {
            return Err(if is_newest { Rejection::RunEnded } else { Rejection::Stale });
        }
        match input {
            Input::Started { agent, started_at, .. } => match &stand {
                Stand::Queued { .. } if is_newest => {
                    self.set(at, Stand::Running { since: *started_at, agent: agent.clone() }, turn);
                    Ok(())
                }
                Stand::Running { agent: holder, .. } if is_newest && holder == agent => Ok(()),
                other => Err(refusal(other)),
            },
            Input::Claim { agent, redelivered, .. } => {
                let may = match &stand {
                    Stand::Queued { .. } => true,
                    Stand::Running { .. } => *redelivered,
                    _ => false,
                };
                let row = self.row(at);
                if !may || row.attempt != of.attempt || of.fence > row.fence {
                    return Err(refusal(&stand));
                }
                if self.is_ending() {
                    self.set(at, Stand::Cancelled, turn);
                    self.follow(turn);
                    return Ok(());
                }
                if let Some(row) = self.actions.get_mut(&name_of(at)) {
                    row.fence += 1;
                }
                self.set(at, Stand::Running { since: turn.now, agent: agent.clone() }, turn);
                Ok(())
            }
            Input::Progressed { .. } => match &stand {
                Stand::Running { .. } if is_newest => Ok(()),
                other => Err(refusal(other)),
            },
            Input::Completed { outcome, .. } => self.completed(at, is_newest, outcome, turn),
            Input::DeadLettered { .. } => {
                if stand.is_settled() {
                    self.send_again(self.row(at).commit, turn);
                } else if stand.is_in_flight() && self.row(at).attempt == of.attempt {
                    self.set(at, Stand::Failed, turn);
                    self.follow(turn);
                } else {
                    return Err(Rejection::Stale);
                }
                Ok(())
            }
            Input::Start
            | Input::Cancel { .. }
            | Input::Pause
            | Input::Resume
            | Input::Retry { .. }
            | Input::Wake
            | Input::Sweep { .. } => Ok(()),
        }
    }

    fn completed(
        &mut self,
        at: usize,
        is_newest: bool,
        outcome: &Outcome,
        turn: &mut Turn<'_>,
    ) -> Result<(), Rejection> {
        let stand = self.row(at).stand.clone();
        let is_over = stand.is_settled() && stand != Stand::Skipped || matches!(stand, Stand::RetryWaiting { .. });
        if is_newest && is_over {
            self.send_again(self.row(at).commit, turn);
            return Ok(());
        }
        if !is_newest || !stand.is_in_flight() {
            return Err(refusal(&stand));
        }
        match outcome {
            Outcome::Succeeded { output } => self.set(at, Stand::Succeeded(output.clone()), turn),
            Outcome::Failed { error } => self.attempt_failed(at, &error.kind, Stand::Failed, turn),
            Outcome::TimedOut { error } => self.attempt_failed(at, &error.kind, Stand::TimedOut, turn),
            Outcome::Cancelled if self.is_ending() => self.set(at, Stand::Cancelled, turn),
            Outcome::Cancelled => self.attempt_failed(at, "stopped", Stand::Failed, turn),
        }
        self.follow(turn);
        Ok(())
    }

    fn attempt_failed(&mut self, at: usize, kind: &str, end: Stand, turn: &mut Turn<'_>) {
        let policy = self.sketch.actions[at].retry;
        let row = self.row(at);
        let spent = row.attempt - row.base;
        let growth = 1_u64 << (spent - 1).min(30);
        let delay = policy.delay.0.saturating_mul(growth).min(policy.max_delay.0);
        let due = turn.now.plus(Millis(delay));
        let is_too_old = match (policy.max_age, row.first_queued) {
            (Some(age), Some(first)) => due > first.plus(age),
            _ => false,
        };
        let is_spent = policy.attempts.is_some_and(|most| spent >= most);
        if is_spent || is_too_old || kind == NEVER_RETRIED || self.is_ending() {
            self.set(at, end, turn);
        } else {
            self.set(at, Stand::RetryWaiting { due }, turn);
        }
    }

    /// What that commit queued and nobody has reported since.
    fn send_again(&self, commit: u64, turn: &mut Turn<'_>) {
        for at in self.positions() {
            let row = self.row(at);
            if matches!(row.stand, Stand::Queued { .. }) && row.commit == commit {
                turn.sent.insert((self.newest(at), true));
            }
        }
    }
}

/// Why a report of an action that stands there is not taken.
fn refusal(stand: &Stand) -> Rejection {
    if stand.is_settled() { Rejection::Settled } else { Rejection::Stale }
}
