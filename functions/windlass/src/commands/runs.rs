//! `windlass runs`: the list of runs, and the deletion of those that have ended.

use std::process::ExitCode;

use serde_json::json;
use windlass_contract::view::RunSummary;

use crate::args::{Globals, PruneArgs, RunRefArgs, RunsArgs, RunsCommand};
use crate::client::Client;
use crate::failure::Failure;
use crate::render::table::Table;
use crate::render::tree::short;
use crate::render::{self, Ended, span, status};

const PAGE: usize = 500;

pub(super) async fn run(globals: &Globals, client: &Client, args: &RunsArgs) -> Ended {
    match &args.command {
        None => list(globals, client, args).await,
        Some(RunsCommand::Delete(run)) => delete(globals, client, run).await,
        Some(RunsCommand::Prune(args)) => prune(globals, client, args).await,
    }
}

async fn delete(globals: &Globals, client: &Client, args: &RunRefArgs) -> Ended {
    let id = client.resolve(&args.run).await?;
    client.delete_run(id).await?;
    if globals.json {
        render::print_json(&json!({ "deleted": [id] }));
    } else {
        render::print(&format!("deleted run {}\n", short(id)));
    }
    Ok(ExitCode::SUCCESS)
}

async fn prune(globals: &Globals, client: &Client, args: &PruneArgs) -> Ended {
    let mut deleted = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let body = json!({
            "older_than": args.older_than.to_string(),
            "task": args.task,
            "status": args.status,
            "cursor": cursor,
        });
        let page = client.prune(&body).await?;
        deleted.extend(page.deleted);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if globals.json {
        render::print_json(&json!({ "deleted": deleted }));
    } else {
        let runs = if deleted.len() == 1 { "run" } else { "runs" };
        render::print(&format!("deleted {} {runs}\n", deleted.len()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(globals: &Globals, client: &Client, args: &RunsArgs) -> Ended {
    let runs = read(client, args).await?;
    if globals.json {
        render::print_json(&runs);
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() {
        render::print("no runs\n");
        return Ok(ExitCode::SUCCESS);
    }
    let now = span::now();
    let mut table = Table::new(&["RUN", "TASK", "STATUS", "SUBMITTED", "TOOK"]);
    for run in &runs {
        let submitted = span::instant(Some(&run.submitted_at)).unwrap_or(now);
        let begun = span::instant(run.started_at.as_ref()).unwrap_or(submitted);
        let ended = span::instant(run.finished_at.as_ref()).unwrap_or(now);
        table.row([
            short(run.id),
            format!("{} v{}", run.task, run.version),
            status::run_word(run.status).to_string(),
            span::ago(submitted, now),
            span::shown(ended.since(begun)),
        ]);
    }
    render::print(&table.text());
    Ok(ExitCode::SUCCESS)
}

async fn read(client: &Client, args: &RunsArgs) -> Result<Vec<RunSummary>, Failure> {
    let most = args.limit as usize;
    let mut runs = Vec::new();
    let mut cursor = None;
    loop {
        let limit = (most - runs.len()).min(PAGE);
        let page = client.runs(args.task.as_ref(), args.status, limit, cursor.as_deref()).await?;
        runs.extend(page.runs);
        cursor = page.next;
        if cursor.is_none() || runs.len() >= most {
            runs.truncate(most);
            return Ok(runs);
        }
    }
}
