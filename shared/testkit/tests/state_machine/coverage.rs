//! Which cells of the transition table were reached, and with what answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

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

    /// Fails if a cell of the table was never reached.
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

    /// Fails if the table in the repository is another one; with `WINDLASS_BLESS` set, writes it first.
    pub(super) fn check_document(&self) {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/transitions.md"));
        let table = self.document();
        if std::env::var_os("WINDLASS_BLESS").is_some() {
            std::fs::write(&path, &table).expect("the table can be written");
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == table, "docs/transitions.md is out of date: run this test with WINDLASS_BLESS=1\n{table}");
    }

    fn document(&self) -> String {
        let mut text = String::from(
            "# The transitions of a run\n\n\
             Every status and every input, and what can come of it, as the property tests of the state machine saw it \
             (`shared/testkit/tests/state_machine.rs`). This page is generated; the tests fail when it is out of date.\n\n\
             `no change` means that the input is accepted and changes nothing: it came before, or there is nothing to do. \
             Names in capitals are refusals: `RunEnded`, `RunStatus` (the run is not in a status for it), `Stale` (the \
             report is of an attempt or a fence that has been replaced, or the request of a retry that was never made), \
             `Redelivered` (the message that was claimed has been delivered to another since), `Settled` (the action has ended), `UnknownAction`.\n\n## Runs\n\nThe status of the run after an input.\n\n",
        );
        table(&mut text, "run", &RunStatus::ALL, RunStatus::as_str, &INPUTS, &self.runs);
        text.push_str("\n## Actions of an open run\n\nThe status of the action after a report of it, or its kill.\n\n");
        table(&mut text, "action", &ACTION_STATUSES, ActionStatus::as_str, &REPORTS, &self.actions);
        text
    }

    fn counts(&self) -> String {
        format!("{:#?}\n{:#?}", self.runs, self.actions)
    }
}

fn table<S: Copy + Ord>(
    text: &mut String,
    title: &str,
    statuses: &[S],
    show: fn(S) -> &'static str,
    inputs: &[&'static str],
    cells: &Cells<S>,
) {
    let columns: Vec<&str> = statuses.iter().map(|status| show(*status)).collect();
    let _ = writeln!(text, "| input \\ {title} | {} |", columns.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(columns.len()));
    for input in inputs {
        let cell = |status: &S| {
            let answers: BTreeSet<&str> =
                cells.get(&(*status, *input)).into_iter().flatten().map(|(a, _)| a.as_str()).collect();
            answers.into_iter().collect::<Vec<_>>().join(", ")
        };
        let row: Vec<String> = statuses.iter().map(cell).collect();
        let _ = writeln!(text, "| `{input}` | {} |", row.join(" | "));
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
