//! An agent of one pool on AWS: a program that runs until a signal ends it, in a container or as a process.
//!
//! `windlass-agent [--credentials none|inherit]` takes work. `windlass-agent health` is a container's health check: it
//! asks the agent of this machine for its health, and ends with 0 or 1. `settings.rs` has the settings.
//!
//! The agent ends with 0 after a signal, once it holds no attempt. It ends with 2 if a setting is missing or wrong
//! (WL0801), and with 3 if it could not start (WL0501, WL0502, WL0802).

mod health;
mod protection;
mod settings;
mod work;

use std::process::ExitCode;

use windlass_aws::telemetry;

use settings::AgentProgram;

/// A setting, or the command line, is wrong.
const SETTINGS: u8 = 2;
/// It could not start.
const NOT_STARTED: u8 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => run(None),
        ["--credentials", credentials] => run(Some(credentials)),
        [windlass_facade::GUARD_COMMAND, ..] => windlass_facade::run_guard(),
        ["health"] => health::ask(),
        _ => {
            telemetry::set_up("agent");
            let arguments = arguments.join(" ");
            tracing::error!(
                arguments,
                "there is no such command: say `health`, `--credentials none|inherit` or nothing"
            );
            SETTINGS.into()
        }
    }
}

/// Works until a signal ends it. `credentials` is the value of `--credentials`.
fn run(credentials: Option<&str>) -> ExitCode {
    let figures = telemetry::set_up("agent");
    let program = match AgentProgram::from_env(credentials) {
        Ok(program) => program,
        Err(error) => {
            tracing::error!(error.code = error.code(), %error, "failed to start");
            return SETTINGS.into();
        }
    };
    let worked = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(work::StartError::Runtime)
        .and_then(|runtime| runtime.block_on(work::run(program, &figures)));
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error.code = error.code(), %error, "failed to start");
            NOT_STARTED.into()
        }
    }
}
