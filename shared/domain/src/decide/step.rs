//! One decision in the making: events are folded as they are decided, so that what follows sees them.

use std::collections::VecDeque;

use super::{Command, Decision, Perform, graph, time};
use crate::definition::{Action, Definition};
use crate::ids::{ActionIndex, AgentId};
use crate::run::{ActionAt, ActionState, ErrorInfo, Event, EventKind, Run, RunStatus, apply};
use crate::time::Timestamp;

pub(super) struct Step<'a> {
    pub(super) definition: &'a Definition,
    pub(super) run: Run,
    pub(super) now: Timestamp,
    events: Vec<Event>,
    pub(super) again: Vec<Event>,
    pub(super) commands: Vec<Command>,
    /// Actions whose settling has not been looked at yet.
    settled: VecDeque<ActionIndex>,
    /// The run's `wake_at` has been set to the exact instant.
    pub(super) woken: bool,
}

impl<'a> Step<'a> {
    pub(super) fn new(definition: &'a Definition, run: &Run, now: Timestamp) -> Self {
        Self {
            definition,
            run: run.clone(),
            now,
            events: Vec::new(),
            again: Vec::new(),
            commands: Vec::new(),
            settled: VecDeque::new(),
            woken: false,
        }
    }

    /// Decides an event: it is folded at once, and the actions that it settles are remembered.
    pub(super) fn emit(&mut self, kind: EventKind) {
        let event = Event { at: self.now, kind };
        apply(&mut self.run, &event);
        if let Some(of) = event.kind.about()
            && self.run.action(of.action).status.is_settled()
        {
            self.settled.push_back(of.action);
        }
        self.events.push(event);
    }

    /// Lets everything follow from what was decided: dependents, room for others, the end of the run.
    pub(super) fn follow(&mut self) {
        loop {
            while let Some(settled) = self.settled.pop_front() {
                graph::look_at_dependents(self, settled);
            }
            graph::fill_room(self);
            if self.settled.is_empty() {
                break;
            }
        }
        graph::end_if_done(self);
    }

    pub(super) fn into_decision(mut self) -> Decision {
        if !self.events.is_empty() && !self.woken {
            let touched: Vec<_> = self.events.iter().filter_map(|event| event.kind.about()).collect();
            time::keep_wake(&mut self, touched.iter().map(|of| of.action));
        }
        Decision { events: self.events, again: self.again, commands: self.commands, run: self.run }
    }

    pub(super) fn action(&self, index: ActionIndex) -> &'a Action {
        self.definition.action(index)
    }

    pub(super) fn state(&self, index: ActionIndex) -> &ActionState {
        self.run.action(index)
    }

    /// The action's newest attempt.
    pub(super) fn at(&self, action: ActionIndex) -> ActionAt {
        let state = self.state(action);
        ActionAt { action, attempt: state.attempt, fence: state.fence }
    }

    /// Whether the run takes up nothing further.
    pub(super) fn is_ending(&self) -> bool {
        self.run.status == RunStatus::Cancelling
    }

    /// Whether the action is not to go on: its run takes up nothing further, or somebody has killed it.
    pub(super) fn is_stopping(&self, action: ActionIndex) -> bool {
        self.is_ending() || self.state(action).kill.is_some()
    }

    /// Ends the action because its run is cancelled, or because it alone was killed; `agent` says that it does not run.
    pub(super) fn cancel(&mut self, of: ActionAt, agent: Option<&AgentId>) {
        let allowed = self.action(of.action).allow_failure;
        let error = self.state(of.action).kill.as_ref().map(|kill| {
            let message = if kill.reason.is_empty() { "somebody killed it" } else { &kill.reason };
            ErrorInfo::new("killed", message)
        });
        self.emit(EventKind::ActionCancelled { of, agent: agent.cloned(), error, allowed });
    }

    /// Ends the action with an error; `timed_out` tells how it is called.
    pub(super) fn fail(&mut self, of: ActionAt, by: super::report::By, error: ErrorInfo, timed_out: bool) {
        let allowed = self.action(of.action).allow_failure;
        let (agent, started_at) = by;
        self.emit(if timed_out {
            EventKind::ActionTimedOut { of, agent, started_at, error, allowed }
        } else {
            EventKind::ActionFailed { of, agent, started_at, error, allowed }
        });
    }

    pub(super) fn stop(&mut self, action: ActionIndex) {
        if let Some(agent) = self.state(action).agent.clone() {
            let of = self.at(action);
            self.commands.push(Command::Stop { agent, of });
        }
    }

    pub(super) fn perform(&mut self, perform: Perform) {
        self.commands.push(Command::Perform(Box::new(perform)));
    }
}
