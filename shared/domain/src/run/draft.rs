//! One decision in the making: facts are folded as they are decided, so that what follows sees them.

use std::collections::VecDeque;

use super::change::{Change, Rejection};
use super::command::{Command, Stop, resend};
use super::fact::{Fact, FactKind};
use super::fold::apply;
use super::input::ActionAt;
use super::reading::Reading;
use super::source::Source;
use super::state::{Phase, Run};
use super::work::Unevaluated;
use crate::attempt::{ActionState, ErrorInfo, Fate, Owner};
use crate::caller::Caller;
use crate::definition::{Action, Definition};
use crate::ids::{ActionIndex, AgentId};
use crate::time::Timestamp;
use crate::told;

pub(super) struct Draft<'a> {
    pub(super) definition: &'a Definition,
    pub(super) run: Run,
    pub(super) caller: &'a Caller,
    pub(super) now: Timestamp,
    pub(super) facts: Vec<Fact>,
    /// Facts of earlier commits whose events are to be published again.
    pub(super) again: Vec<Fact>,
    pub(super) commands: Vec<Command>,
    /// The source that every change of this draft is stamped with.
    pub(super) source: Source,
    /// Actions whose settling has not been looked at yet.
    pub(super) settled: VecDeque<ActionIndex>,
    /// The run's `wake_at` has been set to the exact instant.
    pub(super) is_wake_set: bool,
    /// What its expressions have read so far.
    pub(super) reading: Reading,
    /// The first action that could be taken up and is left to the next step.
    left: Option<ActionIndex>,
    /// What is due from then on is left to the next sweep.
    pub(super) due_left: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        definition: &'a Definition,
        run: &Run,
        (source, caller): (Source, &'a Caller),
        now: Timestamp,
    ) -> Self {
        Self {
            definition,
            run: run.clone(),
            caller,
            now,
            facts: Vec::new(),
            again: Vec::new(),
            commands: Vec::new(),
            source,
            settled: VecDeque::new(),
            is_wake_set: false,
            reading: Reading::default(),
            left: None,
            due_left: None,
        }
    }

    /// What was decided, with that answer.
    pub(super) fn change(self, answer: Result<(), Rejection>) -> Change {
        let Self { run, facts, again, commands, reading: Reading { evaluated, mut wanted, .. }, .. } = self;
        wanted.extend(told::lacking(&run, &again));
        Change { after: run, facts, again, commands, evaluated, wanted, answer }
    }

    /// Decides a fact: it is folded at once, and the action that it settles is remembered.
    pub(super) fn emit(&mut self, kind: FactKind) {
        let fact = Fact { at: self.now, kind, source: self.source };
        apply(&mut self.run, &fact);
        if let Some(of) = fact.kind.about()
            && self.run.action(of.action).status.is_settled()
        {
            self.settled.push_back(of.action);
        }
        self.facts.push(fact);
    }

    /// Whether this step takes up nothing further.
    pub(super) fn is_spent(&self) -> bool {
        self.reading.is_spent()
    }

    /// Whether an action that could be taken up is left to the next step, for which the run wakes at once.
    pub(super) fn leaves(&mut self, action: ActionIndex) -> bool {
        if self.is_spent() && self.left.is_none() {
            self.left = Some(action);
            self.commands.push(Command::Wake { action: Some(action), at: self.now });
        }
        self.is_spent()
    }

    /// Since when something is due that this step has left.
    pub(super) fn left_since(&self) -> Option<Timestamp> {
        self.left.map(|_| self.now).into_iter().chain(self.due_left).min()
    }

    pub(super) fn action(&self, index: ActionIndex) -> &'a Action {
        self.definition.action(index)
    }

    pub(super) fn state(&self, index: ActionIndex) -> &ActionState {
        self.run.action(index)
    }

    /// The action's newest attempt.
    pub(super) fn at(&self, action: ActionIndex) -> ActionAt {
        ActionAt { action, attempt: self.state(action).attempt() }
    }

    /// Whether the action is not to go on: its run takes up nothing further, or a caller has killed it.
    pub(super) fn is_stopping(&self, action: ActionIndex) -> bool {
        self.run.status.phase() == Phase::Ending || self.state(action).kill.is_some()
    }

    /// Publishes the last event of the action again. Time or a caller changes the action now, and the process manager that
    /// decided that event may have died before it published it. A report needs none of that: no agent gets an attempt
    /// before its events are published.
    pub(super) fn tell_again(&mut self, action: ActionIndex) {
        self.again.extend(told::of_action(self.definition, &self.run, action));
    }

    /// Ends the action because its run is cancelled, or because it alone was killed; `agent` says that it does not run.
    pub(super) fn cancel(&mut self, action: ActionIndex, agent: Option<&AgentId>) {
        if agent.is_none() {
            self.tell_again(action);
        }
        let of = self.at(action);
        let error = self.state(action).kill.as_ref().map(|kill| {
            let message = if kill.reason.is_empty() { "a caller killed it" } else { &kill.reason };
            ErrorInfo::new("killed", message)
        });
        let allowed = self.action(action).allow_failure;
        self.emit(FactKind::ActionCancelled { of, agent: agent.cloned(), error, allowed });
    }

    /// Ends the action with an error; `timed_out` tells how it is called.
    pub(super) fn fail(&mut self, action: ActionIndex, by: Option<Owner>, error: ErrorInfo, timed_out: bool) {
        let (of, allowed) = (self.at(action), self.action(action).allow_failure);
        self.emit(if timed_out {
            FactKind::ActionTimedOut { of, by, error, allowed }
        } else {
            FactKind::ActionFailed { of, by, error, allowed }
        });
    }

    /// Ends an action whose expressions have no value. No attempt came of it: the event names the attempt before, if there was
    /// one. If they only lack values, the step is void. Then the action counts as queued, so that the step looks at the rest.
    pub(super) fn unevaluated(&mut self, action: ActionIndex, why: Unevaluated) {
        match why {
            Unevaluated::Failed(error) => self.fail(action, None, error, false),
            Unevaluated::Wanting => {
                let before = self.at(action);
                let of = ActionAt { attempt: before.attempt + 1, ..before };
                self.emit(FactKind::ActionQueued { of, issue: 0 });
            }
        }
    }

    /// Tells the attempt's owner, if there is one, to stop.
    pub(super) fn stop_owner(&mut self, action: ActionIndex, fate: Fate, reason: &str) {
        let stop = Stop::of_owner(self.definition, &self.run, action, fate, reason);
        self.commands.extend(stop.map(|stop| Command::Stop(Box::new(stop))));
    }

    /// Sends a queued attempt again.
    pub(super) fn resend(&mut self, action: ActionIndex) {
        self.commands.extend(resend(self.definition, &self.run, action, self.now, &mut self.reading));
    }
}
