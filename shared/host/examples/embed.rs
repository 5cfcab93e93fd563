//! A host inside a program of your own, with a Rust function as the work.
//!
//! `cargo run -p windlass-host --example embed [FOLDER]`; its runs stay in the folder, and a second call goes on with
//! them.
#![expect(clippy::print_stdout, reason = "the result is for the terminal")]

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use windlass_host::{Caller, Definition, ErrorInfo, Handlers, Host, RunStatus, StartRequest};

const TASK: &str = r#"
task: word-count
actions:
  count:
    native: { handler: count-words, input: { text: "${{ input.text }}" } }
output: { words: "${{ actions.count.output }}" }
"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let made = tempfile::tempdir()?;
    let named = std::env::args_os().nth(1);
    let folder = named.as_ref().map_or(made.path(), Path::new);
    println!("{}", run(folder, "a run of a host inside a program").await?);
    Ok(())
}

/// Starts a host on the folder, puts the task, runs it once and ends the host. Gives the run's output.
async fn run(folder: &Path, text: &str) -> anyhow::Result<Value> {
    let host = Host::builder(folder).handlers(Handlers::new().with("count-words", count_words)).start().await?;
    let definition = Definition::from_text(TASK)?;
    host.registry().put(&definition).await?;
    let input = json!({ "text": text });
    let request = StartRequest { task: definition.task, version: None, input, key: None, caller: Caller::default() };
    let started = host.starter().start(request).await?;
    let run = host.wait_for_end(started.run.id).await?.context("the run is gone")?;
    host.shutdown().await?;
    anyhow::ensure!(run.status == RunStatus::Succeeded, "the run ended {}", run.status.as_str());
    run.output.context("the run has no output")
}

async fn count_words(input: Value, _: windlass_host::AttemptControl) -> Result<Value, ErrorInfo> {
    let text = input["text"].as_str().ok_or_else(|| ErrorInfo::new("words.no_text", "`text` is not a text"))?;
    Ok(json!(text.split_whitespace().count()))
}
