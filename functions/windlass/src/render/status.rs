//! One sign and one colour for each status.

use console::{StyledObject, style};
use windlass_domain::run::{ActionStatus, RunStatus};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The sign of an action. `frame` turns the sign of a running one; `allowed`: its failure does not fail the run.
pub(crate) fn action_sign(status: ActionStatus, allowed: bool, frame: Option<usize>) -> StyledObject<&'static str> {
    match status {
        ActionStatus::Waiting => style("·").dim(),
        ActionStatus::Queued => style("○").cyan(),
        ActionStatus::Running => style(frame.map_or("●", |frame| SPINNER[frame % SPINNER.len()])).cyan().bold(),
        ActionStatus::RetryWaiting => style("↻").yellow().bold(),
        ActionStatus::Succeeded => style("✓").green().bold(),
        ActionStatus::Failed | ActionStatus::TimedOut if allowed => style("!").yellow().bold(),
        ActionStatus::Failed | ActionStatus::TimedOut => style("✗").red().bold(),
        ActionStatus::Skipped => style("–").dim(),
        ActionStatus::Cancelled => style("■").magenta(),
    }
}

/// A run's status, coloured.
pub(crate) fn run_word(status: RunStatus) -> StyledObject<&'static str> {
    let word = style(run_text(status));
    match status {
        RunStatus::Submitted | RunStatus::Paused => word.blue(),
        RunStatus::Running => word.cyan().bold(),
        RunStatus::Cancelling | RunStatus::Cancelled => word.magenta(),
        RunStatus::Succeeded => word.green().bold(),
        RunStatus::SucceededWithFaults => word.yellow().bold(),
        RunStatus::Failed | RunStatus::TimedOut => word.red().bold(),
    }
}

const fn run_text(status: RunStatus) -> &'static str {
    match status {
        RunStatus::SucceededWithFaults => "succeeded with faults",
        RunStatus::TimedOut => "timed out",
        RunStatus::Submitted
        | RunStatus::Running
        | RunStatus::Paused
        | RunStatus::Cancelling
        | RunStatus::Succeeded
        | RunStatus::Failed
        | RunStatus::Cancelled => status.as_str(),
    }
}

/// An action's status in words.
pub(crate) const fn action_text(status: ActionStatus) -> &'static str {
    match status {
        ActionStatus::RetryWaiting => "retry waiting",
        ActionStatus::TimedOut => "timed out",
        ActionStatus::Waiting
        | ActionStatus::Queued
        | ActionStatus::Running
        | ActionStatus::Succeeded
        | ActionStatus::Failed
        | ActionStatus::Skipped
        | ActionStatus::Cancelled => status.as_str(),
    }
}
