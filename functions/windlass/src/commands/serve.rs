//! `windlass serve`: the host, until it is asked to end.

use std::net::SocketAddr;
use std::process::ExitCode;

use serde_json::json;
use windlass_domain::ids::PoolName;

use super::logging;
use crate::args::{Globals, ServeArgs};
use crate::connection::data_dir;
use crate::failure::{Exit, Failure};
use crate::host::{EndSignals, Host, HostPlan};
use crate::render::{self, Ended};

const SLOTS_PER_CORE: usize = 4;

pub(super) async fn run(globals: &Globals, args: ServeArgs) -> Ended {
    logging::set_up(args.log.log_format);
    check_listen(args.listen, args.allow_remote)?;
    let data = data_dir(globals)?;
    let pools = if args.no_agent { Vec::new() } else { pools_of(args.pools) };
    let plan = HostPlan {
        data: data.clone(),
        listen: args.listen,
        pools: pools.clone(),
        drain: args.drain,
        credentials: args.credentials,
    };
    let mut signals = EndSignals::listen()?;
    let mut host = Host::start(plan).await?;
    if globals.json {
        render::print_json_line(&json!({ "url": host.url(), "data": data }));
    } else {
        render::print(&format!("windlass host at {}, data in {}\n", host.url(), data.display()));
    }
    let slots: Vec<String> = pools.iter().map(|(pool, slots)| format!("{pool}={slots}")).collect();
    tracing::info!(url = host.url(), pools = slots.join(","), "the host is ready");
    tokio::select! {
        () = signals.next() => {
            tracing::info!("the host ends: what is running is finished or handed back");
            signals.end_at_next();
            host.stop().await?;
            Ok(ExitCode::SUCCESS)
        }
        failure = host.broken() => Err(failure),
    }
}

/// The default pool, unless others were named.
pub(super) fn pools_of(named: Vec<(PoolName, u32)>) -> Vec<(PoolName, u32)> {
    if !named.is_empty() {
        return named;
    }
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    vec![(PoolName::default(), u32::try_from(cores * SLOTS_PER_CORE).unwrap_or(u32::MAX))]
}

/// WL0607: other machines could reach the API, and nobody said that they may.
fn check_listen(address: SocketAddr, allow_remote: bool) -> Result<(), Failure> {
    if address.ip().is_loopback() || allow_remote {
        return Ok(());
    }
    let message = format!("{address} can be reached by other machines, and the API runs programs");
    Err(Failure::new("WL0607", Exit::Usage, message)
        .help("listen on 127.0.0.1 behind a proxy with TLS, or say --allow-remote if you mean it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, allow_remote: bool, fits: bool) {
        let address = address.parse().expect("an address");
        assert_eq!(check_listen(address, allow_remote).is_ok(), fits, "{address}");
    }

    #[test]
    fn only_this_machine_unless_it_is_meant() {
        check("127.0.0.1:0", false, true);
        check("[::1]:8080", false, true);
        check("0.0.0.0:8080", false, false);
        check("10.0.0.7:8080", false, false);
        check("0.0.0.0:8080", true, true);
    }
}
