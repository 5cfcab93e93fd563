//! Invariants of one change: the record before, the inputs, the decision.

use super::given::{Given, Step};
use super::ownership::{ends, hands_back, is_newest, lapses, leases, loses, owns, saves};
use super::{
    Holds, SG7, SG8, SG13, SG20, SG21, SG22, SG23, SG24, SG28, SG29, SG30, SG31, SG32, SG33, SG34, SG35, SG36, SG37,
    SG38, Violation, goes_on, sends, trigger_holds,
};
use crate::attempt::ActionStatus;
use crate::caller::Caller;
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::limits::{MAX_EXPRESSION_WORK, MAX_STEP_WORK, REISSUE_QUEUED_AFTER_MS};
use crate::run::{ActionAt, CancelCause, Change, Command, Fact, FactKind, Input, Origin, Phase, Run, RunStatus, apply};
use crate::time::{Millis, Timestamp};

/// Every invariant that the change breaks. The change of a refused input may have facts, too.
pub fn check_step(definition: &Definition, before: &Run, given: Given<'_>, change: &Change) -> Vec<Violation> {
    let mut step = Step { definition, before, given, change, found: Vec::new() };
    let mut run = before.clone();
    for fact in &change.facts {
        step.fact(&run, fact);
        apply(&mut run, fact);
    }
    step.result(run);
    step.actions();
    step.wake();
    step.left();
    step.end();
    step.stamps();
    sends::check(&mut step);
    step.found
}

/// Whether the action could be taken up, or be skipped for its condition.
fn is_left(definition: &Definition, run: &Run, action: ActionIndex, now: Timestamp) -> bool {
    let state = run.action(action);
    if state.status != ActionStatus::Waiting || !goes_on(run.status) {
        return false;
    }
    let has_room = definition.max_parallel.is_none_or(|most| run.in_flight < most);
    let has_time = run.deadline.is_none_or(|deadline| now < deadline);
    let may_be_queued = run.status == RunStatus::Running && has_room && has_time;
    if state.ready { may_be_queued } else { trigger_holds(definition, run, action) == Holds::Yes }
}

impl Step<'_> {
    /// `run` is the record as it stood before this very fact.
    fn fact(&mut self, run: &Run, fact: &Fact) {
        let of_action = |of: &ActionAt| format!("{fact:?} while {:?}", run.action(of.action));
        match &fact.kind {
            FactKind::ActionQueued { of, .. } => self.queued(run, fact, *of),
            FactKind::ActionSucceeded { of, .. }
            | FactKind::ActionRetrying { of, .. }
            | FactKind::ActionFailed { of, .. }
            | FactKind::ActionTimedOut { of, .. } => self.holds(SG28, ends(self, run, *of, fact), || of_action(of)),
            FactKind::ActionCancelled { of, error, .. } => {
                self.holds(SG28, ends(self, run, *of, fact), || of_action(of));
                let is_killed = run.action(of.action).kill.is_some();
                let fits = error.is_some() == is_killed && (is_killed || run.status == RunStatus::Cancelling);
                self.holds(SG34, fits, || of_action(of));
            }
            FactKind::ActionStarted { of, .. } => {
                let invariant = if matches!(self.given.input, Input::Claim { .. }) { SG33 } else { SG28 };
                self.holds(invariant, owns(self, run, *of, fact), || of_action(of));
            }
            FactKind::ActionProgressed { of, .. } | FactKind::ActionCheckpointed { of, .. } => {
                self.holds(SG32, saves(self, run, *of, fact), || of_action(of));
            }
            FactKind::ActionUnserved { of, .. } => {
                let state = run.action(of.action);
                let is_new = state.status == ActionStatus::Queued && state.unserved.is_none();
                self.holds(SG28, is_new && is_newest(run, *of), || of_action(of));
            }
            FactKind::ActionHandedBack { of, issue } => {
                self.holds(SG32, hands_back(self, run, *of, *issue), || of_action(of));
            }
            FactKind::ActionLeased { of, until, renewal } => {
                self.holds(SG36, leases(self, run, *of, (*until, *renewal)), || of_action(of));
            }
            FactKind::ActionLapsed { of } => self.holds(SG36, lapses(self, run, *of), || of_action(of)),
            FactKind::ActionLost { of, delivery } => {
                self.holds(SG33, loses(self, run, *of, *delivery), || of_action(of));
            }
            FactKind::ActionNotLost { of, delivery } => {
                let was_lost = run.action(of.action).losses.contains(delivery);
                self.holds(SG33, was_lost && !self.reports_of(of.action).is_empty(), || of_action(of));
            }
            FactKind::ActionCancelling { of, caller, .. } => self.killed(run, *of, caller),
            FactKind::ActionReady { action } | FactKind::ActionSkipped { action, .. } => {
                let state = run.action(*action);
                let waits = matches!(state.status, ActionStatus::Waiting | ActionStatus::RetryWaiting) && !state.ready;
                self.holds(SG22, waits, || format!("{fact:?} while {state:?}"));
            }
            FactKind::RunStarted { .. }
            | FactKind::RunPaused { .. }
            | FactKind::RunResumed { .. }
            | FactKind::RunCancelling { .. }
            | FactKind::RunRetried { .. }
            | FactKind::RunFinished { .. } => self.of_run(run, fact),
        }
    }

    fn queued(&mut self, run: &Run, fact: &Fact, of: ActionAt) {
        let state = run.action(of.action);
        let has_room = self.definition.max_parallel.is_none_or(|most| run.in_flight < most);
        let has_time = run.deadline.is_none_or(|deadline| fact.at < deadline);
        let holds = trigger_holds(self.definition, run, of.action) == Holds::Yes;
        let was_waiting = matches!(state.status, ActionStatus::Waiting | ActionStatus::RetryWaiting);
        let fits = run.status == RunStatus::Running && has_room && has_time && holds && was_waiting;
        self.holds(SG24, fits, || {
            let (status, deadline) = (run.status, run.deadline);
            format!("{of:?} queued at {} ({status:?}, room {has_room}, deadline {deadline:?}, {holds})", fact.at)
        });
        self.holds(SG23, of.attempt == state.last.attempt + 1, || format!("{of:?} after {state:?}"));
    }

    fn killed(&mut self, run: &Run, of: ActionAt, caller: &Caller) {
        let state = run.action(of.action);
        let is_asked = if let Input::Kill { action, retries, .. } = self.given.input {
            *action == of.action && *retries == run.retries && caller == self.given.caller
        } else {
            false
        };
        let fits = is_asked && goes_on(run.status) && !state.status.is_settled() && state.kill.is_none();
        self.holds(SG34, fits && is_newest(run, of), || format!("{of:?} killed while {state:?}"));
    }

    fn of_run(&mut self, run: &Run, fact: &Fact) {
        let asked_by = |caller: &Caller| caller == self.given.caller;
        let (invariant, fits) = match (&fact.kind, self.given.input) {
            (FactKind::RunStarted { .. }, input) => {
                (SG21, run.status == RunStatus::Submitted && matches!(input, Input::Start | Input::Sweep))
            }
            (FactKind::RunPaused { number, caller }, Input::Pause { pauses, retries }) => {
                let knew = (*pauses, *retries) == (run.pauses, run.retries) && asked_by(caller);
                (SG35, knew && run.status == RunStatus::Running && *number == run.pauses + 1)
            }
            (FactKind::RunResumed { number, caller }, Input::Resume { pauses }) => {
                let knew = *pauses == run.pauses && asked_by(caller);
                (SG35, knew && run.status == RunStatus::Paused && *number == run.pauses)
            }
            (FactKind::RunPaused { .. } | FactKind::RunResumed { .. }, _) => (SG35, false),
            (FactKind::RunCancelling { cause, caller, .. }, Input::Cancel { cause: asked, retries, .. }) => {
                (SG31, cause == asked && *retries == run.retries && asked_by(caller))
            }
            (FactKind::RunCancelling { cause, .. }, _) => (SG31, *cause == CancelCause::Deadline),
            (FactKind::RunRetried { caller, .. }, _) => (SG21, self.is_retry() && asked_by(caller)),
            (FactKind::RunFinished { status, .. }, _) => (SG29, status.is_final() && run.open == 0),
            (_, _) => (SG20, true),
        };
        self.holds(invariant, fits, || format!("{fact:?} while {:?}, paused {} times", run.status, run.pauses));
    }

    fn result(&mut self, mut folded: Run) {
        let decided = &self.change.after;
        folded.wake_at = decided.wake_at;
        self.holds(SG20, folded == *decided, || "the record is not what its facts make of it".into());
        let changes = !self.change.facts.is_empty();
        self.holds(SG21, !changes || !self.before.status.is_final() || self.is_retry(), || {
            format!("{:?} changed by {:?}", self.before.status, self.change.facts)
        });
        if !changes {
            let mut same = self.before.clone();
            same.wake_at = decided.wake_at;
            self.holds(SG30, same == *decided, || "the record changed without a fact".into());
        }
    }

    fn is_retry(&self) -> bool {
        matches!(self.given.input, Input::Retry { retries } if *retries == self.before.retries)
    }

    fn actions(&mut self) {
        for action in self.definition.indexes() {
            let (old, new) = (self.before.action(action), self.change.after.action(action));
            let is_kept = !old.status.is_settled() || self.is_retry() || old == new;
            self.holds(SG22, is_kept, || format!("{action:?}: {old:?} became {new:?}"));
            let number = (new.last.attempt).checked_sub(old.last.attempt);
            let fence = new.fence.checked_sub(old.fence);
            let most = self.reports_of(action).len().max(1) as u64;
            let is_above = new.last >= old.last || self.is_retry();
            let in_order = number.is_some_and(|by| by <= 1) && fence.is_some_and(|by| by <= most) && is_above;
            self.holds(SG23, in_order, || format!("{action:?}: {old:?} became {new:?}"));
        }
    }

    /// The sweeper resends a queued attempt that has waited for 10 minutes, 20, 40 and so on. So the run's wake is no
    /// later than the next of these times.
    fn wake(&mut self) {
        let run = &self.change.after;
        if self.change.facts.is_empty() && run.wake_at == self.before.wake_at || !goes_on(run.status) {
            return;
        }
        for action in self.definition.indexes() {
            let state = run.action(action);
            if state.status != ActionStatus::Queued || state.kill.is_some() {
                continue;
            }
            let lapsed_at = state.owner.as_ref().and_then(|owner| owner.until);
            let Some(since) = state.queued_at.max(lapsed_at) else { continue };
            let mut mark = REISSUE_QUEUED_AFTER_MS;
            while since.plus(Millis(mark)) <= self.given.now {
                mark *= 2;
            }
            let at = since.plus(Millis(mark));
            let is_awake = run.wake_at.is_some_and(|wake| wake <= at);
            self.holds(SG13, is_awake, || format!("{action:?} is sent again at {at}, the run wakes {:?}", run.wake_at));
        }
    }

    /// What could be taken up is left only for want of work, and the run wakes at once for it.
    fn left(&mut self) {
        let (now, evaluated) = (self.given.now, self.change.evaluated);
        // A sweep does all that was due at one instant.
        let is_within = evaluated <= MAX_STEP_WORK || matches!(self.given.input, Input::Sweep);
        self.holds(SG38, is_within, || format!("{evaluated} values"));
        let is_awake = self.change.after.wake_at.is_some_and(|at| at <= now);
        let is_near = evaluated > MAX_STEP_WORK - 2 * MAX_EXPRESSION_WORK;
        for action in self.definition.indexes() {
            let [was_left, is_left] =
                [self.before, &self.change.after].map(|run| is_left(self.definition, run, action, now));
            let invariant = if self.change.after.action(action).ready { SG8 } else { SG7 };
            self.holds(invariant, !is_left || is_awake, || format!("{action:?} is left, and the run does not wake"));
            self.holds(SG38, !is_left || was_left || is_near, || format!("{action:?} is left after {evaluated}"));
        }
    }

    fn end(&mut self) {
        let facts = &self.change.facts;
        let is_end = |fact: &Fact| matches!(fact.kind, FactKind::RunFinished { .. });
        let ends = facts.iter().filter(|fact| is_end(fact)).count();
        let is_last = facts.last().is_some_and(is_end);
        self.holds(SG29, ends <= 1 && (ends == 1) == is_last, || format!("{ends} ends in {facts:?}"));
        let said = self.change.commands.iter().filter(|command| matches!(command, Command::Ended)).count();
        let is_scheduled = matches!(self.before.origin, Origin::Schedule { .. });
        let is_due = ends == 1 && is_scheduled;
        let is_allowed = is_scheduled && self.change.after.status.phase() == Phase::Ended;
        let fits = if is_due { said == 1 } else { said == 0 || said == 1 && is_allowed };
        self.holds(SG29, fits, || format!("said {said} times that the run has ended, with {ends} ends"));
    }

    /// The stamps of the record show the effects of a commit.
    fn stamps(&mut self) {
        let (run, next) = (&self.change.after, self.before.revision + 1);
        let sources = self.given.input.sources();
        for fact in &self.change.facts {
            let stamp = match &fact.kind {
                FactKind::ActionProgressed { .. }
                | FactKind::ActionCheckpointed { .. }
                | FactKind::ActionLeased { .. }
                | FactKind::ActionLost { .. }
                | FactKind::ActionNotLost { .. } => next,
                FactKind::ActionCancelling { of, .. } => {
                    run.action(of.action).kill.as_ref().map_or(0, |by| by.revision)
                }
                FactKind::ActionUnserved { of, .. } => {
                    let state = run.action(of.action);
                    state.unserved.map_or(state.revision, |unserved| unserved.revision)
                }
                FactKind::RunStarted { .. } => run.start_revision,
                FactKind::RunPaused { .. }
                | FactKind::RunResumed { .. }
                | FactKind::RunCancelling { .. }
                | FactKind::RunRetried { .. }
                | FactKind::RunFinished { .. }
                | FactKind::ActionReady { .. }
                | FactKind::ActionQueued { .. }
                | FactKind::ActionStarted { .. }
                | FactKind::ActionLapsed { .. }
                | FactKind::ActionHandedBack { .. }
                | FactKind::ActionSucceeded { .. }
                | FactKind::ActionRetrying { .. }
                | FactKind::ActionFailed { .. }
                | FactKind::ActionTimedOut { .. }
                | FactKind::ActionSkipped { .. }
                | FactKind::ActionCancelled { .. } => {
                    fact.kind.about().map_or(run.status_revision, |of| run.action(of.action).revision)
                }
            };
            self.holds(SG37, stamp == next, || format!("{fact:?} is stamped with {stamp}, not {next}"));
            self.holds(SG37, sources.contains(&fact.source), || format!("{fact:?} is of none of {sources:?}"));
        }
    }
}
