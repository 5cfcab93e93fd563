//! What programs would inherit of the process that runs them, and should not: descriptors that its launcher left open,
//! signals that its launcher ignores, a view into its memory, and its own bound on open files.

use tokio::signal::unix::{SignalKind, signal};

use crate::exec::Credentials;
use crate::open_files::raise_open_files;

/// The first descriptor after the standard ones.
const FIRST_OTHER: i32 = 3;

/// Prepares this process for programs that it runs. A program of an agent or a host calls this when it starts, within a
/// runtime of tokio. `credentials`: what programs are to have of it.
///
/// Each part is as good as the system allows; a part that fails is logged and stops nothing.
pub fn prepare_for_programs(credentials: Credentials) {
    // This process keeps them, and the programs that it starts do not get them.
    close_fds::CloseFdsBuilder::new().cloexecfrom(FIRST_OTHER);
    handle_ignored_signals();
    if credentials == Credentials::None {
        close_to_programs();
    }
    if let Err(error) = raise_open_files() {
        tracing::warn!(%error, "the bound on open files can not be raised");
    }
}

/// Has the signals that this process ignores come to a handler that does nothing. A program inherits what its parent ignores;
/// what its parent handles does to it what the system says.
#[cfg(target_os = "linux")]
fn handle_ignored_signals() {
    use rustix::process::Signal;

    // The standard library resets the first for each program. A handler of the others would be called again and again.
    let left = [Signal::PIPE, Signal::TTIN, Signal::TTOU].map(Signal::as_raw);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for number in ignored(&status).filter(|number| !left.contains(number)) {
        // The handler stays when this is dropped.
        if let Err(error) = signal(SignalKind::from_raw(number)) {
            tracing::debug!(%error, number, "programs inherit that this signal is ignored");
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn handle_ignored_signals() {}

/// The numbers of the ignored signals in the text of `/proc/PID/status`.
fn ignored(status: &str) -> impl Iterator<Item = i32> + use<> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    (1..=64).filter(move |number| mask >> (number - 1) & 1 == 1)
}

/// Keeps other processes of the same user, such as programs that actions run, from reading this one's environment and
/// memory. Only Linux can.
fn close_to_programs() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "programs can read the environment of this process");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn process_is_closed_to_programs() {
        use rustix::process::{DumpableBehavior, dumpable_behavior};
        close_to_programs();
        assert_eq!(dumpable_behavior().expect("it is known"), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn ignored_signals_are_read() {
        let numbers = |status| ignored(status).collect::<Vec<_>>();
        assert_eq!(numbers("Name:\tx\nSigIgn:\t0000000000001005\nSigCgt:\t00\n"), [1, 3, 13]);
        assert_eq!(numbers("SigIgn:\t8000000000000000"), [64]);
        assert_eq!(numbers(""), [0; 0]);
    }
}
