//! `windlass tasks` and `windlass delete`.

use std::process::ExitCode;

use console::style;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use windlass_domain::time::Timestamp;

use crate::args::{DeleteArgs, Globals, TasksArgs};
use crate::client::{Client, TaskView};
use crate::render::table::Table;
use crate::render::{self, Ended, span};
use crate::terminal::printable;

pub(super) async fn run(globals: &Globals, client: &Client, args: &TasksArgs) -> Ended {
    if let Some(task) = &args.task {
        let task = client.task(task).await?;
        if globals.json {
            render::print_json(&task);
        } else {
            render::print(&described(&task));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let tasks = client.tasks().await?;
    if globals.json {
        render::print_json(&tasks);
    } else if tasks.is_empty() {
        render::print("no tasks; `windlass apply FILE` brings one\n");
    } else {
        render::print(&listed(&tasks));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn delete(globals: &Globals, client: &Client, args: &DeleteArgs) -> Ended {
    client.delete_task(&args.task).await?;
    if globals.json {
        render::print_json(&json!({ "task": args.task, "deleted": true }));
    } else {
        render::print(&format!("task {} is deleted; its open runs go on\n", args.task));
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(tasks: &[TaskView]) -> String {
    let mut table = Table::new(&["TASK", "VERSION", "SCHEDULE", "NEXT DUE", "DESCRIPTION"]);
    for task in tasks {
        let next = task.next_due.first().map(|due| in_zone(due, zone_of(task))).unwrap_or_default();
        table.row([
            task.task.to_string(),
            task.version.to_string(),
            schedule_of(task),
            next,
            printable(task.problem.as_deref().or(task.description.as_deref()).unwrap_or_default()),
        ]);
    }
    table.text()
}

fn described(task: &TaskView) -> String {
    let updated = span::instant(Some(&task.updated_at)).map(|at| span::ago(at, span::now())).unwrap_or_default();
    let mut lines =
        vec![format!("{} {}", style(&task.task).bold(), style(format!("v{} · {updated}", task.version)).dim())];
    lines.extend(task.description.as_ref().map(|description| printable(description)));
    lines.extend(task.labels.iter().map(|(key, value)| format!("label     {}: {}", printable(key), printable(value))));
    if task.schedule.is_some() {
        lines.push(format!("schedule  {}", schedule_of(task)));
        for (at, due) in task.next_due.iter().enumerate() {
            let head = if at == 0 { "next due  " } else { "          " };
            lines.push(format!("{head}{}", in_zone(due, zone_of(task))));
        }
    }
    let actions = task.definition.as_ref().and_then(|definition| definition["actions"].as_object());
    if let Some(actions) = actions {
        let names: Vec<&str> = actions.keys().map(String::as_str).collect();
        lines.push(format!("actions   {}", names.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// The rule of the schedule as its author wrote it.
fn schedule_of(task: &TaskView) -> String {
    let Some(schedule) = &task.schedule else { return String::new() };
    let rule = match (&schedule["cron"], &schedule["every"]) {
        (Value::String(cron), _) => format!("{cron} {}", zone_of(task)),
        (_, Value::String(every)) => format!("every {every}"),
        _ => String::new(),
    };
    printable(&rule)
}

fn zone_of(task: &TaskView) -> &str {
    task.schedule.as_ref().and_then(|schedule| schedule["timezone"].as_str()).unwrap_or("UTC")
}

/// A due time by the clocks of its zone: `Sun 2026-03-29 03:30 CEST`.
fn in_zone(due: &str, zone: &str) -> String {
    let (Some(at), Ok(zone)) = (Timestamp::parse_rfc3339(due), TimeZone::get(zone)) else {
        return printable(due);
    };
    at.to_jiff().to_zoned_datetime(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_are_shown_in_their_zone() {
        assert_eq!(in_zone("2026-03-28T01:30:00.000Z", "Europe/Berlin"), "Sat 2026-03-28 02:30:00 CET");
        assert_eq!(in_zone("2026-03-30T00:30:00.000Z", "Europe/Berlin"), "Mon 2026-03-30 02:30:00 CEST");
        assert_eq!(in_zone("2026-03-30T00:30:00.000Z", "Nowhere/Else"), "2026-03-30T00:30:00.000Z");
    }

    #[test]
    fn a_task_is_described() {
        console::set_colors_enabled(false);
        let task: TaskView = serde_json::from_value(json!({
            "task": "nightly-report", "version": 3, "description": "Extract, shape, publish",
            "labels": { "client": "acme" }, "schedule": { "cron": "30 2 * * *", "timezone": "Europe/Berlin" },
            "next_due": ["2026-03-28T01:30:00.000Z", "2026-03-30T00:30:00.000Z"],
            "updated_at": "unknown", "definition": { "actions": { "extract": {}, "totals": {} } },
        }))
        .expect("a task");
        insta::assert_snapshot!(described(&task));
    }
}
