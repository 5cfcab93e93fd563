//! `windlass cancel`, `kill`, `pause`, `resume` and `retry`.

use std::process::ExitCode;

use console::style;
use serde_json::{Value, json};
use windlass_contract::view::RunView;

use crate::args::{Globals, KillArgs, ReasonArgs};
use crate::client::Client;
use crate::render::tree::short;
use crate::render::{self, Ended, status};

pub(super) async fn kill(globals: &Globals, client: &Client, args: &KillArgs) -> Ended {
    let id = client.resolve(&args.run.run).await?;
    let view = client.kill(id, &args.action, &body(args.reason.as_deref())).await?;
    if globals.json {
        render::print_json(&view);
    } else {
        let shown = match view.actions.get(&args.action) {
            Some(state) => Some(state.status),
            // A large run is answered without its actions. The kill was accepted, whether or not this can be read.
            None => client.action(id, &args.action).await.ok().map(|state| state.status),
        };
        let stands = shown.map_or("unknown", status::action_text);
        let (action, id, task) = (&args.action, short(view.id), &view.task);
        render::print(&format!("asked to kill {action} of run {id} of {task}, which is {stands}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn run(globals: &Globals, client: &Client, args: &ReasonArgs, verb: &str) -> Ended {
    let id = client.resolve(&args.run.run).await?;
    let view = client.control(id, verb, &body(args.reason.as_deref())).await?;
    if globals.json {
        render::print_json(&view);
    } else {
        let (id, task, word) = (short(view.id), &view.task, status::run_word(view.status));
        // The answer is the run as it stood: the request takes effect right after.
        render::print(&format!("asked to {verb} run {id} of {task}, which is {word}\n"));
        if verb == "retry" {
            note_newer_version(client, &view).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A run keeps its version. Whoever has mended the task since, and retries a run of before, may expect the new one.
async fn note_newer_version(client: &Client, view: &RunView) {
    let Ok(task) = client.task(&view.task).await else { return };
    if task.version > view.version {
        let (own, newest, name) = (view.version, task.version, &view.task);
        let note = format!("it goes on with version {own}; `windlass run {name}` takes version {newest}\n");
        render::print(&style(note).dim().to_string());
    }
}

fn body(reason: Option<&str>) -> Value {
    reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }))
}
