//! `windlass show`: a run as it stands.

use std::process::ExitCode;

use console::style;
use windlass_contract::view::{ActionView, RunView};

use crate::args::{Globals, ShowArgs};
use crate::client::Client;
use crate::follow::outline_of;
use crate::render::tree::{Drawing, lines, short};
use crate::render::{self, Ended, span, status};

/// How many branches of one fork are listed one by one, without `--all`.
const MOST: usize = 48;

pub(super) async fn run(globals: &Globals, client: &Client, args: &ShowArgs) -> Ended {
    let id = client.resolve(&args.run.run).await?;
    if let Some(action) = &args.action {
        show_action(globals, &client.action(id, action).await?);
        return Ok(ExitCode::SUCCESS);
    }
    let view = client.run(id).await?;
    if globals.json {
        render::print_json(&view);
    } else {
        print_tree(client, &view, args.all).await;
        if view.status.is_final() && !view.status.is_success() {
            let id = short(view.id);
            let next =
                format!("`windlass events {id}` tells how it came about, `windlass retry {id}` takes it up again\n");
            render::print(&style(next).dim().to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_action(globals: &Globals, action: &ActionView) {
    if globals.json {
        render::print_json(action);
    } else {
        render::print(&(action_lines(action).join("\n") + "\n"));
    }
}

fn action_lines(action: &ActionView) -> Vec<String> {
    let name = action.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let attempt = if action.attempts > 0 { format!(" · attempt {}", action.attempts) } else { String::new() };
    let agent = action.agent.as_ref().map(|agent| format!(" · {agent}")).unwrap_or_default();
    let mut lines = vec![format!("{} · {}{attempt}{agent}", style(name).bold(), status::action_text(action.status))];
    if let Some(error) = &action.error {
        lines.push(format!("{} {}: {}", style("error:").red().bold(), error.kind, error.message));
    }
    if let Some(output) = &action.output {
        lines.push(serde_json::to_string_pretty(output).expect("JSON has text keys"));
    }
    lines
}

/// Prints the run as a tree; `all`: every action of a wide fan.
pub(super) async fn print_tree(client: &Client, view: &RunView, all: bool) {
    let outline = outline_of(client, view).await;
    let most = if all { usize::MAX } else { MOST };
    let drawing = Drawing { now: span::now(), most, frame: None, whole_errors: true };
    render::print(&(lines(view, &outline, &drawing).join("\n") + "\n"));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(action: &Value, expected: &[&str]) {
        let action: ActionView = serde_json::from_value(action.clone()).expect("an action");
        let lines = action_lines(&action);
        let plain: Vec<_> = lines.iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
        assert_eq!(plain, expected);
    }

    #[test]
    fn action_is_shown_with_its_output_or_its_error() {
        let mut action = json!({
            "name": "load", "status": "succeeded", "attempts": 2, "agent": "agent-1", "queued_at": null,
            "started_at": null, "finished_at": null, "output": [1, "x"], "error": null,
        });
        check(&action, &["load · succeeded · attempt 2 · agent-1", "[\n  1,\n  \"x\"\n]"]);
        action["output"] = Value::Null;
        action["status"] = "failed".into();
        action["error"] = json!({ "kind": "exit.1", "message": "no such table" });
        check(&action, &["load · failed · attempt 2 · agent-1", "error: exit.1: no such table"]);
        let waiting = json!({
            "name": "load", "status": "waiting", "attempts": 0, "agent": null, "queued_at": null,
            "started_at": null, "finished_at": null, "output": null, "error": null,
        });
        check(&waiting, &["load · waiting"]);
    }
}
