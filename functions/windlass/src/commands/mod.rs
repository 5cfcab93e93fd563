//! One file for each command, and the dispatch.

mod agent;
mod agents;
mod apply;
mod backup;
mod bench;
mod control;
mod demo;
mod events;
mod explain;
mod graph;
mod logging;
mod manual;
mod run;
mod runs;
mod serve;
mod show;
mod task_file;
mod tasks;
mod validate;
mod watch;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::args::{Args, Command, Globals, Request};
use crate::client::Client;
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::render::Ended;

/// Runs the command of the command line.
pub(crate) fn run(args: Args) -> Ended {
    let globals = &args.globals;
    match args.command {
        Command::Validate(args) => validate::run(globals, &args),
        Command::Backup(args) => backup::run(globals, &args),
        Command::Explain(args) => explain::run(globals, &args),
        Command::Completions(args) => Ok(manual::completions(&args)),
        Command::Man(args) => manual::run(&args),
        Command::Demo => threads()?.block_on(demo::run(globals)),
        Command::Serve(args) => to_its_end(serve::run(globals, args)),
        Command::Agent(args) => to_its_end(agent::run(globals, args)),
        Command::Bench(args) => threads()?.block_on(bench::run(globals, &args)),
        Command::ExecGuard => Ok(windlass_facade::run_guard()),
        Command::Graph(args) => one_thread()?.block_on(graph::run(globals, &args)),
        Command::Ask(request) => {
            let client = Client::new(Connection::find(globals)?)?;
            one_thread()?.block_on(ask(globals, &client, request))
        }
    }
}

/// The commands that only talk to a host.
async fn ask(globals: &Globals, client: &Client, request: Request) -> Ended {
    match request {
        Request::Apply(args) => apply::run(globals, client, &args).await,
        Request::Tasks(args) => tasks::run(globals, client, &args).await,
        Request::Delete(args) => tasks::delete(globals, client, &args).await,
        Request::Run(args) => Box::pin(run::run(globals, client, args)).await,
        Request::Runs(args) => runs::run(globals, client, &args).await,
        Request::Show(args) => show::run(globals, client, &args).await,
        Request::Watch(args) => watch::run(globals, client, &args).await,
        Request::Events(args) => events::run(globals, client, &args).await,
        Request::Cancel(args) => control::run(globals, client, &args, "cancel").await,
        Request::Kill(args) => control::kill(globals, client, &args).await,
        Request::Pause(args) => control::run(globals, client, &args, "pause").await,
        Request::Resume(args) => control::run(globals, client, &args, "resume").await,
        Request::Retry(args) => control::run(globals, client, &args, "retry").await,
        Request::Agents => agents::run(globals, client).await,
        Request::Drain(args) => agents::drain(globals, client, &args).await,
    }
}

fn one_thread() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(|error| no_runtime(&error))
}

fn threads() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(|error| no_runtime(&error))
}

/// Runs a program that lasts. At its end it waits a moment for threads that read or write files, and no longer: the disk of
/// one of them may never answer.
fn to_its_end(program: impl Future<Output = Ended>) -> Ended {
    let runtime = threads()?;
    let ended = runtime.block_on(program);
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

fn no_runtime(error: &std::io::Error) -> Failure {
    Failure::new("WL0614", Exit::Usage, format!("failed to get threads or timers from the system: {error}"))
}
