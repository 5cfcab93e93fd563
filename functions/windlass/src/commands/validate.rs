//! `windlass validate`: every fault of task files, without a host.

use std::process::ExitCode;

use console::style;
use serde_json::json;

use super::task_file;
use crate::args::{FilesArgs, Globals};
use crate::failure::Exit;
use crate::render::{self, Ended};

pub(super) fn run(globals: &Globals, args: &FilesArgs) -> Ended {
    let mut faulty = Vec::new();
    let mut list = Vec::new();
    let files = task_file::expand(&args.files)?;
    for path in &files {
        match task_file::read(path)? {
            Ok(definition) => {
                list.push(json!({ "file": path, "valid": true, "task": definition.task, "actions": definition.actions.len() }));
                if !globals.json {
                    let count = definition.actions.len();
                    let actions = if count == 1 { "1 action".to_owned() } else { format!("{count} actions") };
                    let sign = style("✓").green().bold();
                    render::print(&format!("{sign} {}: task {}, {actions}\n", path.display(), definition.task));
                }
            }
            Err(file) => {
                list.push(file.to_json());
                if !globals.json {
                    render::print_error(&file.rendered());
                }
                faulty.push(file);
            }
        }
    }
    if globals.json {
        render::print_json(&list);
        return Ok(if faulty.is_empty() { ExitCode::SUCCESS } else { Exit::Usage.into() });
    }
    if faulty.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(task_file::faulty(&faulty, files.len())) }
}
