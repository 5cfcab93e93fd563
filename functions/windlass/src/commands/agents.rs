//! `windlass agents`: the agents, their pools, and how busy they are.

use std::process::ExitCode;

use serde_json::json;
use windlass_api::AgentView;

use crate::args::{DrainArgs, Globals};
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
            state(agent).to_owned(),
            agent.version.clone(),
            agent.address.clone(),
            span::instant(Some(&agent.seen_at)).map(|at| span::ago(at, now)).unwrap_or_default(),
        ]);
    }
    render::print(&table.text());
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn drain(globals: &Globals, client: &Client, args: &DrainArgs) -> Ended {
    let agent = client.drain(&args.agent, &json!({ "within": args.within.to_string() })).await?;
    if globals.json {
        render::print_json(&agent);
        return Ok(ExitCode::SUCCESS);
    }
    let (id, within) = (&agent.id, args.within);
    render::print(&format!("asked agent {id} to drain: it has {within} for what it performs\n"));
    Ok(ExitCode::SUCCESS)
}

fn state(agent: &AgentView) -> &'static str {
    match (agent.silent, agent.draining) {
        (true, _) => "silent",
        (false, true) => "draining",
        (false, false) => "working",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_hides_a_drain() {
        for (draining, silent, expected) in
            [(false, false, "working"), (true, false, "draining"), (false, true, "silent"), (true, true, "silent")]
        {
            let agent = json!({
                "id": "a-1", "pool": "default", "slots": 4, "busy": 2, "version": "0.1.0", "address": "vm/1",
                "draining": draining, "silent": silent,
                "started_at": "2026-03-01T02:00:00.000Z", "seen_at": "2026-03-01T02:30:00.000Z",
            });
            assert_eq!(state(&serde_json::from_value(agent).expect("an agent")), expected);
        }
    }
}
