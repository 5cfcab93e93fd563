//! The command line of Windlass, with a host inside.

mod args;
mod bench;
mod client;
mod commands;
mod connection;
mod examples;
mod failure;
mod follow;
mod graph;
mod loopback;
mod render;
mod run_ref;
mod sign_in;
mod signals;
mod terminal;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    render::settle_colours();
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let json = args.globals.json;
    match commands::run(args) {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
}

/// Answers a command line that clap cannot parse or that asks for help.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        return failure::Failure::usage(message).report(true);
    }
    // Variables such as WINDLASS_DATA count as arguments, so a bare call may end here.
    if error.kind() == ErrorKind::MissingSubcommand && std::env::args_os().len() == 1 {
        eprint_help();
    } else {
        drop(error.print());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::Exit::Usage as u8))
}

fn eprint_help() {
    let help = args::Args::command().render_help();
    drop(write!(io::stderr(), "{help}"));
}
