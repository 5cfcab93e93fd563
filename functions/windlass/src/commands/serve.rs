//! `windlass serve`: the host, until a signal ends it.

use std::process::ExitCode;

use serde_json::json;
use windlass_host::{Host, HostBuilder, guard_command};

use super::logging;
use crate::args::{Globals, ServeArgs};
use crate::connection::data_dir;
use crate::render::{self, Ended};
use crate::signals::EndSignals;

pub(super) async fn run(globals: &Globals, args: ServeArgs) -> Ended {
    let _log = logging::set_up(args.log.log_format);
    let data = data_dir(globals)?;
    let mut signals = EndSignals::listen()?;
    let mut host = host_of(Host::builder(&data), args).start().await?;
    if globals.json {
        render::print_json_line_if_possible(&json!({ "url": host.url(), "data": data }));
    } else {
        render::print_if_possible(&format!("windlass host at {}, data in {}\n", host.url(), data.display()));
    }
    let slots: Vec<String> = host.pools().iter().map(|(pool, slots)| format!("{pool}={slots}")).collect();
    tracing::info!(url = host.url(), pools = slots.join(","), "the host is ready");
    tokio::select! {
        () = signals.next() => {
            tracing::info!("the host ends: what is running is finished or handed back");
            signals.end_at_next();
            host.shutdown().await?;
            Ok(ExitCode::SUCCESS)
        }
        broken = host.broken() => Err(broken.into()),
    }
}

/// The host that the command line asks for.
fn host_of(host: HostBuilder, args: ServeArgs) -> HostBuilder {
    let mut host = args.pools.into_iter().fold(host, |host, (pool, slots)| host.pool(pool, slots));
    if args.allow_remote {
        host = host.allow_remote();
    }
    if args.no_agent {
        host = host.without_agents();
    }
    host.listen(args.listen).drain(args.drain).keep(args.keep).guard(guard_command()).credentials(args.credentials)
}
