//! `windlass serve`: the host, until a signal ends it.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use windlass_host::{Host, HostBuilder, guard_command, prepare_for_programs};

use super::logging;
use crate::args::{Globals, ServeArgs};
use crate::connection::data_dir;
use crate::render::{self, Ended};
use crate::signals::EndSignals;

pub(super) async fn run(globals: &Globals, args: ServeArgs) -> Ended {
    let _log = logging::set_up(args.log.log_format);
    prepare_for_programs(args.credentials);
    let data = data_dir(globals)?;
    let mut signals = EndSignals::listen()?;
    let starting = host_of(Host::builder(&data), args).start();
    let mut host = tokio::select! {
        // A standby may wait for months. A host that starts has nothing to end yet.
        () = signals.next() => return Ok(ExitCode::SUCCESS),
        started = starting => started?,
    };
    print_ready(globals, &host, &data);
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

/// Tells where the host is reached.
fn print_ready(globals: &Globals, host: &Host, data: &Path) {
    let remote = host.has_tls().then(|| format!("https://{}", host.address()));
    if globals.json {
        let mut ready = json!({ "url": host.url(), "data": data });
        if let Some(remote) = remote {
            ready["tls"] = json!(remote);
        }
        render::print_json_line_if_possible(&ready);
        return;
    }
    let remote = remote.map(|remote| format!(", for others at {remote}")).unwrap_or_default();
    render::print_if_possible(&format!("windlass host at {}{remote}, data in {}\n", host.url(), data.display()));
}

/// The host that the command line asks for.
fn host_of(host: HostBuilder, args: ServeArgs) -> HostBuilder {
    let mut host = args.pools.into_iter().fold(host, |host, (pool, slots)| host.pool(pool, slots));
    if args.allow_remote {
        host = host.allow_remote();
    }
    host = args.host_names.into_iter().fold(host, HostBuilder::host_name);
    if let (Some(certificate), Some(key)) = (args.tls_cert, args.tls_key) {
        host = host.tls(certificate, key);
    }
    if args.standby {
        host = host.stand_by();
    }
    if args.no_agent {
        host = host.without_agents();
    }
    let host =
        host.listen(args.listen).drain(args.drain).keep(args.keep).guard(guard_command()).credentials(args.credentials);
    host.env_allow(args.env_allow).targets(args.http.targets())
}
