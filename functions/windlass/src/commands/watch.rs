//! `windlass watch`: a run until its end.

use crate::args::{Globals, RunRefArgs};
use crate::client::Client;
use crate::failure::Exit;
use crate::follow::{Manner, follow};
use crate::render::Ended;

pub(super) async fn run(globals: &Globals, client: &Client, args: &RunRefArgs) -> Ended {
    let id = client.resolve(&args.run).await?;
    let view = follow(client, id, Manner::suiting(globals.json), None).await?;
    Ok(Exit::of_run(view.status))
}
