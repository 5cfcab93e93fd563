//! A run as a tree: one line for each action, with its sign, its duration and its remarks.

use std::collections::BTreeMap;

use console::{measure_text_width, style};
use windlass_contract::view::{ActionView, RunView};
use windlass_domain::ids::RunId;
use windlass_domain::run::{ActionStatus, ErrorInfo, Progress};
use windlass_domain::time::{Millis, Timestamp};

use super::outline::{Outline, OutlineAction, Row, What};
use super::span;
use super::status::{action_sign, action_text, run_word};
use crate::terminal::printable;

const MAX_NAME_COLUMN: usize = 44;
const DURATION_COLUMN: usize = 8;
const BAR_CELLS: usize = 12;
const NEEDS_SHOWN: usize = 3;
const ERROR_LINES: usize = 12;

/// How a tree is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawing {
    /// The time that open durations are counted to.
    pub(crate) now: Timestamp,
    /// At most so many branches of one fork.
    pub(crate) most: usize,
    /// The place of what turns; `None`: nothing turns.
    pub(crate) frame: Option<usize>,
    /// Whether errors may take lines of their own.
    pub(crate) whole_errors: bool,
}

/// The run's head line, its actions, and its foot line.
pub(crate) fn lines(view: &RunView, outline: &Outline, drawing: &Drawing) -> Vec<String> {
    let state = |at: usize| outline.actions.get(at).and_then(|action| view.actions.get(&action.name));
    let rank = |at: usize| state(at).map_or(9, |state| rank_of(state.status));
    let rows = outline.rows(drawing.most, rank);
    let wide = |row: &Row| match row.what {
        What::Action(at) => measure_text_width(&row.lead) + outline.actions[at].name.as_str().len() + 2,
        What::Hidden(_) => 0,
    };
    let column = rows.iter().map(wide).max().unwrap_or(0).min(MAX_NAME_COLUMN);
    let mut lines = vec![head_of(view, drawing)];
    for row in &rows {
        match &row.what {
            What::Action(at) => {
                let Some(state) = state(*at) else { continue };
                let action = &outline.actions[*at];
                lines.push(action_line(row, action, state, outline, column, drawing));
                if drawing.whole_errors {
                    lines.extend(error_lines(row, state));
                }
            }
            What::Hidden(hidden) => lines.push(hidden_line(row, hidden.iter().filter_map(|at| state(*at)))),
        }
    }
    lines.push(foot_of(view));
    if let Some(error) = &view.error {
        lines.push(format!("{} {}", style("error:").red().bold(), first_line(&full_error(error))));
    }
    lines
}

/// The beginning of a run's id: enough to name it. Ids of version 7 begin with the time, so it takes 13 characters.
pub(crate) fn short(id: RunId) -> String {
    id.to_string().chars().take(13).collect()
}

fn head_of(view: &RunView, drawing: &Drawing) -> String {
    let begun = span::instant(view.started_at.as_ref()).or(span::instant(Some(&view.submitted_at)));
    let ended = span::instant(view.finished_at.as_ref()).unwrap_or(drawing.now);
    let took = begun.map(|begun| span::shown(ended.since(begun))).unwrap_or_default();
    let task = style(&view.task).bold();
    let dim = style(format!("v{} · run {}", view.version, short(view.id))).dim();
    format!("{task} {dim} · {} · {took}", run_word(view.status))
}

fn action_line(
    row: &Row,
    action: &OutlineAction,
    state: &ActionView,
    outline: &Outline,
    column: usize,
    drawing: &Drawing,
) -> String {
    let sign = action_sign(state.status, action.allow_failure, drawing.frame);
    let used = measure_text_width(&row.lead) + 2 + action.name.as_str().len();
    let padding = " ".repeat(column.saturating_sub(used));
    let name = match state.status {
        ActionStatus::Waiting | ActionStatus::Skipped => style(action.name.as_str()).dim(),
        ActionStatus::Queued
        | ActionStatus::Running
        | ActionStatus::RetryWaiting
        | ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::TimedOut
        | ActionStatus::Cancelled => style(action.name.as_str()),
    };
    let took = format!("{:>DURATION_COLUMN$}", duration_of(state, drawing.now).map(span::shown).unwrap_or_default());
    let mut notes = notes_of(action, state, drawing);
    notes.extend(after_of(action, outline).map(|after| style(after).dim().to_string()));
    let line = format!("{}{sign} {name}{padding}  {}  {}", style(&row.lead).dim(), style(took).dim(), notes.join("  "));
    line.trim_end().to_owned()
}

/// How long the newest attempt has taken, or takes. One that was never queued took no time.
fn duration_of(state: &ActionView, now: Timestamp) -> Option<Millis> {
    let begun = span::instant(state.started_at.as_ref()).or(span::instant(state.queued_at.as_ref()))?;
    match state.status {
        ActionStatus::Waiting | ActionStatus::Skipped | ActionStatus::RetryWaiting => None,
        ActionStatus::Queued | ActionStatus::Running => Some(now.since(begun)),
        ActionStatus::Succeeded | ActionStatus::Failed | ActionStatus::TimedOut | ActionStatus::Cancelled => {
            Some(span::instant(state.finished_at.as_ref())?.since(begun))
        }
    }
}

fn notes_of(action: &OutlineAction, state: &ActionView, drawing: &Drawing) -> Vec<String> {
    let mut notes = Vec::new();
    let attempt = match action.attempts {
        Some(most) if most > 1 => format!("attempt {} of {most}", state.attempts),
        _ => format!("attempt {}", state.attempts),
    };
    if state.attempts > 1 || state.status == ActionStatus::RetryWaiting {
        notes.push(style(attempt).yellow().to_string());
    }
    match state.status {
        ActionStatus::Waiting => {}
        // The last word of an action without an output may say why it has none.
        ActionStatus::Succeeded => {
            let last = state.progress.as_ref().filter(|last| state.output.is_none() && last.percent.is_none());
            notes.extend(last.map(progress_text));
        }
        ActionStatus::Queued if state.unserved_since.is_some() => notes.push(unserved_text(state, drawing)),
        ActionStatus::Queued | ActionStatus::Running if state.cancelling_since.is_some() => {
            notes.push(style("being killed").magenta().to_string());
        }
        ActionStatus::Cancelled if state.error.is_some() => {
            notes.extend(state.error.as_ref().map(|error| style(error_text(error)).magenta().to_string()));
        }
        ActionStatus::Queued | ActionStatus::Cancelled => {
            notes.push(style(action_text(state.status)).dim().to_string());
        }
        ActionStatus::Running if state.agent_silent_since.is_some() => notes.push(silent_text(state, drawing)),
        ActionStatus::Running => notes.extend(state.progress.as_ref().map(progress_text)),
        ActionStatus::RetryWaiting => {
            let due = span::instant(state.retry_at.as_ref());
            notes.extend(due.map(|due| format!("next in {}", span::shown(due.since(drawing.now)))));
            notes.extend(state.error.as_ref().map(|error| style(error_text(error)).yellow().to_string()));
        }
        ActionStatus::Failed | ActionStatus::TimedOut if action.allow_failure => {
            let error = state.error.as_ref().map(error_text).unwrap_or_default();
            notes.push(format!("{} {}", style(error).yellow(), style("(may fail)").dim()));
        }
        ActionStatus::Failed | ActionStatus::TimedOut => {
            notes.extend(state.error.as_ref().map(|error| style(error_text(error)).red().to_string()));
        }
        ActionStatus::Skipped => {
            let why = state.error.as_ref().map(|error| format!(": {}", first_line(&error.message)));
            notes.push(style(format!("skipped{}", why.unwrap_or_default())).dim().to_string());
        }
    }
    notes
}

fn unserved_text(state: &ActionView, drawing: &Drawing) -> String {
    let since = span::instant(state.unserved_since.as_ref());
    let waited = since.map(|since| format!(" for {}", span::shown(drawing.now.since(since))));
    style(format!("no agent has served its pool{}", waited.unwrap_or_default())).yellow().to_string()
}

fn silent_text(state: &ActionView, drawing: &Drawing) -> String {
    let since = span::instant(state.agent_silent_since.as_ref());
    let silent = since.map(|since| format!(" for {}", span::shown(drawing.now.since(since))));
    style(format!("its agent has been silent{}", silent.unwrap_or_default())).yellow().to_string()
}

fn progress_text(progress: &Progress) -> String {
    let bar = progress.percent.map(|percent| {
        let share = (percent / 100.0).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a few cells")]
        #[expect(clippy::cast_precision_loss, reason = "a few cells")]
        let full = (share * BAR_CELLS as f64).round() as usize;
        let (done, open) = ("━".repeat(full), "─".repeat(BAR_CELLS - full));
        format!("{}{} {percent:.0} %", style(done).cyan(), style(open).dim())
    });
    let message = progress.message.as_ref().map(|message| style(first_line(message)).dim().to_string());
    bar.into_iter().chain(message).collect::<Vec<_>>().join(" ")
}

fn after_of(action: &OutlineAction, outline: &Outline) -> Option<String> {
    if action.needs.len() < 2 {
        return None;
    }
    let named = action.needs.iter().take(NEEDS_SHOWN).map(|need| outline.actions[*need].name.as_str());
    let more = action.needs.len().saturating_sub(NEEDS_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("after {}{more}", named.collect::<Vec<_>>().join(", ")))
}

/// The lines of an error's message after the first, to print under its action; at most the last [`ERROR_LINES`].
fn error_lines(row: &Row, state: &ActionView) -> Vec<String> {
    let message = state.error.as_ref().map(|error| error.message.trim_end()).unwrap_or_default();
    let rest: Vec<&str> = message.lines().skip(1).filter(|line| !line.trim().is_empty()).collect();
    let from = rest.len().saturating_sub(ERROR_LINES);
    let line = |text: &&str| format!("{}    {}", style(&row.rest).dim(), style(printable(text)).dim());
    rest[from..].iter().map(line).collect()
}

fn hidden_line<'a>(row: &Row, hidden: impl Iterator<Item = &'a ActionView>) -> String {
    let mut counts: BTreeMap<ActionStatus, usize> = BTreeMap::new();
    hidden.for_each(|state| *counts.entry(state.status).or_default() += 1);
    let all: usize = counts.values().sum();
    let counts = counts.iter().map(|(status, count)| format!("{count} {}", action_text(*status)));
    let text = format!("… {all} more: {}", counts.collect::<Vec<_>>().join(", "));
    format!("{}{}", style(&row.lead).dim(), style(text).dim())
}

fn foot_of(view: &RunView) -> String {
    let mut counts: BTreeMap<ActionStatus, usize> = BTreeMap::new();
    view.actions.values().for_each(|state| *counts.entry(state.status).or_default() += 1);
    let settled = view.actions.values().filter(|state| state.status.is_settled()).count();
    let counts = counts.iter().map(|(status, count)| format!("{count} {}", action_text(*status)));
    let text = format!("{settled} of {} done: {}", view.actions.len(), counts.collect::<Vec<_>>().join(", "));
    style(text).dim().to_string()
}

/// Actions with a higher rank are hidden first.
const fn rank_of(status: ActionStatus) -> u8 {
    match status {
        ActionStatus::Failed | ActionStatus::TimedOut => 0,
        ActionStatus::RetryWaiting => 1,
        ActionStatus::Running => 2,
        ActionStatus::Queued => 3,
        ActionStatus::Cancelled => 4,
        ActionStatus::Waiting => 5,
        ActionStatus::Succeeded => 6,
        ActionStatus::Skipped => 7,
    }
}

fn full_error(error: &ErrorInfo) -> String {
    if error.message.trim().is_empty() {
        return error.kind.clone();
    }
    format!("{}: {}", error.kind, error.message)
}

fn error_text(error: &ErrorInfo) -> String {
    first_line(&full_error(error))
}

/// The first line of a text, without anything that could steer the terminal.
fn first_line(text: &str) -> String {
    printable(text.trim().lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::outline::tests::outline;
    use super::*;
    use serde_json::{Value, json};

    fn view(actions: &Value) -> RunView {
        serde_json::from_value(json!({
            "id": "019a0000-0000-7000-8000-000000000001", "task": "nightly-report", "version": 3,
            "status": "running", "input": {}, "output": null,
            "submitted_at": "2026-03-01T02:30:00.000Z", "started_at": "2026-03-01T02:30:00.100Z",
            "finished_at": null, "actions": actions,
        }))
        .expect("a run")
    }

    fn action(status: &str, more: &Value) -> Value {
        let mut action = json!({
            "status": status, "attempts": 1, "agent": "a", "queued_at": "2026-03-01T02:30:01.000Z",
            "started_at": null, "finished_at": null, "output": null, "error": null,
        });
        for (key, value) in more.as_object().expect("an object") {
            action[key] = value.clone();
        }
        action
    }

    fn drawn(view: &RunView, outline: &Outline, most: usize) -> String {
        console::set_colors_enabled(false);
        let now = Timestamp::parse_rfc3339("2026-03-01T02:30:06.000Z").expect("a time");
        lines(view, outline, &Drawing { now, most, frame: None, whole_errors: true }).join("\n")
    }

    #[test]
    fn every_status_has_its_line() {
        let mut outline = outline(&[
            ("extract", &[]),
            ("totals", &["extract"]),
            ("charts", &["extract"]),
            ("upload", &["extract"]),
            ("mail", &["extract"]),
            ("flaky", &["extract"]),
            ("publish", &["totals", "charts", "upload", "mail"]),
            ("tell", &["publish"]),
        ]);
        outline.actions[2].allow_failure = true;
        outline.actions[5].attempts = Some(5);
        let done = "2026-03-01T02:30:03.250Z";
        let view = view(&json!({
            "extract": action("succeeded", &json!({ "finished_at": done })),
            "totals": action("running", &json!({
                "started_at": "2026-03-01T02:30:02.000Z", "progress": { "percent": 41.7, "message": "row 417\u{1b}[31m" } })),
            "charts": action("failed", &json!({ "finished_at": done, "error": {
                "kind": "http.connect", "message": "connection refused" } })),
            "upload": action("failed", &json!({ "finished_at": done, "error": {
                "kind": "exec.exit", "message": "exit code 1\nTraceback\n  boom" } })),
            "mail": action("queued", &json!({})),
            "flaky": action("retry_waiting", &json!({ "attempts": 2, "retry_at": "2026-03-01T02:30:08.000Z", "error": {
                "kind": "exec.temporary", "message": "busy" } })),
            "publish": action("waiting", &json!({ "attempts": 0, "queued_at": null })),
            "tell": action("skipped", &json!({ "attempts": 0, "queued_at": null, "error": {
                "kind": "skipped.condition", "message": "its condition is false" } })),
        }));
        insta::assert_snapshot!(drawn(&view, &outline, 100));
    }

    #[test]
    fn an_action_without_an_agent_says_so() {
        let unserved = action("queued", &json!({ "unserved_since": "2026-03-01T02:30:01.000Z" }));
        let drawn = drawn(&view(&json!({ "render": unserved })), &outline(&[("render", &[])]), 100);
        assert!(drawn.contains("render     5.0 s  no agent has served its pool for 5.0 s"), "{drawn}");
    }

    #[test]
    fn wide_fan_shows_failures_and_counts_the_rest() {
        let mut actions = serde_json::Map::new();
        let mut shape: Vec<(String, Vec<&str>)> = vec![("split".into(), vec![])];
        actions.insert("split".into(), action("succeeded", &json!({})));
        for part in 0..40 {
            let status = if part == 33 { "failed" } else { "succeeded" };
            actions.insert(format!("part-{part}"), action(status, &json!({})));
            shape.push((format!("part-{part}"), vec!["split"]));
        }
        let shape: Vec<(&str, &[&str])> = shape.iter().map(|(name, needs)| (name.as_str(), needs.as_slice())).collect();
        insta::assert_snapshot!(drawn(&view(&actions.into()), &outline(&shape), 3));
    }
}
