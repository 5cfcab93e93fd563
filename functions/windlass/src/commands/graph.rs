//! `windlass graph`: a task's graph, of a file or of the host.

use std::path::Path;
use std::process::ExitCode;

use windlass_domain::definition::Definition;
use windlass_domain::ids::TaskName;

use super::task_file;
use crate::args::{Globals, GraphArgs, GraphFormat};
use crate::client::Client;
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::graph::{Graph, to_dot, to_mermaid, to_svg};
use crate::render::{self, Ended};

pub(super) async fn run(globals: &Globals, args: &GraphArgs) -> Ended {
    let definition = if Path::new(&args.source).is_file() {
        match task_file::read(args.source.as_ref())? {
            Ok(definition) => definition,
            Err(file) => {
                if !globals.json {
                    render::print_error(&file.rendered());
                }
                return Err(task_file::faulty(&[file], 1));
            }
        }
    } else {
        from_host(globals, &args.source).await?
    };
    let drawn = match args.format {
        // A renderer of Mermaid refuses more than 500 arrows; Graphviz takes everything.
        GraphFormat::Mermaid => to_mermaid(&Graph::stacked(&definition)),
        GraphFormat::Dot => to_dot(&Graph::of(&definition)),
        GraphFormat::Svg => to_svg(&Graph::stacked(&definition))?,
    };
    match &args.output {
        Some(path) => std::fs::write(path, drawn).map_err(|error| Failure::file("write", path, error))?,
        None => render::print(&drawn),
    }
    Ok(ExitCode::SUCCESS)
}

async fn from_host(globals: &Globals, name: &str) -> Result<Definition, Failure> {
    let Ok(task) = name.parse::<TaskName>() else {
        return Err(Failure::file("read", name.as_ref(), "there is no such file, and no task can be called so"));
    };
    let client = Client::new(Connection::find(globals)?)?;
    let source = client.task(&task).await?.definition.unwrap_or_default();
    Definition::from_source(&source).map_err(|faults| {
        let message = format!("the host's definition of {task} can not be read: {faults}");
        Failure::new("WL0610", Exit::Unreachable, message).help("is the host of this version?")
    })
}
