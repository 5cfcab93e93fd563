//! `windlass agent`: an agent in a process of its own, on a host's data folder.

use std::process::ExitCode;

use windlass_embedded::Role;

use super::logging;
use crate::args::{AgentArgs, Globals};
use crate::connection::data_dir;
use crate::host::{AgentPlan, EndSignals, open, run_agent, store_broken};
use crate::render::Ended;

pub(super) async fn run(globals: &Globals, args: AgentArgs) -> Ended {
    logging::set_up(args.log.log_format);
    let signals = EndSignals::listen()?;
    let data = data_dir(globals)?;
    if !data.exists() {
        tracing::warn!(data = %data.display(), "no host has worked on this data folder yet: is it the right one?");
    }
    let store = open(&data, Role::Agent)?;
    let plan = AgentPlan { pool: args.pool, slots: args.slots, drain: args.drain, credentials: args.credentials };
    tracing::info!(pool = %plan.pool, slots = plan.slots, "the agent takes work");
    let ports = store.ports();
    let stop = signals.into_token();
    tokio::select! {
        biased;
        ended = run_agent(&ports, plan, &stop) => ended?,
        failure = store_broken(&store) => return Err(failure),
    }
    tracing::info!("the agent has ended: nothing is left with it");
    Ok(ExitCode::SUCCESS)
}
