//! The invariants of a run, each with a name. Tests, simulation and metrics check them.
//!
//! [`check`] looks at a record, [`check_step`] at one change, [`EventIds`] at a run's whole life. This module computes
//! each rule from scratch, slowly and plainly. It shares no code with [`crate::attempt::judge`] and
//! [`crate::run::decide`], so that a mistake there is not repeated here.

mod given;
mod ownership;
mod sends;
mod state;
mod step;

use std::collections::BTreeSet;
use std::fmt;

use uuid::Uuid;

use crate::attempt::ActionStatus;
use crate::definition::{Definition, Trigger};
use crate::ids::ActionIndex;
use crate::run::{Change, FactKind, Run, RunStatus};

pub use given::Given;
pub use state::check;
pub use step::check_step;

/// A rule that holds for every run, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invariant {
    /// Its stable name, `SG1` and so on.
    pub name: &'static str,
    /// The rule, in one sentence.
    pub sentence: &'static str,
}

/// An invariant that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// The values of the run that break it.
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
        /// Every invariant: first those of a record, then those of a change, then those of a life.
        pub const CATALOGUE: &[Invariant] = &[$($name),*];
    };
}

catalogue! {
    SG1: "the record has exactly the definition's actions";
    SG2: "the counters equal what the actions say";
    SG3: "no more actions are in flight than the definition allows at once";
    SG4: "an ended run has an end time, no open action and no timer; any other run has an open action and no end time";
    SG5: "the trigger of an action that is ready, in flight or waiting for its retry holds";
    SG6: "no action of a run that has not begun has changed";
    SG7: "in a run that goes on, an action waits only while its trigger may still come to hold, or until a run that wakes at once looks at it";
    SG8: "a running run with room has no action that is ready, unless it wakes at once or its deadline has passed";
    SG9: "attempts stay within the policy, and the fence has risen at least once with each attempt";
    SG10: "each status has just the times and the result that belong to it";
    SG11: "a cancelled run waits only for attempts in flight, and an action is cancelled only with its run or by a kill";
    SG12: "every open run has a message, a timer, or a caller who must resume it";
    SG13: "the record's wake is no later than the earliest time at which time alone changes the run";
    SG14: "the status of a run agrees with what cancelled it and with how its actions ended";
    SG15: "no stamp is later than the revision of the next commit";
    SG16: "no action before the cursor of ready actions is ready";
    SG17: "a checkpoint is within its limits, and an action that has ended keeps none";
    SG18: "losses are ordered deliveries below `last`, fewer than make an action poison; an action that has ended keeps none";
    SG19: "a running attempt has an owner, a queued one has none or an owner whose lease ran out, and no agent's clock decides since when";
    SG20: "the record is what the facts make of the record before";
    SG21: "an ended run changes only by a retry that was asked for in this life of the run";
    SG22: "an action that has ended changes only when its run is retried";
    SG23: "the attempt's number, `last` and the fence never decrease, and one input raises number and fence by one at most";
    SG24: "an attempt is queued only while its run is running and has room and time, and the trigger holds";
    SG25: "each queued attempt has one Perform, of issue 1 if it is suspect or has a short time to wait, else of issue 0; a hand-back is sent again as the issue that it reserved; any other resend is of a queued attempt and has an issue above `last`";
    SG26: "every command names an attempt that exists, and the agent that owns it or asked";
    SG27: "each retry has a Wake or is covered by the run's next wake";
    SG28: "an attempt has one accepted end, while it is in flight: by its owner under `last` or, without an owner, under no delivery below `last`";
    SG29: "a run's end is the last fact of its change, and a scheduled run then says so";
    SG30: "an input without facts leaves the record as it was, but for its next wake";
    SG31: "only the deadline, or a caller who asked in this life of the run, cancels a run";
    SG32: "only the owner under `last`, or an agent of an attempt without an owner, hands an attempt back or saves a checkpoint";
    SG33: "a confirmed claim is above `last` and displaces no owner that may still have its message, and it counts one loss at most";
    SG34: "only a caller who asked in this life of the open run kills an action, and the action is not tried again";
    SG35: "a run is paused and resumed only by a caller who knew of all its pauses, and they are numbered without a gap";
    SG36: "only its owner's renewal extends a lease, and while a lease is ahead no other agent is confirmed and the attempt does not lapse";
    SG37: "each fact that leads to a send or a lasting event stamps what it is about with its commit, and names what the input is about";
    SG38: "one step evaluates within its bound, and leaves an action to the next one only near that bound";
    SG40: "no two events of a run's life have the same id";
}

/// The ids of the events of one run's life so far.
#[derive(Debug, Clone, Default)]
pub struct EventIds(BTreeSet<Uuid>);

impl EventIds {
    /// Adds the events of one committed change. A fact that is not published has no id of its own.
    pub fn check_change(&mut self, before: &Run, change: &Change) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut retries = before.retries;
        for fact in &change.facts {
            if matches!(fact.kind, FactKind::RunRetried { .. }) {
                retries += 1;
            }
            if fact.kind.is_public() && !self.0.insert(fact.kind.id(before.id, retries, fact.at)) {
                found.push(violated(SG40, format!("{:?} has the id of an earlier event", fact.kind)));
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

/// Whether the trigger of the action holds for the present statuses of its needs.
fn trigger_holds(definition: &Definition, run: &Run, action: ActionIndex) -> Holds {
    let author = definition.action(action);
    let needs = || author.needs.iter().map(|need| (run.action(*need).status, definition.action(*need).allow_failure));
    let all_settled = needs().all(|(status, _)| status.is_settled());
    // In a run that goes on, a cancelled action was killed, and that is a failure to the actions that need it.
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

/// Whether the run takes up actions, or holds them for a while.
const fn goes_on(status: RunStatus) -> bool {
    matches!(status, RunStatus::Running | RunStatus::Paused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariants_have_unique_names_and_sentences() {
        let names: BTreeSet<_> = CATALOGUE.iter().map(|invariant| invariant.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        assert!(CATALOGUE.iter().all(|invariant| invariant.sentence.len() > 20));
    }
}
