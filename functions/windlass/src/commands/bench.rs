//! `windlass bench`: how fast the embedded host is on this machine.

use std::process::ExitCode;

use crate::args::{BenchArgs, Globals};
use crate::bench;
use crate::failure::{Exit, Failure};
use crate::render::{self, Ended};

pub(super) async fn run(globals: &Globals, args: &BenchArgs) -> Ended {
    let folder = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new()
        .prefix("windlass-bench-")
        .tempdir_in(&folder)
        .map_err(|error| Failure::usage(format!("failed to make a folder in {}: {error}", folder.display())))?;
    if on_memory(folder.path()) {
        let note = "note: the folder is kept in memory, where nothing is durable: name one on a disk with --folder\n";
        render::print_error(note);
    }
    let load = bench::Load {
        workload: args.workload,
        runs: args.runs.map_or(args.workload.default_runs(), |runs| runs as usize),
        in_flight: args.in_flight.map_or(args.workload.in_flight(), |in_flight| in_flight as usize),
        keep: args.keep,
        rest: args.rest,
    };
    let report = bench::run(&load, folder.path())
        .await
        .map_err(|error| Failure::new("WL0612", Exit::RunFailed, format!("failed to measure: {error:#}")))?;
    if globals.json {
        render::print_json(&report);
    } else {
        render::print(&format!("{report}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a folder is on a file system that a power cut empties.
fn on_memory(folder: &std::path::Path) -> bool {
    /// `TMPFS_MAGIC` of Linux (statfs(2)); as wide as any of the types that systems give it.
    const TMPFS: i128 = 0x0102_1994;
    #[cfg(target_os = "linux")]
    return rustix::fs::statfs(folder).is_ok_and(|found| i128::from(found.f_type) == TMPFS);
    #[cfg(not(target_os = "linux"))]
    return false;
}
