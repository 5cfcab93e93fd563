//! The command line and the embedded host of Windlass.

mod args;
mod bench;
mod client;
mod commands;
mod connection;
mod examples;
mod failure;
mod follow;
mod graph;
mod host;
mod render;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let json = args.globals.json;
    match commands::run(args) {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
}
