//! `windlass agents`: who performs what, and how busy they are.

use std::process::ExitCode;

use crate::args::Globals;
use crate::client::Client;
use crate::render::table::Table;
use crate::render::{self, Ended, span};

pub(super) async fn run(globals: &Globals, client: &Client) -> Ended {
    let agents = client.agents().await?;
    if globals.json {
        render::print_json(&agents);
        return Ok(ExitCode::SUCCESS);
    }
    if agents.is_empty() {
        render::print("no agents: nothing is performed until one comes up, see `windlass agent --help`\n");
        return Ok(ExitCode::SUCCESS);
    }
    let now = span::now();
    let mut table = Table::new(&["AGENT", "POOL", "BUSY", "STATE", "VERSION", "ADDRESS", "SEEN"]);
    for agent in &agents {
        table.row([
            agent.id.to_string(),
            agent.pool.to_string(),
            format!("{} of {}", agent.busy, agent.slots),
            if agent.draining { "draining" } else { "working" }.to_owned(),
            agent.version.clone(),
            agent.address.clone(),
            span::instant(Some(&agent.seen_at)).map(|at| span::ago(at, now)).unwrap_or_default(),
        ]);
    }
    render::print(&table.text());
    Ok(ExitCode::SUCCESS)
}
