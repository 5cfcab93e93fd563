//! `windlass events`: the decisions about a run, in order.

use std::process::ExitCode;

use windlass_domain::ids::RunId;

use crate::args::{EventsArgs, Globals};
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{Manner, follow};
use crate::render::{self, Ended, events};

pub(super) async fn run(globals: &Globals, client: &Client, args: &EventsArgs) -> Ended {
    let id = client.resolve(&args.run.run).await?;
    let manner = if globals.json { Manner::JsonLines } else { Manner::Lines };
    if args.follow {
        // A host that is not there from the start is not waited for.
        client.run(id).await?;
        follow(client, id, manner, None).await?;
        return Ok(ExitCode::SUCCESS);
    }
    print_all(client, id, globals.json).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints every kept event of a run, page by page.
pub(super) async fn print_all(client: &Client, id: RunId, json: bool) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = client.events(id, after.as_deref()).await?;
        for event in &page.events {
            if json {
                render::print_json_line(&event.event);
            } else {
                render::print(&(events::line(&event.event) + "\n"));
            }
        }
        after = page.next;
        if after.is_none() || page.events.is_empty() {
            return Ok(());
        }
    }
}
