//! `windlass apply`: task files to the host, all or none checked wrong.

use std::path::Path;
use std::process::ExitCode;

use console::style;
use serde_json::{Value, json};
use windlass_domain::definition::Definition;

use super::task_file;
use crate::args::{ApplyArgs, Globals};
use crate::client::{Client, PutAnswer};
use crate::failure::Failure;
use crate::loopback::is_loopback;
use crate::render::{self, Ended};

pub(super) async fn run(globals: &Globals, client: &Client, args: &ApplyArgs) -> Ended {
    let (mut definitions, mut faulty) = (Vec::new(), Vec::new());
    let files = task_file::expand(&args.files.files)?;
    for path in &files {
        match task_file::read(path)? {
            Ok(definition) => definitions.push((path, definition)),
            Err(file) => faulty.push(file),
        }
    }
    if !faulty.is_empty() {
        if !globals.json {
            for file in &faulty {
                render::print_error(&file.rendered());
            }
        }
        return Err(task_file::faulty(&faulty, files.len()).help("nothing was applied"));
    }
    let mut list = Vec::new();
    for (path, definition) in definitions {
        let applied = apply(client, path, &definition, !args.no_workdir).await?;
        if !globals.json {
            render::print(&applied.line());
        }
        list.push(applied.to_json());
    }
    if globals.json {
        render::print_json(&list);
    }
    Ok(ExitCode::SUCCESS)
}

/// The result of one file.
pub(super) struct Applied {
    put: PutAnswer,
    /// The folder that the command put in, if the definition named none.
    workdir: Option<String>,
}

/// Sends one definition. Programs of a host on this machine find the files that lie beside the task file.
pub(super) async fn apply(
    client: &Client,
    path: &Path,
    definition: &Definition,
    with_workdir: bool,
) -> Result<Applied, Failure> {
    let mut source = definition.source.clone();
    let mut workdir = None;
    if with_workdir && is_loopback(client.url()) && path != Path::new(task_file::STANDARD_INPUT) {
        workdir = folder_of(path)?.filter(|folder| put_workdir(&mut source, folder));
    }
    let put = client.put_task(&definition.task, &source).await?;
    Ok(Applied { put, workdir })
}

/// The absolute folder of a file, if it can be written in JSON.
fn folder_of(path: &Path) -> Result<Option<String>, Failure> {
    let absolute = path.canonicalize().map_err(|error| Failure::file("read", path, error))?;
    Ok(absolute.parent().and_then(Path::to_str).map(str::to_owned))
}

/// Names the folder in a definition that runs programs and names none; says whether it did.
fn put_workdir(source: &mut Value, folder: &str) -> bool {
    let runs_programs = source["actions"]
        .as_object()
        .is_some_and(|actions| actions.values().any(|action| action.get("exec").is_some()));
    let Some(source) = source.as_object_mut() else { return false };
    if !runs_programs || source.contains_key("workdir") {
        return false;
    }
    source.insert("workdir".to_owned(), json!(folder));
    true
}

impl Applied {
    fn line(&self) -> String {
        let news = if self.put.created { "" } else { " (unchanged)" };
        let sign = style("✓").green().bold();
        let mut line = format!("{sign} {} version {}{news}\n", style(&self.put.task).bold(), self.put.version);
        if let Some(workdir) = &self.workdir {
            line += &style(format!("  its programs run in {workdir}\n")).dim().to_string();
        }
        line
    }

    fn to_json(&self) -> Value {
        json!({ "task": self.put.task, "version": self.put.version, "created": self.put.created, "workdir": self.workdir })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut source: Value, expected: Option<&str>) {
        let put = put_workdir(&mut source, "/examples/a");
        assert_eq!(put.then_some("/examples/a"), expected);
        if put {
            assert_eq!(source["workdir"], "/examples/a");
        }
    }

    #[test]
    fn workdir_is_set_for_programs_without_one() {
        check(json!({ "actions": { "a": { "exec": ["true"] } } }), Some("/examples/a"));
        check(json!({ "workdir": "/srv", "actions": { "a": { "exec": ["true"] } } }), None);
        check(json!({ "actions": { "a": { "http": { "url": "http://127.0.0.1" } } } }), None);
    }
}
