//! Log lines on standard error. A thread of its own writes them: a reader that is gone or asleep, or a full disk, never
//! holds up the program. Lines that nobody takes are lost once 128,000 wait.

use std::io::{IsTerminal, stderr};

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// The variable that says which lines are written.
const FILTER: &str = "WINDLASS_LOG";
const DEFAULT_FILTER: &str = "info";

/// Sets logging up for this process. If it cannot read the filter, it logs a warning and uses the default. Whoever drops the
/// guard writes what still waits, for a second at most.
pub(super) fn set_up(format: LogFormat) -> WorkerGuard {
    let wanted = std::env::var(FILTER).ok();
    let read = wanted.as_ref().map(|wanted| EnvFilter::builder().parse(wanted));
    let (filter, refused) = match read {
        None => (EnvFilter::new(DEFAULT_FILTER), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let (writer, guard) = NonBlocking::new(stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    let colours = stderr().is_terminal() && console::colors_enabled_stderr();
    // A test may have set a subscriber already; that one stays.
    let set = match format {
        LogFormat::Text => lines.with_ansi(colours).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    drop(set);
    if let Some(error) = refused {
        tracing::warn!(%error, "{FILTER} can not be read; `{DEFAULT_FILTER}` is taken");
    }
    guard
}
