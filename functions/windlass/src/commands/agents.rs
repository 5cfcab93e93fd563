//! `windlass agents`: the agents, their pools, and how busy they are.

use std::process::ExitCode;

use serde_json::json;
use windlass_api::AgentView;
use windlass_domain::time::{Millis, Timestamp};

use crate::args::{DrainArgs, Globals};
use crate::client::Client;
use crate::render::table::Table;
use crate::render::{self, Ended, span};

/// An agent reports every 10 s; a host where a write costs something lets at least one a minute through. One that has
/// been silent for longer was killed, or is cut off.
const SILENT_AFTER: Millis = Millis::from_secs(95);

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
            state(agent, now).to_owned(),
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

fn state(agent: &AgentView, now: Timestamp) -> &'static str {
    let silent = span::instant(Some(&agent.seen_at)).is_some_and(|at| now.since(at) > SILENT_AFTER);
    match (silent, agent.draining) {
        (true, _) => "silent",
        (false, true) => "draining",
        (false, false) => "working",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(draining: bool, now: &str, expected: &str) {
        let agent = serde_json::from_value(serde_json::json!({
            "id": "a-1", "pool": "default", "slots": 4, "busy": 2, "version": "0.1.0", "address": "vm/1",
            "draining": draining, "started_at": "2026-03-01T02:00:00.000Z", "seen_at": "2026-03-01T02:30:00.000Z",
        }));
        let now = Timestamp::parse_rfc3339(now).expect("a time");
        assert_eq!(state(&agent.expect("an agent"), now), expected);
    }

    #[test]
    fn agent_without_reports_is_shown_as_silent() {
        check(false, "2026-03-01T02:30:10.000Z", "working");
        check(true, "2026-03-01T02:30:10.000Z", "draining");
        check(false, "2026-03-01T02:31:30.000Z", "working");
        check(false, "2026-03-01T02:31:40.000Z", "silent");
    }
}
