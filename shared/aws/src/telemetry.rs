//! The output of the programs on AWS, on standard output: log lines, and figures for `CloudWatch`.
//!
//! Both are JSON, an object a line. A log line has a constant message and dotted fields (`run.id`); no line has a
//! payload or a secret. Figures are in `CloudWatch`'s embedded metric format: namespace `Windlass`, one dimension, the
//! stack's `Name`. No two programs have a figure of the same name, so `Program` is there to search by and makes no
//! metrics of its own. `CloudWatch` Logs makes metrics of the lines without a request of ours
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//!
//! The engine counts by a log line with the field `metric`, the figure's name, and `value` if it is not one:
//! `tracing::trace!(metric = "Conflicts")`. It counts also if the filter drops that line. A name that ends in `Ms` is a
//! distribution of milliseconds, every other one a sum.

mod figures;

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use figures::Figures;

/// The variable that says which lines are written, such as `info` or `windlass_engine=debug`.
const FILTER: &str = "WINDLASS_LOG";
/// The same, as Lambda passes its function's level on.
const LAMBDA_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";
const DEFAULT_FILTER: &str = "info";

/// Sets logging up for this process and gives what counts. To be called once, first of all.
pub fn set_up(program: &'static str) -> Figures {
    let figures = Figures::new(program);
    let set = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let wanted = set(FILTER).or_else(|| set(LAMBDA_LEVEL));
    let read = wanted.as_ref().map(|wanted| EnvFilter::builder().parse(wanted));
    let (filter, refused) = match read {
        None => (EnvFilter::new(DEFAULT_FILTER), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(io::stdout)
        .log_internal_errors(false)
        .with_filter(filter);
    let counted = figures.clone().with_filter(FilterFn::new(figures::is_figure));
    // A test that has already set its own subscriber keeps it.
    drop(tracing_subscriber::registry().with(lines).with(counted).try_init());
    if let Some(error) = refused {
        tracing::warn!(%error, "{FILTER} can not be read; `{DEFAULT_FILTER}` is taken");
    }
    figures
}

impl Figures {
    /// Writes the counts since the last time, if there are any; `stack` is the stack's name.
    pub fn write(&self, stack: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for line in self.take(stack, now.as_millis()) {
            // Whole lines only: the log lines of other threads go the same way.
            let mut out = io::stdout().lock();
            drop(writeln!(out, "{line}").and_then(|()| out.flush()));
        }
    }
}
