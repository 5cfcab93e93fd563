//! `windlass watch`: a run until its end.

use super::exit_of;
use crate::args::{Globals, RunRefArgs};
use crate::client::Client;
use crate::follow::{Manner, follow};
use crate::render::Ended;

pub(super) async fn run(globals: &Globals, client: &Client, args: &RunRefArgs) -> Ended {
    let id = client.resolve(&args.run).await?;
    let view = follow(client, id, Manner::suiting(globals.json), None).await?;
    Ok(exit_of(&view))
}
