//! `windlass show`: a run as it stands.

use std::process::ExitCode;

use console::style;
use windlass_contract::view::RunView;

use crate::args::{Globals, ShowArgs};
use crate::client::Client;
use crate::follow::outline_of;
use crate::render::tree::{Drawing, lines, short};
use crate::render::{self, Ended, span};

/// How many branches of one fork are listed one by one, without `--all`.
const MOST: usize = 48;

pub(super) async fn run(globals: &Globals, client: &Client, args: &ShowArgs) -> Ended {
    let view = client.run(client.resolve(&args.run.run).await?).await?;
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

/// Prints the run as a tree; `all`: every action of a wide fan.
pub(super) async fn print_tree(client: &Client, view: &RunView, all: bool) {
    let outline = outline_of(client, view).await;
    let most = if all { usize::MAX } else { MOST };
    let drawing = Drawing { now: span::now(), most, frame: None, whole_errors: true };
    render::print(&(lines(view, &outline, &drawing).join("\n") + "\n"));
}
