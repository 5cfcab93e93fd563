//! One run on `decide` alone: inputs go in, changes are committed, and every rule is checked on the way.

use std::sync::Arc;

use windlass_domain::caller::{Caller, Way};
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionIndex, RunId, TaskName};
use windlass_domain::invariants::{EventIds, Given, check, check_step};
use windlass_domain::run::{Change, Command, Fact, Input, Origin, Perform, Run, decide};
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
    /// Every fact so far.
    pub log: Vec<Fact>,
    /// Who gives the inputs.
    pub caller: Caller,
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
        let caller = Caller { who: Some("ann".to_owned()), way: Way::Api, why: None };
        Self { definition, run, now, log: Vec::new(), caller, ids: EventIds::default() }
    }

    /// Lets time pass.
    pub fn pass(&mut self, span: Millis) {
        self.now = self.now.plus(span);
    }

    /// Decides without committing. A record whose values are loaded only as they are wanted decides the same.
    ///
    /// # Panics
    /// If it does not.
    pub fn ask(&self, input: &Input) -> Change {
        let change = self.decide(&self.run, input);
        let mut bare = self.run.clone().bare();
        loop {
            let asked = self.decide(&bare, input);
            if asked.wanted.is_empty() {
                assert_eq!(asked, change, "decided on a record without its values");
                return change;
            }
            for place in asked.wanted {
                assert!(bare.lacks(place), "{place:?} is wanted although it is there");
                let apart = bare.apart(place).expect("it lacks the value");
                let value = self.run.value(place).expect("the run of this world has all its values");
                bare.values.keep(apart, Arc::new(value.clone()));
            }
        }
    }

    fn decide(&self, run: &Run, input: &Input) -> Change {
        decide(&self.definition, run, input, &self.caller, self.now)
    }

    /// Commits a change as the process manager does, with one revision more if anything changed, and tells every
    /// invariant that it breaks.
    pub fn try_commit(&mut self, input: &Input, change: &Change) -> Vec<String> {
        let given = Given { input, caller: &self.caller, now: self.now };
        let mut broken = check_step(&self.definition, &self.run, given, change);
        broken.extend(self.ids.check_change(&self.run, change));
        let mut run = change.after.clone();
        if !change.facts.is_empty() || run.wake_at != self.run.wake_at {
            run.revision += 1;
        }
        broken.extend(check(&self.definition, &run));
        self.run = run;
        self.log.extend(change.facts.iter().cloned());
        broken.iter().map(ToString::to_string).collect()
    }

    /// Decides and commits.
    ///
    /// # Panics
    /// If the change, or the record that it leaves, breaks an invariant.
    pub fn give(&mut self, input: &Input) -> Change {
        let change = self.ask(input);
        if let Some(broken) = self.try_commit(input, &change).first() {
            panic!("{broken}");
        }
        change
    }

    /// The index of the action of that name.
    ///
    /// # Panics
    /// If the definition has none.
    pub fn index(&self, name: &str) -> ActionIndex {
        let found = self.definition.indexes().find(|at| self.definition.action(*at).name.as_str() == name);
        found.expect("an action of the definition")
    }
}

/// The attempts that commands send.
pub fn performs(commands: &[Command]) -> Vec<Perform> {
    let of_command = |command: &Command| match command {
        Command::Perform(perform) => Some(perform.as_ref().clone()),
        Command::Confirm(_) | Command::Stop(_) | Command::Wake { .. } | Command::Ended => None,
    };
    commands.iter().filter_map(of_command).collect()
}
