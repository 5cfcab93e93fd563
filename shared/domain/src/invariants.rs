//! The invariants of a run, each with a name: what tests, simulation and metrics check.
//!
//! [`check`] looks at a record, [`check_step`] at one decision, [`EventIds`] at a run's whole life. Each rule is
//! computed here from scratch, slowly and plainly, and shares no code with [`crate::decide`]: a rule that is wrong
//! there is not wrong here in the same way.

mod state;
mod step;

use std::collections::BTreeSet;
use std::fmt;

use uuid::Uuid;

use crate::decide::Decision;
use crate::definition::{Definition, Trigger};
use crate::ids::ActionIndex;
use crate::run::{ActionStatus, EventKind, Run, RunStatus};

pub use state::check;
pub use step::check_step;

/// A rule that holds for every run, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invariant {
    /// Its stable name, `SG1` and so on.
    pub name: &'static str,
    /// What it says.
    pub sentence: &'static str,
}

/// An invariant that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was found instead.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.invariant.name, self.invariant.sentence, self.detail)
    }
}

macro_rules! catalogue {
    ($($name:ident: $sentence:literal;)*) => {
        $(
            #[doc = $sentence]
            pub const $name: Invariant = Invariant { name: stringify!($name), sentence: $sentence };
        )*
        /// Every invariant: first those of a record, then those of a decision, then those of a life.
        pub const CATALOGUE: &[Invariant] = &[$($name),*];
    };
}

catalogue! {
    SG1: "the record has exactly the definition's actions";
    SG2: "the counters equal what the actions say";
    SG3: "no more actions are in flight than the definition allows at once";
    SG4: "a final run has no open action, an end and no timer; any other has an open action and no end";
    SG5: "what is ready, in flight or retried has a trigger that holds";
    SG6: "a submitted run has begun nothing";
    SG7: "in a run that goes on, no waiting action is overlooked whose trigger holds or never will";
    SG8: "a running run leaves no room empty while an action is ready, but for a deadline that has passed";
    SG9: "attempts stay within the policy, and every attempt has a fence of its own";
    SG10: "each status has just the times, the agent and the result that belong to it";
    SG11: "a cancelled run waits for nothing but what is in flight, and only a cancelled run has cancelled actions that nobody killed";
    SG12: "every open run has a message, a timer or somebody who must resume it";
    SG13: "a run asks to be woken no later than the earliest instant at which time alone changes the run";
    SG14: "the final status tells what became of the actions";
    SG15: "nothing is stamped with a revision later than the next commit's";
    SG16: "no action before the cursor of ready actions is ready";
    SG17: "a checkpoint is kept within its limits, until its action is settled; only what is queued was handed back";
    SG18: "what was lost is of earlier fences, fewer than make an action poison, and forgotten when it is settled";
    SG20: "the events, folded over the record, give the decision's record";
    SG21: "an ended run changes only by a retry that was asked for in this life of it";
    SG22: "a settled action changes only by being retried";
    SG23: "attempts and fences never decrease, and one decision makes at most one attempt and one fence";
    SG24: "nothing is queued unless the run is running, has room, has time, and the trigger holds";
    SG25: "each queued attempt has one Perform, to be claimed if it cost agents or may soon have waited too long; a repeated Perform is of a queued attempt and must be claimed";
    SG26: "Perform and Stop name attempts that exist";
    SG27: "each retry has a Wake or is covered by the run's next wake";
    SG28: "an attempt has one accepted end, while it is in flight and under its newest fence";
    SG29: "a run's end is the last event of its decision, and a scheduled run then says so";
    SG30: "an input that changes nothing leaves the record as it was, its next wake aside";
    SG31: "only the deadline cancels a run, or somebody who asked in this life of it";
    SG32: "only the agent that has an attempt hands it back, and only a report of the newest fence sets a checkpoint";
    SG33: "a claim is by the message that counts, and says that an agent was lost only if none handed it back";
    SG34: "only an action that somebody asked to kill, in this life of its open run, is cancelled alone, and it is not tried again";
    SG35: "a run is paused and resumed only by somebody who knew of all its pauses, and they are numbered without a gap";
    SG36: "only its own agent leases an attempt that runs; until the lease has run out nobody else claims it, and it is not taken for lost";
    SG40: "no two events of a run's life have the same id";
}

/// The ids of the events of one run's life so far.
#[derive(Debug, Clone, Default)]
pub struct EventIds(BTreeSet<Uuid>);

impl EventIds {
    /// Adds the events of one committed decision; what is not published has no id of its own.
    pub fn check_decision(&mut self, before: &Run, decision: &Decision) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut retries = before.retries;
        for event in &decision.events {
            if matches!(event.kind, EventKind::RunRetried { .. }) {
                retries += 1;
            }
            let is_published = event.kind.is_public();
            if is_published && !self.0.insert(event.kind.id(before.id, retries, event.at)) {
                found.push(violated(SG40, format!("{:?} has the id of an earlier event", event.kind)));
            }
        }
        found
    }
}

fn violated(invariant: Invariant, detail: impl Into<String>) -> Violation {
    Violation { invariant, detail: detail.into() }
}

/// Whether a trigger holds, may hold later, or never will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    NotYet,
    Never,
}

/// What a trigger says about its needs as they stand, from scratch.
fn trigger_holds(definition: &Definition, run: &Run, action: ActionIndex) -> Holds {
    let author = definition.action(action);
    let needs = || author.needs.iter().map(|need| (run.action(*need).status, definition.action(*need).allow_failure));
    let all_settled = needs().all(|(status, _)| status.is_settled());
    // In a run that goes on, what is cancelled was killed, and that is a failure to whatever needs it.
    let is_fault = |status: ActionStatus| status.is_failure() || status == ActionStatus::Cancelled;
    let some_failed = needs().any(|(status, _)| is_fault(status));
    let some_succeeded = needs().any(|(status, _)| status == ActionStatus::Succeeded);
    let good = |(status, allowed): (ActionStatus, bool)| {
        !status.is_settled() || status == ActionStatus::Succeeded || is_fault(status) && allowed
    };
    let harmless = |(status, allowed): (ActionStatus, bool)| allowed || !is_fault(status);
    let (yes, never) = match author.trigger {
        Trigger::AllSucceeded => (all_settled && needs().all(good), !needs().all(good)),
        Trigger::AllDone => (all_settled, false),
        Trigger::AnySucceeded => (some_succeeded || author.needs.is_empty(), all_settled && !some_succeeded),
        Trigger::AnyFailed => (some_failed || author.needs.is_empty(), all_settled && !some_failed),
        Trigger::NoneFailed => (all_settled && needs().all(harmless), !needs().all(harmless)),
    };
    match (yes, never) {
        (true, _) => Holds::Yes,
        (false, true) => Holds::Never,
        (false, false) => Holds::NotYet,
    }
}

/// Whether the run is one in which actions are still taken up, or held for a while.
const fn goes_on(status: RunStatus) -> bool {
    matches!(status, RunStatus::Running | RunStatus::Paused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_one_says_something() {
        let names: BTreeSet<_> = CATALOGUE.iter().map(|invariant| invariant.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        assert!(CATALOGUE.iter().all(|invariant| invariant.sentence.len() > 20));
    }
}
