//! `windlass demo`: from a definition to a run's last event, in a folder of its own.

use std::path::{Path, PathBuf};

use console::style;
use serde_json::json;
use windlass_contract::view::RunView;
use windlass_domain::ids::TaskName;
use windlass_domain::time::Millis;
use windlass_host::{Credentials, Host, guard_command, prepare_for_programs};

use super::{apply, events, show, task_file};
use crate::args::Globals;
use crate::client::Client;
use crate::connection::Connection;
use crate::examples;
use crate::failure::{Exit, Failure};
use crate::follow::{Manner, follow};
use crate::render::{self, Ended};

/// The task that is run: it fans out, reports progress, joins and tidies up.
const SHOWN: &str = "log-pipeline";
/// Lines of each log: enough work that the tree is seen to move, with progress, on a fast machine too.
const LINES: u64 = 600_000;
/// The demo's time limit. Most machines need some seconds; a busy machine may need far more.
const LONGEST: Millis = Millis::from_secs(1200);
const DRAIN: Millis = Millis::from_secs(5);

pub(super) async fn run(globals: &Globals) -> Ended {
    prepare_for_programs(Credentials::None);
    let data = folder(globals)?;
    heading("A host of its own, on a free port of this machine");
    let host = Host::builder(&data).drain(DRAIN).guard(guard_command()).start().await?;
    say(&format!("{}  data in {}", host.url(), data.display()));
    let told = Box::pin(tell(globals, &host, &data)).await;
    host.shutdown().await?;
    let view = told?;
    how_to_go_on(&data);
    Ok(Exit::of_run(view.status))
}

/// Applies the examples, runs one and shows it.
async fn tell(globals: &Globals, host: &Host, data: &Path) -> Result<RunView, Failure> {
    let here = Globals {
        url: Some(host.url().to_owned()),
        data: Some(data.to_owned()),
        json: globals.json,
        ..Globals::default()
    };
    let client = Client::new(Connection::find(&here)?)?;
    heading("The examples, applied");
    for path in examples::write_to(&data.join("examples"))? {
        if let Ok(definition) = task_file::read(&path)? {
            apply::apply(&client, &path, &definition, true).await?;
            let about = definition.description.as_deref().unwrap_or_default();
            say(&format!("{} {:<16} {}", style("✓").green().bold(), definition.task.as_str(), style(about).dim()));
        }
    }
    heading("One of them, run: it counts four log files in parallel, joins the counts and ranks the pages");
    let task = TaskName::new(SHOWN).map_err(|error| Failure::usage(error.to_string()))?;
    let started = client.start_run(&task, Some(&json!({ "lines": LINES })), None, std::time::Duration::ZERO).await?;
    let manner = if render::can_draw() { Manner::Tree } else { Manner::Silent };
    let view = follow(&client, started.id, manner, Some(LONGEST)).await?;
    if manner == Manner::Silent {
        show::print_tree(&client, &view, false).await;
    }
    heading("What it gave");
    let output = serde_json::to_string_pretty(&view.output).expect("JSON has text keys");
    render::print(&(output + "\n"));
    heading("Its events, as they are kept and published");
    events::print_all(&client, view.id, false).await?;
    Ok(view)
}

/// The folder of the command line, else a new one that stays.
fn folder(globals: &Globals) -> Result<PathBuf, Failure> {
    if let Some(data) = &globals.data {
        return std::path::absolute(data).map_err(|error| Failure::file("use", data, error));
    }
    let made = tempfile::Builder::new().prefix("windlass-demo-").tempdir();
    made.map(tempfile::TempDir::keep).map_err(|error| Failure::file("make a folder in", &std::env::temp_dir(), error))
}

fn how_to_go_on(data: &Path) {
    heading("How to go on");
    let folder = data.display();
    let program = program();
    let steps = [
        (format!("export WINDLASS_DATA={folder}"), "the commands below find host and token by it"),
        (format!("{program} serve --listen 127.0.0.1:0 &"), "the host, on the same folder: nothing is lost"),
        (format!("{program} tasks nightly-report"), "a task and its next due times"),
        (format!("{program} run nightly-report --wait"), "a run; its charts may fail, and do"),
        (format!("{program} show latest"), "the run as it ended"),
        (format!("{program} graph {SHOWN} --format svg -o {SHOWN}.svg"), "its graph as a picture"),
        (format!("{program} validate {folder}/examples/*/*.yaml"), "break one first: every fault has its place"),
    ];
    for (command, about) in steps {
        say(&format!("{}\n    {}", style(command).cyan(), style(about).dim()));
    }
}

/// How the user called this program, to print commands that the user can copy.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if called.contains('/') { called } else { "windlass".to_owned() }
}

fn heading(text: &str) {
    render::print(&format!("\n{}\n", style(text).bold().underlined()));
}

fn say(text: &str) {
    render::print(&format!("  {text}\n"));
}
