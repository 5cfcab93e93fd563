//! `windlass agent`: an agent in a process of its own, on a host's data folder.

use std::process::ExitCode;

use windlass_host::{SeparateAgent, guard_command, prepare_for_programs};

use super::logging;
use crate::args::{AgentArgs, Globals};
use crate::connection::data_dir;
use crate::render::Ended;
use crate::signals::EndSignals;

pub(super) async fn run(globals: &Globals, args: AgentArgs) -> Ended {
    let _log = logging::set_up(args.log.log_format);
    prepare_for_programs(args.credentials);
    let signals = EndSignals::listen()?;
    let data = data_dir(globals)?;
    if !data.exists() {
        tracing::warn!(data = %data.display(), "no host has worked on this data folder yet: is it the right one?");
    }
    tracing::info!(pool = %args.pool, slots = args.slots, "the agent takes work");
    let agent = SeparateAgent::new(data, args.pool, args.slots).drain(args.drain);
    let agent = agent.guard(guard_command()).credentials(args.credentials);
    let agent = agent.env_allow(args.env_allow).targets(args.http.targets());
    agent.run(&signals.into_token()).await?;
    tracing::info!("the agent has ended: nothing is left with it");
    Ok(ExitCode::SUCCESS)
}
