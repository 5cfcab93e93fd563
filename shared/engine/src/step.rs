//! One step of one record, before it is committed: its inputs, folded in the order in which they came.

use std::collections::BTreeSet;

use windlass_contract::event::PublicEvent;
use windlass_domain::content::Wanted;
use windlass_domain::time::Timestamp;

use crate::effects::Effects;
use crate::subject::{Given, Outstanding, Subject};

/// What became of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<R> {
    /// It was decided.
    Accepted,
    /// The record refuses it, and says why.
    Refused(R),
    /// Its sender may not say this.
    Forbidden,
}

impl<R> Answer<R> {
    /// Whether it was decided.
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }
}

/// Inputs folded into a record, not yet committed.
pub(crate) struct Step<S: Subject> {
    pub(crate) record: S,
    /// Events of this commit, which go to the log with it.
    pub(crate) events: Vec<PublicEvent>,
    /// Events of earlier commits, to be published again.
    again: Vec<PublicEvent>,
    commands: Vec<S::Command>,
    pub(crate) answers: Vec<Answer<S::Refusal>>,
    /// Places of the record whose values it reads and that are not loaded. If there is one, the step is void: it is taken
    /// again once they are.
    pub(crate) wanted: Wanted,
}

impl<S: Subject> Step<S> {
    /// Folds the inputs into the record as it was read. `has_written`: the record may have what these inputs decide, by an
    /// earlier write of this process. Then they count as repeated.
    pub(crate) fn of(
        before: &S,
        context: &S::Context,
        inputs: &[Given<S::Input>],
        now: Timestamp,
        has_written: bool,
    ) -> Self {
        let mut step = Self {
            record: before.clone(),
            events: Vec::new(),
            again: Vec::new(),
            commands: Vec::new(),
            answers: Vec::with_capacity(inputs.len()),
            wanted: Wanted::new(),
        };
        let mut repeated = Vec::new();
        for given in inputs {
            if !S::may_say(context, given) {
                step.answers.push(Answer::Forbidden);
                continue;
            }
            step.decide(context, given, now);
            if given.repeated || has_written {
                repeated.push(&given.input);
            }
        }
        let Outstanding { facts, commands, wanted } =
            step.record.outstanding(context, &repeated, before.revision(), now);
        step.again.extend(facts.iter().flat_map(|fact| step.record.events(context, fact)));
        step.commands.extend(commands);
        step.wanted.extend(wanted);
        let mut told: BTreeSet<_> = step.events.iter().map(|event| event.id).collect();
        step.again.retain(|event| told.insert(event.id));
        if step.record.differs_from(before) {
            step.record.set_revision(before.revision() + 1);
        }
        step
    }

    fn decide(&mut self, context: &S::Context, given: &Given<S::Input>, now: Timestamp) {
        let change = self.record.decide(context, &given.input, &given.caller, now);
        // Events that are published again were decided before this change: a retry begins another life of the run.
        self.again.extend(change.again.iter().flat_map(|fact| self.record.events(context, fact)));
        self.events.extend(change.facts.iter().flat_map(|fact| change.after.events(context, fact)));
        self.commands.extend(change.commands);
        self.wanted.extend(change.wanted);
        self.answers.push(change.answer.map_or_else(Answer::Refused, |()| Answer::Accepted));
        self.record = change.after;
    }

    /// How many events and commands it has decided.
    pub(crate) fn decided(&self) -> (usize, usize) {
        (self.events.len(), self.commands.len())
    }

    /// The record and the answers, and what follows once it is committed.
    pub(crate) fn settled(
        self,
        context: &S::Context,
        inputs: &[Given<S::Input>],
        now: Timestamp,
    ) -> (S, Vec<Answer<S::Refusal>>, Effects) {
        let Self { record, mut events, again, commands, answers, .. } = self;
        events.extend(again);
        let effects = record.effects(context, inputs, commands, events, now);
        (record, answers, effects)
    }
}
