//! Which inputs met which statuses of runs and actions, and with what answers.

use std::collections::BTreeMap;

use windlass_domain::run::{ActionStatus, Change, Input, Rejection, Run, RunStatus};

use super::action_of;

const INPUTS: [&str; 16] = [
    "Start",
    "Cancel",
    "Kill",
    "Pause",
    "Resume",
    "Retry",
    "Wake",
    "Sweep",
    "Unserved",
    "Started",
    "Claim",
    "Renewed",
    "Progressed",
    "HandedBack",
    "Completed",
    "DeadLettered",
];
/// Those of [`INPUTS`] that are about an action.
const REPORTS: [&str; 8] =
    ["Kill", "Started", "Claim", "Renewed", "Progressed", "HandedBack", "Completed", "DeadLettered"];
const ACTION_STATUSES: [ActionStatus; 9] = [
    ActionStatus::Waiting,
    ActionStatus::Queued,
    ActionStatus::Running,
    ActionStatus::RetryWaiting,
    ActionStatus::Succeeded,
    ActionStatus::Failed,
    ActionStatus::TimedOut,
    ActionStatus::Skipped,
    ActionStatus::Cancelled,
];

/// Status and input; then each answer and how often it was given.
type Cells<S> = BTreeMap<(S, &'static str), BTreeMap<String, usize>>;

#[derive(Default)]
pub(super) struct Coverage {
    runs: Cells<RunStatus>,
    /// Of runs that are open.
    actions: Cells<ActionStatus>,
}

impl Coverage {
    pub(super) fn count(&mut self, run: &Run, input: &Input, change: &Change) {
        let kind = kind_of(input);
        let action = action_of(input).filter(|action| action.as_usize() < run.actions.len());
        let to_run = to_run(change);
        *self.runs.entry((run.status, kind)).or_default().entry(to_run).or_default() += 1;
        if let Some(action) = action.filter(|_| !run.status.is_final()) {
            let status = run.action(action).status;
            let answer = match change.answer {
                Ok(()) if change.facts.is_empty() => "no change".to_owned(),
                Ok(()) => change.after.action(action).status.as_str().to_owned(),
                Err(rejection) => name_of(rejection).to_owned(),
            };
            *self.actions.entry((status, kind)).or_default().entry(answer).or_default() += 1;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        merge(&mut self.runs, other.runs);
        merge(&mut self.actions, other.actions);
    }

    /// Fails if an input never met a status.
    pub(super) fn check_complete(&self) {
        let mut missing = Vec::new();
        for status in RunStatus::ALL {
            missing.extend(
                INPUTS
                    .iter()
                    .filter(|kind| !self.runs.contains_key(&(status, **kind)))
                    .map(|kind| format!("{} x {kind}", status.as_str())),
            );
        }
        for status in ACTION_STATUSES {
            missing.extend(
                REPORTS
                    .iter()
                    .filter(|kind| !self.actions.contains_key(&(status, **kind)))
                    .map(|kind| format!("{} x {kind}", status.as_str())),
            );
        }
        assert!(missing.is_empty(), "never reached: {}\n{}", missing.join(", "), self.counts());
    }

    fn counts(&self) -> String {
        format!("{:#?}\n{:#?}", self.runs, self.actions)
    }
}

fn merge<S: Ord>(into: &mut Cells<S>, from: Cells<S>) {
    for (cell, answers) in from {
        let cell = into.entry(cell).or_default();
        for (answer, times) in answers {
            *cell.entry(answer).or_default() += times;
        }
    }
}

fn to_run(change: &Change) -> String {
    match change.answer {
        Ok(()) if change.facts.is_empty() => "no change".into(),
        Ok(()) => change.after.status.as_str().into(),
        Err(rejection) => name_of(rejection).into(),
    }
}

fn name_of(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::RunEnded => "RunEnded",
        Rejection::RunStatus(_) => "RunStatus",
        Rejection::Stale => "Stale",
        Rejection::Settled => "Settled",
        Rejection::UnknownAction => "UnknownAction",
    }
}

fn kind_of(input: &Input) -> &'static str {
    match input {
        Input::Start => "Start",
        Input::Cancel { .. } => "Cancel",
        Input::Kill { .. } => "Kill",
        Input::Pause { .. } => "Pause",
        Input::Resume { .. } => "Resume",
        Input::Retry { .. } => "Retry",
        Input::Wake { .. } => "Wake",
        Input::Sweep => "Sweep",
        Input::Unserved { .. } => "Unserved",
        Input::Started { .. } => "Started",
        Input::Claim { .. } => "Claim",
        Input::Renewed { .. } => "Renewed",
        Input::Progressed { .. } => "Progressed",
        Input::HandedBack { .. } => "HandedBack",
        Input::Completed { .. } => "Completed",
        Input::DeadLettered { .. } => "DeadLettered",
    }
}
