//! A model of the facts that people can observe of a run: its status, and each action's status, attempts and ends.
//!
//! It follows the promises of SEMANTICS, over a [`Sketch`] instead of a definition. It takes the facts of a run one by
//! one, and says of each whether it may follow. After each input it says whether a fact is missing. It knows nothing of
//! agents, messages and deliveries.

#![expect(clippy::wildcard_enum_match_arm, reason = "a model names the cases that matter")]

use std::collections::BTreeSet;

use windlass_domain::definition::Trigger;
use windlass_domain::retry::is_permanent;
use windlass_domain::run::{ActionStatus, CancelCause, ErrorInfo, Fact, FactKind, Input, RunStatus, SkipReason};
use windlass_domain::time::{Millis, Timestamp};

use crate::sketch::{Given, Sketch, When};

/// A run as people see it.
#[derive(Debug, Clone)]
pub struct Model {
    sketch: Sketch,
    /// Where the run stands.
    pub status: RunStatus,
    /// Where each action stands.
    pub actions: Vec<Row>,
    cause: Option<CancelCause>,
}

/// An action as people see it.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Where it stands.
    pub status: ActionStatus,
    /// The number of its newest attempt.
    pub attempt: u32,
    /// The attempt before the first that counts against its policy.
    base: u32,
    first_queued: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    is_killed: bool,
    /// The attempts that have ended.
    ended: BTreeSet<u32>,
}

type Told = Result<(), String>;

impl Model {
    /// A submitted run.
    pub fn new(sketch: &Sketch) -> Self {
        let actions = vec![Row::default(); sketch.actions.len()];
        Self { sketch: sketch.clone(), status: RunStatus::Submitted, actions, cause: None }
    }

    /// Follows one fact.
    ///
    /// # Errors
    /// If it may not follow.
    pub fn follow(&mut self, fact: &Fact) -> Told {
        let Some(of) = fact.kind.about() else { return self.of_run(fact) };
        let (at, status) = (of.action.as_usize(), self.actions[of.action.as_usize()].status);
        let waits = matches!(status, ActionStatus::Waiting | ActionStatus::RetryWaiting);
        let fits = match &fact.kind {
            FactKind::ActionQueued { .. } => {
                let is_next = of.attempt == self.actions[at].attempt + 1;
                let is_due = self.actions[at].retry_at.is_none_or(|due| due <= fact.at);
                waits && is_next && is_due && self.may_begin(at) && self.sketch.actions[at].given != Given::Broken
            }
            FactKind::ActionReady { .. } => waits && self.may_begin(at),
            FactKind::ActionSkipped { reason, .. } => waits && self.skips(at) == Some(*reason),
            FactKind::ActionSucceeded { .. } => self.ends(at, of.attempt),
            FactKind::ActionRetrying { error, retry_at, .. } => {
                self.ends(at, of.attempt) && self.retry_of(at, error, fact.at) == Some(*retry_at)
            }
            FactKind::ActionFailed { error, .. } | FactKind::ActionTimedOut { error, .. } if status.is_in_flight() => {
                self.ends(at, of.attempt) && self.retry_of(at, error, fact.at).is_none()
            }
            FactKind::ActionFailed { .. } => waits && self.is_broken(at),
            FactKind::ActionCancelled { .. } => {
                !status.is_settled() && (self.status == RunStatus::Cancelling || self.actions[at].is_killed)
            }
            FactKind::ActionCancelling { .. } => !status.is_settled() && !self.actions[at].is_killed,
            FactKind::ActionNotLost { .. } => true,
            _ => status.is_in_flight() && of.attempt == self.actions[at].attempt,
        };
        self.change(at, fact);
        if fits { Ok(()) } else { Err(format!("{fact:?} of {:?} in {:?}", self.actions[at], self.status)) }
    }

    fn change(&mut self, at: usize, fact: &Fact) {
        let row = &mut self.actions[at];
        let next = match &fact.kind {
            FactKind::ActionQueued { .. } => {
                row.attempt += 1;
                row.first_queued.get_or_insert(fact.at);
                ActionStatus::Queued
            }
            FactKind::ActionReady { .. } => ActionStatus::Waiting,
            FactKind::ActionStarted { .. } => ActionStatus::Running,
            FactKind::ActionHandedBack { .. } | FactKind::ActionLapsed { .. } => ActionStatus::Queued,
            FactKind::ActionSucceeded { .. } => ActionStatus::Succeeded,
            FactKind::ActionRetrying { .. } => ActionStatus::RetryWaiting,
            FactKind::ActionFailed { .. } => ActionStatus::Failed,
            FactKind::ActionTimedOut { .. } => ActionStatus::TimedOut,
            FactKind::ActionSkipped { .. } => ActionStatus::Skipped,
            FactKind::ActionCancelled { .. } => ActionStatus::Cancelled,
            _ => row.status,
        };
        if row.status.is_in_flight() && !next.is_in_flight() {
            row.ended.insert(row.attempt);
        }
        row.is_killed |= matches!(fact.kind, FactKind::ActionCancelling { .. });
        if let FactKind::ActionRetrying { retry_at, .. } = &fact.kind {
            row.retry_at = Some(*retry_at);
        }
        row.status = next;
    }

    fn of_run(&mut self, fact: &Fact) -> Told {
        let was = self.status;
        let (fits, next) = match &fact.kind {
            FactKind::RunStarted { .. } => (was == RunStatus::Submitted, RunStatus::Running),
            FactKind::RunPaused { .. } => (was == RunStatus::Running, RunStatus::Paused),
            FactKind::RunResumed { .. } => (was == RunStatus::Paused, RunStatus::Running),
            FactKind::RunCancelling { cause, .. } => {
                self.cause = Some(*cause);
                (!was.is_final() && was != RunStatus::Cancelling, RunStatus::Cancelling)
            }
            FactKind::RunRetried { actions, .. } => {
                let again: BTreeSet<usize> = actions.iter().map(|action| action.as_usize()).collect();
                let fits = was.is_final() && was != RunStatus::Succeeded && again == self.unsuccessful();
                for at in again {
                    let row = &mut self.actions[at];
                    let (attempt, ended) = (row.attempt, std::mem::take(&mut row.ended));
                    *row = Row { attempt, base: attempt, ended, ..Row::default() };
                }
                self.cause = None;
                (fits, RunStatus::Running)
            }
            FactKind::RunFinished { status, .. } => (!was.is_final() && *status == self.verdict(), *status),
            _ => (true, was),
        };
        self.status = next;
        if fits { Ok(()) } else { Err(format!("{fact:?} of a run that is {was:?}")) }
    }

    /// Whether all necessary effects of an input have followed.
    ///
    /// # Errors
    /// If something is missing.
    pub fn check_whole(&self, input: &Input, now: Timestamp) -> Told {
        let is_over = self.actions.iter().all(|row| row.status.is_settled());
        if is_over != self.status.is_final() {
            return Err(format!("the run is {:?}, and its actions are {:?}", self.status, self.actions));
        }
        let is_swept = matches!(input, Input::Sweep);
        for (at, row) in self.actions.iter().enumerate().filter(|_| self.status.goes_on()) {
            let is_decided = self.skips(at).is_some() || self.condition(at).is_none() && self.trigger(at) == Some(true);
            let is_late = is_swept && row.retry_at.is_some_and(|due| due <= now);
            let waits = row.status == ActionStatus::Waiting && is_decided;
            if waits || row.status == ActionStatus::RetryWaiting && is_late {
                return Err(format!("nothing follows for action {at}: {row:?}"));
            }
        }
        Ok(())
    }

    /// Whether that attempt ends for the first time.
    fn ends(&self, at: usize, attempt: u32) -> bool {
        let row = &self.actions[at];
        row.status.is_in_flight() && row.attempt == attempt && !row.ended.contains(&attempt)
    }

    /// When the next attempt is due after an attempt failed so; none: there is none.
    fn retry_of(&self, at: usize, error: &ErrorInfo, now: Timestamp) -> Option<Timestamp> {
        let (row, policy) = (&self.actions[at], self.sketch.actions[at].retry);
        let spent = row.attempt - row.base;
        let is_spent = policy.attempts.is_some_and(|most| spent >= most);
        let stops = self.status == RunStatus::Cancelling || row.is_killed;
        if is_spent || stops || is_permanent(&error.kind) {
            return None;
        }
        let doubled = policy.delay.0.saturating_mul(2_u64.saturating_pow(spent - 1));
        let due = now.plus(Millis(doubled.min(policy.max_delay.0)));
        let latest = policy.max_age.and_then(|age| Some(row.first_queued?.plus(age)));
        latest.is_none_or(|latest| due <= latest).then_some(due)
    }

    fn may_begin(&self, at: usize) -> bool {
        self.trigger(at) == Some(true) && self.condition(at) == Some(true)
    }

    fn is_broken(&self, at: usize) -> bool {
        self.trigger(at) == Some(true)
            && (self.condition(at).is_none() || self.sketch.actions[at].given == Given::Broken)
    }

    /// Why an action is skipped, if it is.
    fn skips(&self, at: usize) -> Option<SkipReason> {
        match (self.trigger(at)?, self.condition(at)) {
            (false, _) => Some(SkipReason::Trigger),
            (true, Some(false)) => Some(SkipReason::Condition),
            (true, _) => None,
        }
    }

    /// Whether the condition holds; none: it has no value that is true or false.
    fn condition(&self, at: usize) -> Option<bool> {
        match self.sketch.actions[at].when {
            When::Always | When::True => Some(true),
            When::False => Some(false),
            When::Succeeded(need) => Some(self.actions[need].status == ActionStatus::Succeeded),
            When::Broken | When::Number => None,
        }
    }

    /// Whether the trigger holds; none: that cannot be said yet.
    fn trigger(&self, at: usize) -> Option<bool> {
        let sketch = &self.sketch.actions[at];
        let needs: Vec<(ActionStatus, bool)> =
            sketch.needs.iter().map(|at| (self.actions[*at].status, self.sketch.actions[*at].allow_failure)).collect();
        let all_settled = needs.iter().all(|(status, _)| status.is_settled());
        let any = |is_it: &dyn Fn(ActionStatus, bool) -> bool| needs.iter().any(|(status, may)| is_it(*status, *may));
        let failed = |status: ActionStatus| status.is_failure() || status == ActionStatus::Cancelled;
        let (at_once, in_the_end) = match sketch.trigger {
            Trigger::AllSucceeded => {
                let spoils = any(&|status, may| status == ActionStatus::Skipped || failed(status) && !may);
                (spoils.then_some(false), true)
            }
            Trigger::AllDone => (None, true),
            Trigger::AnySucceeded => (any(&|status, _| status == ActionStatus::Succeeded).then_some(true), false),
            Trigger::AnyFailed => (any(&|status, _| failed(status)).then_some(true), false),
            Trigger::NoneFailed => (any(&|status, may| failed(status) && !may).then_some(false), true),
        };
        at_once.or(all_settled.then_some(in_the_end || needs.is_empty()))
    }

    /// The actions that did not succeed, and all their dependents.
    fn unsuccessful(&self) -> BTreeSet<usize> {
        let is_seed = |row: &Row| row.status.is_failure() || row.status == ActionStatus::Cancelled;
        let mut again: BTreeSet<usize> = (0..self.actions.len()).filter(|at| is_seed(&self.actions[*at])).collect();
        loop {
            let needs_one = |at: &usize| self.sketch.actions[*at].needs.iter().any(|need| again.contains(need));
            let more: BTreeSet<usize> = (0..self.actions.len()).filter(needs_one).collect();
            if more.is_subset(&again) {
                return again;
            }
            again.extend(more);
        }
    }

    fn verdict(&self) -> RunStatus {
        let failed = |allowed: bool| {
            let is_fault =
                |row: &Row| row.status.is_failure() || row.status == ActionStatus::Cancelled && row.is_killed;
            let rows = self.actions.iter().zip(&self.sketch.actions);
            rows.into_iter().any(|(row, sketch)| is_fault(row) && sketch.allow_failure == allowed)
        };
        match self.cause {
            Some(CancelCause::Deadline) => RunStatus::TimedOut,
            Some(CancelCause::Request | CancelCause::Overlap) => RunStatus::Cancelled,
            None if failed(false) || self.sketch.output == Given::Broken => RunStatus::Failed,
            None if failed(true) => RunStatus::SucceededWithFaults,
            None => RunStatus::Succeeded,
        }
    }
}
