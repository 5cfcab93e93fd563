//! `windlass watch`: a run until its end.

use crate::args::{Globals, RunRefArgs};
use crate::client::Client;
use crate::failure::Exit;
use crate::follow::{Manner, follow};
use crate::render::Ended;

pub(super) async fn run(globals: &Globals, client: &Client, args: &RunRefArgs) -> Ended {
    // A host that is not there from the start is not waited for.
    let id = client.run(client.resolve(&args.run).await?).await?.id;
    let view = follow(client, id, Manner::suiting(globals.json), None).await?;
    Ok(Exit::of_run(view.status))
}
