//! `windlass runs`: the list of runs.

use std::process::ExitCode;

use windlass_contract::view::RunSummary;

use crate::args::{Globals, RunsArgs};
use crate::client::Client;
use crate::failure::Failure;
use crate::render::table::Table;
use crate::render::tree::short;
use crate::render::{self, Ended, span, status};

const PAGE: usize = 500;

pub(super) async fn run(globals: &Globals, client: &Client, args: &RunsArgs) -> Ended {
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
