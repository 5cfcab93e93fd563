//! Whether the events of a run are a legal history: the legal successors of each event.

use std::collections::BTreeMap;
use std::fmt;

use windlass_contract::event::PublicEvent;
use windlass_domain::definition::{Overlap, Schedule};
use windlass_domain::ids::ActionName;

/// Where the history of a run stands.
#[derive(Default)]
pub(super) struct History {
    run: Phase,
    actions: BTreeMap<ActionName, (u32, ActionPhase)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Submitted,
    Running,
    Paused,
    Cancelling,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ActionPhase {
    #[default]
    Waiting,
    InFlight,
    Retrying,
    Ended,
}

/// Why an event may not stand where it stands.
#[derive(Debug)]
pub(super) enum Fault {
    /// Its attempt had an end before.
    SecondEnd(String),
    /// Anything else.
    Illegal(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecondEnd(detail) | Self::Illegal(detail) => f.write_str(detail),
        }
    }
}

impl History {
    pub(super) fn goes_on(&mut self, event: &PublicEvent) -> Result<(), Fault> {
        match &event.action {
            Some(action) => self.action_goes_on(action, event),
            None => self.run_goes_on(&event.kind),
        }
    }

    fn run_goes_on(&mut self, kind: &str) -> Result<(), Fault> {
        let next = match (self.run, kind) {
            (Phase::Submitted, "run.started") | (Phase::Ended, "run.retried") | (Phase::Paused, "run.resumed") => {
                Phase::Running
            }
            (Phase::Running, "run.paused") => Phase::Paused,
            (Phase::Submitted | Phase::Running | Phase::Paused, "run.cancelling") => Phase::Cancelling,
            (
                Phase::Running | Phase::Paused | Phase::Cancelling,
                "run.succeeded" | "run.succeeded_with_faults" | "run.failed" | "run.timed_out" | "run.cancelled",
            ) => Phase::Ended,
            (phase, kind) => return Err(Fault::Illegal(format!("{kind} follows while the run is {phase:?}"))),
        };
        if kind == "run.retried" {
            for (_, phase) in self.actions.values_mut() {
                *phase = ActionPhase::Waiting;
            }
        }
        self.run = next;
        Ok(())
    }

    fn action_goes_on(&mut self, action: &ActionName, event: &PublicEvent) -> Result<(), Fault> {
        let (attempt, phase) = self.actions.entry(action.clone()).or_default();
        let kind = event.kind.as_str();
        let illegal = |attempt: u32, phase: ActionPhase| {
            Fault::Illegal(format!(
                "{kind} of {action}, attempt {:?}, follows while it is {phase:?} in attempt {attempt}",
                event.attempt
            ))
        };
        if matches!(self.run, Phase::Submitted | Phase::Ended) {
            return Err(Fault::Illegal(format!("{kind} of {action} follows while the run is {:?}", self.run)));
        }
        let of = event.attempt.unwrap_or(0);
        *phase = match (kind, *phase) {
            ("action.queued", ActionPhase::Waiting | ActionPhase::Retrying) if of == *attempt + 1 => {
                *attempt = of;
                ActionPhase::InFlight
            }
            ("action.started" | "action.progressed" | "action.unserved", ActionPhase::InFlight) if of == *attempt => {
                ActionPhase::InFlight
            }
            ("action.retrying", ActionPhase::InFlight) if of == *attempt => ActionPhase::Retrying,
            ("action.succeeded" | "action.timed_out", ActionPhase::InFlight) if of == *attempt => ActionPhase::Ended,
            ("action.cancelling", phase) if phase != ActionPhase::Ended => phase,
            (
                "action.failed" | "action.cancelled",
                ActionPhase::InFlight | ActionPhase::Retrying | ActionPhase::Waiting,
            )
            | ("action.skipped", ActionPhase::Waiting) => ActionPhase::Ended,
            (_, ActionPhase::Ended) if of == *attempt && kind != "action.queued" => {
                return Err(Fault::SecondEnd(format!("{kind} of {action}, attempt {of}, follows its end")));
            }
            (_, phase) => return Err(illegal(*attempt, phase)),
        };
        Ok(())
    }
}

/// Whether no run of a schedule starts while an earlier one is open.
pub(super) fn forbids_overlap(schedule: &Schedule) -> bool {
    schedule.overlap != Overlap::Allow
}

/// The events of a log that are still true when all is over: how the run ended, this time, and its actions. Subscribers
/// may miss the others: a sender that comes back late publishes only facts that still hold.
pub(super) fn lasting(log: &[PublicEvent]) -> impl Iterator<Item = &PublicEvent> {
    const PASSING: [&str; 9] = [
        "run.started",
        "run.paused",
        "run.resumed",
        "action.queued",
        "action.cancelling",
        "action.unserved",
        "action.started",
        "action.progressed",
        "action.retrying",
    ];
    let retried = log.iter().rposition(|event| event.kind == "run.retried");
    // Of a retried run it is not known in which of its lives an action was skipped.
    let is_passing = move |kind: &str| PASSING.contains(&kind) || retried.is_some() && kind == "action.skipped";
    log[retried.unwrap_or(0)..].iter().filter(move |event| !is_passing(&event.kind))
}
