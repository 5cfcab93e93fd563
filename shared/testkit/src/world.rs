//! One run on `decide` alone: inputs go in, decisions are committed, and every rule is checked on the way.

use windlass_domain::decide::{Command, Decision, Perform, Rejection, decide};
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionIndex, RunId, TaskName};
use windlass_domain::invariants::{EventIds, check, check_step};
use windlass_domain::run::{Event, EventKind, Input, Origin, Run};
use windlass_domain::time::{Millis, Timestamp};

use crate::sketch;

/// A run, its definition and a clock that stands still until it is set.
pub struct World {
    /// The definition.
    pub definition: Definition,
    /// The run as it was committed last.
    pub run: Run,
    /// The time.
    pub now: Timestamp,
    /// Every event so far.
    pub log: Vec<Event>,
    ids: EventIds,
}

impl World {
    /// A submitted run of the definition. Its id comes from `seed`, and so does the jitter of its retries.
    ///
    /// # Panics
    /// Never: the name is valid.
    pub fn new(definition: Definition, origin: Origin, seed: &str) -> Self {
        let task = TaskName::new("sketch").expect("a valid name");
        let now = Timestamp::from_millis(1_700_000_000_000);
        let id = RunId::from_key(&task, seed);
        let run = Run::submitted(id, (task, 1), definition.actions.len(), sketch::input(), origin, now);
        Self { definition, run, now, log: Vec::new(), ids: EventIds::default() }
    }

    /// Lets time pass.
    pub fn pass(&mut self, span: Millis) {
        self.now = self.now.plus(span);
    }

    /// Decides without committing.
    pub fn ask(&self, input: &Input) -> Result<Decision, Rejection> {
        decide(&self.definition, &self.run, input, self.now)
    }

    /// Commits a decision as the process manager does: with one revision more if anything changed.
    ///
    /// # Panics
    /// If the decision or the record that it leaves breaks an invariant.
    pub fn commit(&mut self, input: &Input, decision: &Decision) {
        if let Some(broken) = self.try_commit(input, decision).first() {
            panic!("{broken}");
        }
    }

    /// Commits a decision and tells every invariant that it breaks.
    pub fn try_commit(&mut self, input: &Input, decision: &Decision) -> Vec<String> {
        let mut broken = check_step(&self.definition, &self.run, input, decision);
        broken.extend(self.ids.check_decision(&self.run, decision));
        let mut run = decision.run.clone();
        if !decision.events.is_empty() || run.wake_at != self.run.wake_at {
            run.revision += 1;
        }
        broken.extend(check(&self.definition, &run));
        self.run = run;
        self.log.extend(decision.events.iter().cloned());
        broken.iter().map(ToString::to_string).collect()
    }

    /// Decides and commits.
    ///
    /// # Panics
    /// If the decision breaks an invariant.
    pub fn give(&mut self, input: &Input) -> Result<Decision, Rejection> {
        let decision = self.ask(input)?;
        self.commit(input, &decision);
        Ok(decision)
    }

    /// The index of the action of that name.
    ///
    /// # Panics
    /// If the definition has none.
    pub fn index(&self, name: &str) -> ActionIndex {
        let found = self.definition.indexes().find(|at| self.definition.action(*at).name.as_str() == name);
        found.expect("an action of the definition")
    }

    /// The names of the actions that the decision queued, or failed to, in its order.
    pub fn order_of(&self, decision: &Decision) -> Vec<String> {
        let queued = |event: &Event| match &event.kind {
            EventKind::ActionQueued { of } | EventKind::ActionFailed { of, .. } => Some(of.action),
            EventKind::RunStarted { .. }
            | EventKind::RunPaused { .. }
            | EventKind::RunResumed { .. }
            | EventKind::RunCancelling { .. }
            | EventKind::RunRetried { .. }
            | EventKind::RunFinished { .. }
            | EventKind::ActionReady { .. }
            | EventKind::ActionUnserved { .. }
            | EventKind::ActionStarted { .. }
            | EventKind::ActionProgressed { .. }
            | EventKind::ActionLost { .. }
            | EventKind::ActionLeased { .. }
            | EventKind::ActionLapsed { .. }
            | EventKind::ActionNotLost { .. }
            | EventKind::ActionCheckpointed { .. }
            | EventKind::ActionHandedBack { .. }
            | EventKind::ActionSucceeded { .. }
            | EventKind::ActionRetrying { .. }
            | EventKind::ActionTimedOut { .. }
            | EventKind::ActionSkipped { .. }
            | EventKind::ActionCancelling { .. }
            | EventKind::ActionCancelled { .. } => None,
        };
        let indexes = decision.events.iter().filter_map(queued);
        indexes.map(|at| self.definition.action(at).name.to_string()).collect()
    }
}

/// The attempts that a decision sends.
pub fn performs(decision: &Decision) -> Vec<Perform> {
    let of_command = |command: &Command| match command {
        Command::Perform(perform) => Some(perform.as_ref().clone()),
        Command::Stop { .. } | Command::Wake { .. } | Command::Ended => None,
    };
    decision.commands.iter().filter_map(of_command).collect()
}
