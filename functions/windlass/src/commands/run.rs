//! `windlass run`: starts a run, and waits for it if asked to.

use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use console::style;
use serde_json::Value;
use windlass_contract::view::RunView;
use windlass_domain::limits::MAX_INPUT_BYTES;
use windlass_domain::time::Millis;

use super::show;
use crate::args::{Globals, RunArgs, Wait};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::follow::{Manner, follow};
use crate::render::{self, Ended, status};

pub(super) async fn run(globals: &Globals, client: &Client, args: RunArgs) -> Ended {
    let input = args.input.as_deref().map(read_input).transpose()?;
    let Some(wait) = args.wait else {
        let view = client.start_run(&args.task, input.as_ref(), args.key.as_deref(), Duration::ZERO).await?;
        print_started(globals, &view);
        return Ok(ExitCode::SUCCESS);
    };
    let at_most = match wait {
        Wait::ToTheEnd => None,
        Wait::AtMost(most) => Some(most),
    };
    let manner = if globals.json { Manner::Silent } else { Manner::suiting(false) };
    let begun = Instant::now();
    // The id comes at once, so that it is known whatever becomes of the host while the run goes on.
    let started = client.start_run(&args.task, input.as_ref(), args.key.as_deref(), Duration::ZERO).await?;
    if manner == Manner::Lines {
        render::print(&started_line(&started));
    }
    let view = follow(client, started.id, manner, at_most.map(|most| left_of(most, begun))).await?;
    match manner {
        Manner::Silent => render::print_json(&view),
        Manner::Lines => show::print_tree(client, &view, false).await,
        Manner::Tree | Manner::JsonLines => {}
    }
    Ok(Exit::of_run(view.status))
}

fn left_of(most: Millis, begun: Instant) -> Millis {
    let spent = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Millis(most.0.saturating_sub(spent))
}

fn print_started(globals: &Globals, view: &RunView) {
    if globals.json {
        render::print_json(view);
        return;
    }
    render::print(&started_line(view));
    render::print(&style(format!("`windlass watch {}` follows it to its end\n", view.id)).dim().to_string());
}

fn started_line(view: &RunView) -> String {
    let (id, word) = (style(view.id).bold(), status::run_word(view.status));
    format!("run {id} of {} v{}: {word}\n", view.task, view.version)
}

/// The JSON of an argument, of a file (`@FILE`) or of standard input (`@-`). WL0603 if it is none.
fn read_input(argument: &str) -> Result<Value, Failure> {
    let text = match argument.strip_prefix('@') {
        None => argument.to_owned(),
        Some("-") => read_bounded(std::io::stdin(), "-".as_ref())?,
        Some(path) => {
            let path = path.as_ref();
            let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, error))?;
            read_bounded(file, path)?
        }
    };
    // Some systems put a byte order mark before a text.
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        Failure::usage(format!("the input is not JSON: {error}"))
            .help("write it as JSON, such as --input '{\"day\": \"2026-03-01\"}', or name a file: --input @input.json")
    })
}

fn read_bounded(from: impl Read, path: &std::path::Path) -> Result<String, Failure> {
    let mut text = String::new();
    let most = MAX_INPUT_BYTES as u64;
    let read = from.take(most + 1).read_to_string(&mut text).map_err(|error| Failure::file("read", path, error))?;
    if read as u64 > most {
        return Err(Failure::usage(format!("the input has more than {most} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn input_is_json_or_a_file_of_it() {
        assert_eq!(read_input("\u{feff}[1]").expect("JSON"), json!([1]));
        assert_eq!(read_input(r#"{"day": 1}"#).expect("JSON"), json!({ "day": 1 }));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("input.json");
        std::fs::write(&file, "[1]").expect("written");
        assert_eq!(read_input(&format!("@{}", file.display())).expect("JSON"), json!([1]));
        assert_eq!(read_input("{day").expect_err("no JSON").code(), "WL0603");
        assert_eq!(read_input("@/no/such/file").expect_err("no file").code(), "WL0611");
    }

    #[test]
    fn input_is_bounded() {
        let large = " ".repeat(MAX_INPUT_BYTES + 1);
        assert!(read_bounded(large.as_bytes(), "-".as_ref()).is_err());
    }
}
