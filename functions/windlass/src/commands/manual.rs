//! `windlass completions` and `windlass man`: generated from the command line's own description.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::failure::Failure;
use crate::render::{self, Ended};

pub(super) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "windlass", &mut script);
    render::print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

pub(super) fn run(args: &ManArgs) -> Ended {
    if let Some(folder) = &args.dir {
        write_all(folder).map_err(|error| Failure::file("write", folder, error))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Args::command()).render(&mut page);
    rendered.map_err(|error| Failure::file("write", "-".as_ref(), error))?;
    render::print(&String::from_utf8_lossy(&page));
    Ok(ExitCode::SUCCESS)
}

fn write_all(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Args::command(), folder)
}
