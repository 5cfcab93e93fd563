//! One judged change: the record before, the inputs, the decision, and the broken invariants.

use super::{Invariant, Violation, violated};
use crate::caller::Caller;
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::run::{Change, Input, Report, Run};
use crate::time::Timestamp;

/// An input of a run, with its caller and the time.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The input.
    pub input: &'a Input,
    /// Who gave it.
    pub caller: &'a Caller,
    /// The time of the decision.
    pub now: Timestamp,
}

pub(super) struct Step<'a> {
    pub(super) definition: &'a Definition,
    pub(super) before: &'a Run,
    pub(super) given: Given<'a>,
    pub(super) change: &'a Change,
    pub(super) found: Vec<Violation>,
}

impl Step<'_> {
    pub(super) fn holds(&mut self, invariant: Invariant, holds: bool, detail: impl FnOnce() -> String) {
        if !holds {
            self.found.push(violated(invariant, format!("{:?}: {}", self.given.input, detail())));
        }
    }

    /// The reports of the input about that action. One message may have two claims of it.
    pub(super) fn reports_of(&self, action: ActionIndex) -> Vec<Report> {
        reports(self.given.input).into_iter().filter(|of| of.action == action).collect()
    }
}

/// The reports of an input.
pub(super) fn reports(input: &Input) -> Vec<Report> {
    match input {
        Input::Claim { agent, claims } => claims.iter().map(|claim| Report::of_claim(agent, claim)).collect(),
        Input::Started { of, .. }
        | Input::Renewed { of, .. }
        | Input::Progressed { of, .. }
        | Input::HandedBack { of, .. }
        | Input::Completed { of, .. } => vec![of.clone()],
        Input::Start
        | Input::DeadLettered { .. }
        | Input::Unserved { .. }
        | Input::Cancel { .. }
        | Input::Kill { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Retry { .. }
        | Input::Wake { .. }
        | Input::Sweep => Vec::new(),
    }
}
