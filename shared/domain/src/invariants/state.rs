//! Invariants of a record as it stands.

use super::{
    Holds, Invariant, SG1, SG2, SG3, SG4, SG5, SG6, SG7, SG8, SG9, SG10, SG11, SG12, SG13, SG14, SG15, SG16, SG17,
    SG18, SG19, SG34, Violation, goes_on, trigger_holds, violated,
};
use crate::attempt::{ActionState, ActionStatus, Owner};
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::limits::{
    CANCEL_FORCE_MS, CANCEL_GRACE_MS, MAX_LOSSES, START_AGAIN_AFTER_MS, TIMEOUT_MARGIN_MS, UNLEASED_MS,
};
use crate::retry::Attempts;
use crate::run::{CancelCause, Run, RunStatus, check_checkpoint};
use crate::time::{Millis, Timestamp};

/// Every invariant of the record that does not hold.
pub fn check(definition: &Definition, run: &Run) -> Vec<Violation> {
    let mut look = Look { definition, run, found: Vec::new() };
    let (expected, actual) = (definition.actions.len(), run.actions.len());
    if !look.holds(SG1, expected == actual, || format!("{actual} actions instead of {expected}")) {
        return look.found;
    }
    look.counters();
    look.status();
    look.liveness();
    for action in definition.indexes() {
        look.trigger(action);
        look.attempts(action);
        look.fields(action);
        look.kept(action);
        look.run_of(action);
    }
    look.found
}

/// The earliest time at which time alone changes the run, computed from every action. The marks at which the sweeper
/// resends a queued attempt depend on the last resend: [`super::check_step`] judges these.
fn earliest_timer(definition: &Definition, run: &Run) -> Option<Timestamp> {
    if run.status == RunStatus::Submitted {
        return Some(run.submitted_at.plus(Millis(START_AGAIN_AFTER_MS)));
    }
    let deadline = run.deadline.filter(|_| goes_on(run.status));
    definition.indexes().filter_map(|action| timer_of(definition, run, action)).chain(deadline).min()
}

fn timer_of(definition: &Definition, run: &Run, action: ActionIndex) -> Option<Timestamp> {
    let (author, state) = (definition.action(action), run.action(action));
    let asked_at = if run.status == RunStatus::Cancelling {
        run.cancellation.as_ref().map(|cancellation| cancellation.at)
    } else {
        state.kill.as_ref().map(|kill| kill.at)
    };
    let until = state.owner.as_ref().and_then(|owner| owner.until);
    match (state.status, asked_at) {
        (ActionStatus::Queued, Some(at)) => Some(at.plus(Millis(CANCEL_GRACE_MS))),
        (ActionStatus::Running, Some(at)) => Some(at.plus(Millis(CANCEL_FORCE_MS))).max(until),
        (ActionStatus::Queued, None) => {
            let most = author.queue_timeout.filter(|_| state.owner.is_none() && state.last.is_of_none());
            Some(state.queued_at?.plus(most?))
        }
        (ActionStatus::Running, None) => {
            let since = state.owner.as_ref()?.since;
            let given_up = author.timeout.map(|timeout| since.plus(timeout).plus(Millis(TIMEOUT_MARGIN_MS)));
            let lapses = until.unwrap_or(since.plus(Millis(UNLEASED_MS)));
            given_up.into_iter().chain([lapses]).min()
        }
        (ActionStatus::RetryWaiting, _) => state.retry_at,
        _ => None,
    }
}

struct Look<'a> {
    definition: &'a Definition,
    run: &'a Run,
    found: Vec<Violation>,
}

impl Look<'_> {
    fn holds(&mut self, invariant: Invariant, holds: bool, detail: impl FnOnce() -> String) -> bool {
        if !holds {
            self.found.push(violated(invariant, detail()));
        }
        holds
    }

    fn of_action(&mut self, invariant: Invariant, action: ActionIndex, holds: bool, what: &str) {
        if !holds {
            let (name, state) = (&self.definition.action(action).name, self.run.action(action));
            self.found.push(violated(invariant, format!("`{name}`: {what}; run {:?}, {state:?}", self.run.status)));
        }
    }

    fn counters(&mut self) {
        let run = self.run;
        let count = |of: &dyn Fn(ActionIndex, &ActionState) -> bool| {
            let counted = self.definition.indexes().filter(|action| of(*action, run.action(*action)));
            u32::try_from(counted.count()).unwrap_or(u32::MAX)
        };
        let allowed = |action: ActionIndex| self.definition.action(action).allow_failure;
        let is_fault = |state: &ActionState| {
            state.status.is_failure() || state.status == ActionStatus::Cancelled && state.kill.is_some()
        };
        let counted = [
            ("open", run.open, count(&|_, state| !state.status.is_settled())),
            ("in_flight", run.in_flight, count(&|_, state| state.status.is_in_flight())),
            ("ready", run.ready, count(&|_, state| state.ready)),
            ("failed", run.failed, count(&|action, state| is_fault(state) && !allowed(action))),
            ("faults", run.faults, count(&|action, state| is_fault(state) && allowed(action))),
        ];
        for (name, says, is) in counted {
            self.holds(SG2, says == is, || format!("{name} says {says}, the actions {is}"));
        }
        if let Some(most) = self.definition.max_parallel {
            self.holds(SG3, run.in_flight <= most, || format!("{} of at most {most}", run.in_flight));
        }
    }

    fn status(&mut self) {
        let run = self.run;
        let is_final = run.status.is_final();
        let consistent = is_final == (run.open == 0)
            && is_final == run.finished_at.is_some()
            && (!is_final || run.wake_at.is_none())
            && (is_final || run.output.is_none() && run.error.is_none());
        self.holds(SG4, consistent, || {
            let (open, end, wake) = (run.open, run.finished_at, run.wake_at);
            format!("{:?} with {open} open, end {end:?}, wake_at {wake:?}", run.status)
        });
        let cause = run.cancellation.as_ref().map(|cancellation| cancellation.cause);
        let agrees = match run.status {
            RunStatus::Submitted => cause.is_none() && run.started_at.is_none() && run.start_revision == 0,
            RunStatus::Running | RunStatus::Paused => cause.is_none() && run.started_at.is_some(),
            RunStatus::Cancelling => cause.is_some(),
            RunStatus::Succeeded => cause.is_none() && run.failed == 0 && run.faults == 0 && run.error.is_none(),
            RunStatus::SucceededWithFaults => cause.is_none() && run.failed == 0 && run.faults > 0,
            RunStatus::Failed => cause.is_none() && run.error.is_some() && run.output.is_none(),
            RunStatus::TimedOut => cause == Some(CancelCause::Deadline) && run.deadline.is_some(),
            RunStatus::Cancelled => matches!(cause, Some(CancelCause::Request | CancelCause::Overlap)),
        };
        self.holds(SG14, agrees, || {
            format!("{:?} with cause {cause:?}, {} failed, {} faults", run.status, run.failed, run.faults)
        });
        let next = run.revision + 1;
        let of_action = |state: &ActionState| {
            let kill = state.kill.as_ref().map_or(0, |kill| kill.revision);
            let unserved = state.unserved.map_or(0, |unserved| unserved.revision);
            state.revision.max(kill).max(unserved)
        };
        let of_run = [run.status_revision, run.start_revision];
        let latest = run.actions.iter().map(of_action).chain(of_run).max();
        self.holds(SG15, latest <= Some(next), || format!("{latest:?} after {}", run.revision));
    }

    fn liveness(&mut self) {
        let run = self.run;
        let is_awaited = run.in_flight > 0 || run.wake_at.is_some();
        let lives = match run.status {
            RunStatus::Running => is_awaited,
            RunStatus::Cancelling | RunStatus::Submitted => run.wake_at.is_some(),
            RunStatus::Paused
            | RunStatus::Succeeded
            | RunStatus::SucceededWithFaults
            | RunStatus::Failed
            | RunStatus::TimedOut
            | RunStatus::Cancelled => true,
        };
        self.holds(SG12, lives, || format!("{:?} with {} in flight and no timer", run.status, run.in_flight));
        let earliest = earliest_timer(self.definition, run);
        let in_time = earliest.is_none_or(|earliest| run.wake_at.is_some_and(|wake| wake <= earliest));
        self.holds(SG13, in_time, || format!("wake_at {:?}, the earliest timer {earliest:?}", run.wake_at));
        let is_full = self.definition.max_parallel.is_some_and(|most| run.in_flight >= most);
        let has_room = run.status == RunStatus::Running && run.ready > 0 && !is_full;
        let is_idle = has_room && run.deadline.is_none() && run.wake_at.is_none();
        self.holds(SG8, !is_idle, || format!("{} ready, {} in flight", run.ready, run.in_flight));
    }

    fn trigger(&mut self, action: ActionIndex) {
        let state = self.run.action(action);
        let holds = trigger_holds(self.definition, self.run, action);
        let is_taken_up = state.ready || state.status.is_in_flight() || state.status == ActionStatus::RetryWaiting;
        self.of_action(SG5, action, !is_taken_up || holds == Holds::Yes, "its trigger does not hold");
        let is_waiting = state.status == ActionStatus::Waiting && !state.ready;
        let is_left = holds == Holds::Yes && self.run.wake_at.is_some();
        let is_overlooked = goes_on(self.run.status) && is_waiting && holds != Holds::NotYet && !is_left;
        let is_hidden = state.ready && action.0 < self.run.ready_from;
        self.of_action(SG16, action, !is_hidden, &format!("it is ready before {}", self.run.ready_from));
        self.of_action(SG7, action, !is_overlooked, &format!("it waits, but its trigger says {holds:?}"));
    }

    fn attempts(&mut self, action: ActionIndex) {
        let state = self.run.action(action);
        let attempt = state.last.attempt;
        let within = match self.definition.action(action).retry.attempts {
            Attempts::Limited(most) => attempt - state.attempt_base.min(attempt) <= most,
            Attempts::Forever => true,
        };
        self.of_action(SG9, action, within, "it has had more attempts than its policy allows");
        let numbered = state.attempt_base <= attempt && u64::from(attempt) <= state.fence && state.fence <= 1 << 53;
        self.of_action(SG9, action, numbered, "its numbers are out of order");
        let owner = state.owner.as_ref();
        let belongs = match state.status {
            ActionStatus::Running => owner.is_some(),
            ActionStatus::Queued => owner.is_none_or(|owner| owner.until.is_some()),
            ActionStatus::Waiting
            | ActionStatus::RetryWaiting
            | ActionStatus::Succeeded
            | ActionStatus::Failed
            | ActionStatus::TimedOut
            | ActionStatus::Skipped
            | ActionStatus::Cancelled => owner.is_none_or(|owner| owner.until.is_none()),
        };
        let is_of_end = |owner: &Owner| owner.since.as_millis() == 0 && !state.status.is_in_flight();
        let in_time = owner.is_none_or(|owner| owner.started_at <= owner.since || is_of_end(owner));
        self.of_action(SG19, action, belongs && in_time, "its owner does not belong to its status");
    }

    fn fields(&mut self, action: ActionIndex) {
        let state = self.run.action(action);
        let status = state.status;
        let fields = [
            ("ready", status == ActionStatus::Waiting || !state.ready),
            ("retry_at", (status == ActionStatus::RetryWaiting) == state.retry_at.is_some()),
            ("finished_at", status.is_settled() == state.finished_at.is_some()),
            ("queued_at", !status.is_in_flight() || state.queued_at.is_some() && state.first_queued_at.is_some()),
            ("unserved", status == ActionStatus::Queued || state.unserved.is_none()),
            ("last", !status.is_in_flight() || state.last.attempt > state.attempt_base),
            ("output", (status == ActionStatus::Succeeded) == state.output.is_some()),
            ("error", !(status.is_failure() || status == ActionStatus::RetryWaiting) || state.error.is_some()),
        ];
        for (name, fits) in fields {
            self.of_action(SG10, action, fits, &format!("`{name}` does not belong to its status"));
        }
    }

    fn kept(&mut self, action: ActionIndex) {
        let state = self.run.action(action);
        let fits = match &state.checkpoint {
            Some(checkpoint) => !state.status.is_settled() && check_checkpoint(checkpoint).is_ok(),
            None => true,
        };
        self.of_action(SG17, action, fits, "it keeps a checkpoint that it should not");
        let losses = &state.losses;
        let in_order =
            losses.is_sorted_by(|one, next| one < next) && losses.last().is_none_or(|lost| *lost < state.last);
        let few = losses.len() < MAX_LOSSES && (losses.is_empty() || !state.status.is_settled());
        self.of_action(SG18, action, in_order && few, "it keeps losses that it should not");
    }

    fn run_of(&mut self, action: ActionIndex) {
        let (run, state) = (self.run, self.run.action(action));
        // A completion that was faster than the kill stands; a retry that came of it does not.
        let is_over = state.status.is_in_flight() || state.status.is_settled();
        self.of_action(SG34, action, state.kill.is_none() || is_over, "it was killed and is to be tried again");
        let fits = match run.status {
            RunStatus::Submitted => *state == ActionState::default(),
            RunStatus::Running | RunStatus::Paused => state.status != ActionStatus::Cancelled || state.kill.is_some(),
            RunStatus::Cancelling => state.status.is_settled() || state.status.is_in_flight(),
            RunStatus::Succeeded | RunStatus::SucceededWithFaults | RunStatus::Failed => {
                state.status != ActionStatus::Cancelled || state.kill.is_some()
            }
            RunStatus::TimedOut | RunStatus::Cancelled => true,
        };
        let invariant = if run.status == RunStatus::Submitted { SG6 } else { SG11 };
        self.of_action(invariant, action, fits, "it does not fit its run's status");
    }
}
