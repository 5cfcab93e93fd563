//! Invariants of one decision: what stood before, what was asked, what was decided.

use super::{
    Holds, Invariant, SG20, SG21, SG22, SG23, SG24, SG25, SG26, SG27, SG28, SG29, SG30, SG31, SG32, SG33, SG34, SG35,
    SG36, Violation, goes_on, trigger_holds, violated,
};
use crate::decide::{Command, Decision, Perform};
use crate::definition::Definition;
use crate::limits::{CLAIM_BELOW_MS, SUSPECT_LOSSES, UNLEASED_MS};
use crate::run::{ActionAt, ActionStatus, CancelCause, Event, EventKind, Input, Origin, Run, RunStatus, apply};
use crate::time::{Millis, Timestamp};

/// Every invariant that the decision breaks. A refused input has no decision and changes nothing.
pub fn check_step(definition: &Definition, before: &Run, input: &Input, decision: &Decision) -> Vec<Violation> {
    let mut step = Step { definition, before, input, decision, found: Vec::new() };
    let mut run = before.clone();
    for event in &decision.events {
        step.event(&run, event);
        apply(&mut run, event);
    }
    step.result(run);
    step.actions();
    step.performs();
    step.stops();
    step.timers();
    step.end();
    step.found
}

struct Step<'a> {
    definition: &'a Definition,
    before: &'a Run,
    input: &'a Input,
    decision: &'a Decision,
    found: Vec<Violation>,
}

impl Step<'_> {
    fn holds(&mut self, invariant: Invariant, holds: bool, detail: impl FnOnce() -> String) {
        if !holds {
            self.found.push(violated(invariant, format!("{:?}: {}", self.input, detail())));
        }
    }

    /// `run` is the record as it stood before this very event.
    fn event(&mut self, run: &Run, event: &Event) {
        match &event.kind {
            EventKind::ActionQueued { of } => self.queued(run, event, *of),
            EventKind::ActionSucceeded { of, .. }
            | EventKind::ActionRetrying { of, .. }
            | EventKind::ActionStarted { of, .. } => self.in_flight(run, *of, event),
            EventKind::ActionProgressed { of, .. } => {
                let is_running = run.action(of.action).status == ActionStatus::Running;
                self.holds(SG28, is_running && at(run, *of) == *of, || format!("{event:?}"));
            }
            EventKind::ActionUnserved { of, .. } => {
                let state = run.action(of.action);
                let is_untold = state.status == ActionStatus::Queued && state.unserved.is_none();
                self.holds(SG28, is_untold && at(run, *of) == *of, || format!("{event:?} while {state:?}"));
            }
            EventKind::ActionCheckpointed { of, .. } => {
                let is_newest = run.action(of.action).status.is_in_flight() && at(run, *of) == *of;
                self.holds(SG32, is_newest, || format!("{event:?} while {:?}", run.action(of.action)));
            }
            EventKind::ActionHandedBack { of } => self.handed_back(run, *of),
            EventKind::ActionLeased { of, until } => self.leased(run, event, *of, *until),
            EventKind::ActionLapsed { of } => {
                self.holds(SG36, has_lapsed(run, event.at, *of), || {
                    format!("{of:?} lapsed while {:?}", run.action(of.action))
                });
            }
            EventKind::ActionLost { of } => self.lost(run, event.at, *of),
            EventKind::ActionNotLost { of } => {
                let was_lost = run.action(of.action).lost.contains(&of.fence);
                self.holds(SG33, was_lost, || format!("{event:?} while {:?}", run.action(of.action)));
            }
            EventKind::ActionCancelling { of, .. } => self.killed(run, *of),
            EventKind::ActionFailed { of, .. }
            | EventKind::ActionTimedOut { of, .. }
            | EventKind::ActionCancelled { of, .. } => {
                if let EventKind::ActionCancelled { of, error, .. } = &event.kind {
                    self.cancelled_alone(run, *of, error.is_some());
                }
                self.holds(SG28, at(run, *of) == *of && !run.action(of.action).status.is_settled(), || {
                    format!("{event:?} while {:?}", run.action(of.action))
                });
            }
            EventKind::ActionReady { action } | EventKind::ActionSkipped { action, .. } => {
                let state = run.action(*action);
                let waits = matches!(state.status, ActionStatus::Waiting | ActionStatus::RetryWaiting) && !state.ready;
                self.holds(SG22, waits, || format!("{event:?} while {state:?}"));
            }
            EventKind::RunCancelling { cause, .. } => self.cancelled(run, *cause),
            EventKind::RunPaused { number } => self.paused(run, *number),
            EventKind::RunResumed { number } => self.resumed(run, *number),
            EventKind::RunStarted { .. } | EventKind::RunRetried { .. } | EventKind::RunFinished { .. } => {}
        }
    }

    fn queued(&mut self, run: &Run, event: &Event, of: ActionAt) {
        let state = run.action(of.action);
        let has_room = self.definition.max_parallel.is_none_or(|most| run.in_flight < most);
        let has_time = run.deadline.is_none_or(|deadline| event.at < deadline);
        let holds = trigger_holds(self.definition, run, of.action) == Holds::Yes;
        let was_waiting = matches!(state.status, ActionStatus::Waiting | ActionStatus::RetryWaiting);
        let fits = run.status == RunStatus::Running && has_room && has_time && holds && was_waiting;
        self.holds(SG24, fits, || {
            let (status, deadline) = (run.status, run.deadline);
            format!("{of:?} queued at {} ({status:?}, room {has_room}, deadline {deadline:?}, {holds})", event.at)
        });
        let next = (state.attempt + 1, state.fence + 1);
        self.holds(SG23, (of.attempt, of.fence) == next, || format!("{of:?} after {state:?}"));
    }

    fn handed_back(&mut self, run: &Run, of: ActionAt) {
        let state = run.action(of.action);
        let is_asked = if let Input::HandedBack { of: asked, agent, .. } = self.input {
            *asked == of && state.agent.as_ref().is_none_or(|holder| holder == agent)
        } else {
            false
        };
        let fits = is_asked && state.status.is_in_flight() && at(run, of) == of;
        self.holds(SG32, fits, || format!("{of:?} handed back while {state:?}"));
    }

    fn killed(&mut self, run: &Run, of: ActionAt) {
        let state = run.action(of.action);
        let is_asked = if let Input::Kill { action, retries, .. } = self.input {
            *action == of.action && *retries == run.retries
        } else {
            false
        };
        let fits = is_asked && goes_on(run.status) && !state.status.is_settled() && state.kill.is_none();
        self.holds(SG34, fits && at(run, of) == of, || format!("{of:?} killed while {state:?}"));
    }

    fn cancelled_alone(&mut self, run: &Run, of: ActionAt, says_so: bool) {
        let state = run.action(of.action);
        let fits = says_so == state.kill.is_some() && (says_so || run.status == RunStatus::Cancelling);
        self.holds(SG34, fits, || format!("{of:?} cancelled while {:?}, {state:?}", run.status));
    }

    fn leased(&mut self, run: &Run, event: &Event, of: ActionAt, until: Timestamp) {
        let state = run.action(of.action);
        let is_its_own = matches!(self.input, Input::Renewed { agent, .. } if state.agent.as_ref() == Some(agent));
        let fits = is_its_own && state.status == ActionStatus::Running && at(run, of) == of && until > event.at;
        self.holds(SG36, fits, || format!("{of:?} leased until {until} while {state:?}"));
    }

    fn lost(&mut self, run: &Run, now: Timestamp, of: ActionAt) {
        let state = run.action(of.action);
        let by_another = if let Input::Claim { agent, received, .. } = self.input {
            *received > 1 && state.agent.as_ref() != Some(agent)
        } else {
            has_lapsed(run, now, of)
        };
        let fits = by_another && !state.handed_back && state.status.is_in_flight() && at(run, of) == of;
        self.holds(SG33, fits, || format!("{of:?} lost while {state:?}"));
    }

    fn in_flight(&mut self, run: &Run, of: ActionAt, event: &Event) {
        let state = run.action(of.action);
        let is_claim = matches!((self.input, &event.kind), (Input::Claim { .. }, EventKind::ActionStarted { .. }));
        let fence = if is_claim { state.fence + 1 } else { state.fence };
        let input = self.input;
        if let (true, Input::Claim { of: message, copy, received, .. }) = (is_claim, input) {
            let counts = (*copy, *received) > (state.copy, state.received)
                && (*copy == state.copy
                    || state.status == ActionStatus::Queued
                        && message.fence + u32::from(state.handed_back) >= state.fence);
            let is_free = state.leased_until.is_none_or(|until| event.at >= until);
            self.holds(SG36, is_free, || format!("{message:?} claimed while {state:?}"));
            self.holds(SG33, counts, || format!("{message:?} while {state:?}"));
        }
        let accepted = state.status.is_in_flight() && (of.attempt, of.fence) == (state.attempt, fence);
        self.holds(SG28, accepted, || format!("{event:?} while {state:?}"));
    }

    fn result(&mut self, mut folded: Run) {
        let decided = &self.decision.run;
        folded.wake_at = decided.wake_at;
        self.holds(SG20, folded == *decided, || "the record is not what its events make of it".into());
        let changes = !self.decision.events.is_empty();
        let is_retry = self.is_retry();
        self.holds(SG21, !changes || !self.before.status.is_final() || is_retry, || {
            format!("{:?} changed by {:?}", self.before.status, self.decision.events)
        });
        if !changes {
            let mut same = self.before.clone();
            same.wake_at = decided.wake_at;
            self.holds(SG30, same == *decided, || "the record changed without an event".into());
        }
    }

    fn is_retry(&self) -> bool {
        matches!(self.input, Input::Retry { retries } if *retries == self.before.retries)
    }

    fn cancelled(&mut self, run: &Run, asked: CancelCause) {
        let is_asked = if let Input::Cancel { cause, retries, .. } = self.input {
            *cause == asked && *retries == run.retries
        } else {
            asked == CancelCause::Deadline
        };
        self.holds(SG31, is_asked, || format!("cancelled by {asked:?}, retried {} times", run.retries));
    }

    fn paused(&mut self, run: &Run, number: u32) {
        let is_asked = if let Input::Pause { pauses, retries } = self.input {
            (*pauses, *retries) == (run.pauses, run.retries)
        } else {
            false
        };
        let fits = is_asked && run.status == RunStatus::Running && number == run.pauses + 1;
        self.holds(SG35, fits, || format!("pause {number} while {:?}, paused {} times", run.status, run.pauses));
    }

    fn resumed(&mut self, run: &Run, number: u32) {
        let is_asked = if let Input::Resume { pauses } = self.input { *pauses == run.pauses } else { false };
        let fits = is_asked && run.status == RunStatus::Paused && number == run.pauses;
        self.holds(SG35, fits, || format!("end of pause {number} while {:?}, paused {} times", run.status, run.pauses));
    }

    fn actions(&mut self) {
        for action in self.definition.indexes() {
            let (old, new) = (self.before.action(action), self.decision.run.action(action));
            let is_kept = !old.status.is_settled() || self.is_retry() || old == new;
            self.holds(SG22, is_kept, || format!("{action:?}: {old:?} became {new:?}"));
            let grows = |old: u32, new: u32| new == old || new == old + 1;
            let in_order = grows(old.attempt, new.attempt) && grows(old.fence, new.fence);
            self.holds(SG23, in_order, || format!("{action:?}: {old:?} became {new:?}"));
        }
    }

    fn performs(&mut self) {
        let performs: Vec<&Perform> = self.decision.commands.iter().filter_map(as_perform).collect();
        let queued: Vec<ActionAt> = self.decision.events.iter().filter_map(as_queued).collect();
        for of in &queued {
            let sent = performs.iter().filter(|perform| perform.of == *of).count();
            self.holds(SG25, sent == 1, || format!("{of:?} was queued and sent {sent} times"));
        }
        for perform in performs {
            let is_first = queued.contains(&perform.of);
            let state = self.decision.run.action(perform.of.action);
            let is_repeat = state.status == ActionStatus::Queued && perform.claim;
            let queue_timeout = self.definition.action(perform.of.action).queue_timeout;
            let may_end_soon = queue_timeout.is_some_and(|most| most.0 < CLAIM_BELOW_MS);
            let must_claim = may_end_soon || state.lost.len() >= SUSPECT_LOSSES;
            self.holds(SG25, if is_first { perform.claim == must_claim } else { is_repeat }, || format!("{perform:?}"));
            let is_newest = at(&self.decision.run, perform.of) == perform.of;
            let is_whole = perform.pool == self.definition.action(perform.of.action).pool
                && perform.timeout == self.definition.action(perform.of.action).timeout
                && Some(perform.queued_at) == state.queued_at;
            self.holds(SG26, is_newest && is_whole, || format!("{perform:?} while {state:?}"));
        }
    }

    fn stops(&mut self) {
        for command in &self.decision.commands {
            let Command::Stop { agent, of } = command else { continue };
            let old = self.before.action(of.action);
            let exists = of.attempt > 0
                && (at(self.before, *of) == *of || at(&self.decision.run, *of) == *of)
                && (old.agent.as_ref() == Some(agent)
                    || self.decision.run.action(of.action).agent.as_ref() == Some(agent));
            self.holds(SG26, exists, || format!("{command:?} while {old:?}"));
        }
    }

    fn timers(&mut self) {
        for event in &self.decision.events {
            let EventKind::ActionRetrying { retry_at, of, .. } = &event.kind else { continue };
            let decided = &self.decision.run;
            let is_over = decided.action(of.action).status != ActionStatus::RetryWaiting;
            let is_sent = self.decision.commands.contains(&Command::Wake { at: *retry_at });
            let is_covered = decided.wake_at.is_some_and(|wake| wake <= *retry_at);
            self.holds(SG27, is_over || is_sent || is_covered, || format!("{event:?}"));
        }
    }

    fn end(&mut self) {
        let events = &self.decision.events;
        let is_end = |event: &Event| matches!(event.kind, EventKind::RunFinished { .. });
        let ends = events.iter().filter(|event| is_end(event)).count();
        let is_last = events.last().is_some_and(is_end);
        self.holds(SG29, ends <= 1 && (ends == 1) == is_last, || format!("{ends} ends in {events:?}"));
        let said = self.decision.commands.iter().filter(|command| matches!(command, Command::Ended)).count();
        let is_scheduled = matches!(self.before.origin, Origin::Schedule { .. });
        let is_due = ends == 1 && is_scheduled;
        let is_allowed = is_scheduled && self.decision.run.status.is_final();
        let fits = if is_due { said == 1 } else { said == 0 || said == 1 && is_allowed };
        self.holds(SG29, fits, || format!("said {said} times that the run has ended, with {ends} ends"));
    }
}

/// Whether the attempt is one whose lease has run out, or that should have one by now.
fn has_lapsed(run: &Run, now: Timestamp, of: ActionAt) -> bool {
    let state = run.action(of.action);
    let unleased = state.started_at.map(|at| at.plus(Millis(UNLEASED_MS)));
    let is_over = state.leased_until.or(unleased).is_some_and(|until| until <= now);
    state.status == ActionStatus::Running && at(run, of) == of && is_over
}

/// The newest attempt of the action that `of` names.
fn at(run: &Run, of: ActionAt) -> ActionAt {
    let state = run.action(of.action);
    ActionAt { action: of.action, attempt: state.attempt, fence: state.fence }
}

fn as_perform(command: &Command) -> Option<&Perform> {
    match command {
        Command::Perform(perform) => Some(perform.as_ref()),
        Command::Stop { .. } | Command::Wake { .. } | Command::Ended => None,
    }
}

fn as_queued(event: &Event) -> Option<ActionAt> {
    if let EventKind::ActionQueued { of } = &event.kind { Some(*of) } else { None }
}
