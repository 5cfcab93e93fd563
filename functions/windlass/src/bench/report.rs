//! The figures of a benchmark, as text and as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use windlass_embedded::Written;

use super::Workload;

/// The figures of one workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    workload: &'static str,
    runs: usize,
    in_flight: usize,
    actions: usize,
    seconds: f64,
    actions_per_second: f64,
    /// From the submission of a run to its end, in milliseconds.
    run_ms: Percentiles,
    per_action: PerAction,
    /// How much of the time the one writer was at work.
    writer_busy: f64,
}

#[derive(Debug, Clone, Serialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
}

/// The store's counters, each divided by the number of actions.
#[derive(Debug, Clone, Serialize)]
struct PerAction {
    requests: f64,
    transactions: f64,
    syncs: f64,
    rows: f64,
    log_bytes: f64,
}

impl Report {
    pub(super) fn new(
        (workload, in_flight): (Workload, usize),
        (runs, actions_per_run): (usize, usize),
        took: Duration,
        mut latencies: Vec<Duration>,
        (before, after): (Written, Written),
    ) -> Self {
        latencies.sort_unstable();
        let actions = runs * actions_per_run;
        let per_action = |of: fn(&Written) -> u64| ratio(of(&after) - of(&before), actions);
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        Self {
            workload: workload.name(),
            runs,
            in_flight,
            actions,
            seconds: took.as_secs_f64(),
            actions_per_second: actions as f64 / took.as_secs_f64(),
            run_ms: Percentiles { p50: percentile(&latencies, 50), p99: percentile(&latencies, 99) },
            per_action: PerAction {
                requests: per_action(|written| written.requests),
                transactions: per_action(|written| written.commits),
                syncs: per_action(|written| written.syncs),
                rows: per_action(|written| written.rows),
                log_bytes: per_action(|written| written.wal_bytes),
            },
            writer_busy: (after.busy_micros - before.busy_micros) as f64 / took.as_micros() as f64,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(count: u64, of: usize) -> f64 {
    count as f64 / of.max(1) as f64
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = &self.per_action;
        writeln!(
            f,
            "{}: {} runs, {} actions, {} in flight, {:.2} s",
            self.workload, self.runs, self.actions, self.in_flight, self.seconds
        )?;
        writeln!(f, "  actions a second    {:>10.0}", self.actions_per_second)?;
        writeln!(f, "  run, p50 and p99    {:>10.2} ms {:>8.2} ms", self.run_ms.p50, self.run_ms.p99)?;
        writeln!(f, "  an action: requests {:>10.2}   rows {:.2}", each.requests, each.rows)?;
        writeln!(f, "             commits  {:>10.2}   syncs {:.2}", each.transactions, each.syncs)?;
        writeln!(f, "             log      {:>10.0} bytes", each.log_bytes)?;
        write!(f, "  writer at work      {:>10.0} % of the time", self.writer_busy * 100.0)
    }
}
