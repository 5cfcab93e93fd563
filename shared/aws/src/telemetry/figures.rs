//! Figures, and their lines in `CloudWatch`'s embedded metric format.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const NAMESPACE: &str = "Windlass";
/// Values that one line may have of a distribution, by the format.
const MAX_VALUES: usize = 100;
/// How many values of a distribution are kept between two writes; further ones are left out.
const MAX_KEPT: usize = 2_000;
/// How many figures are kept; their names are constants of the code.
const MAX_NAMES: usize = 64;
/// The field that names the figure, and the one that has its value.
const NAME: &str = "metric";
const VALUE: &str = "value";

/// The figures that a program has counted since it last wrote them. Clones share their counts.
#[derive(Debug, Clone)]
pub struct Figures {
    program: &'static str,
    counted: Arc<Mutex<BTreeMap<String, Figure>>>,
}

#[derive(Debug)]
enum Figure {
    Sum(f64),
    Spread(Vec<f64>),
}

impl Figures {
    /// Of that program, at nothing.
    pub fn new(program: &'static str) -> Self {
        Self { program, counted: Arc::default() }
    }

    /// Adds to a sum, or a value to a distribution.
    pub fn add(&self, name: &str, value: f64) {
        let mut counted = self.counted();
        if !counted.contains_key(name) {
            if counted.len() >= MAX_NAMES {
                return;
            }
            counted.insert(name.to_owned(), Figure::of(name));
        }
        match counted.get_mut(name) {
            Some(Figure::Sum(sum)) => *sum += value,
            Some(Figure::Spread(values)) if values.len() < MAX_KEPT => values.push(value),
            Some(Figure::Spread(_)) | None => {}
        }
    }

    fn counted(&self) -> MutexGuard<'_, BTreeMap<String, Figure>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines with the counts since the last time: one, unless a distribution has more values than a line takes.
    pub(super) fn take(&self, stack: &str, now_millis: u128) -> Vec<Value> {
        let mut left = std::mem::take(&mut *self.counted());
        let mut lines = Vec::new();
        while !left.is_empty() {
            let mut values = Map::new();
            let mut after = BTreeMap::new();
            for (name, figure) in left {
                let value = match figure {
                    Figure::Sum(sum) => json!(sum),
                    Figure::Spread(mut spread) => {
                        let more = spread.split_off(spread.len().min(MAX_VALUES));
                        if !more.is_empty() {
                            after.insert(name.clone(), Figure::Spread(more));
                        }
                        json!(spread)
                    }
                };
                values.insert(name, value);
            }
            lines.push(self.line(stack, now_millis, values));
            left = after;
        }
        lines
    }

    fn line(&self, stack: &str, now_millis: u128, values: Map<String, Value>) -> Value {
        let metric = |name: &String| json!({ "Name": name, "Unit": unit_of(name) });
        let metrics: Vec<Value> = values.keys().map(metric).collect();
        let mut line = json!({
            "_aws": {
                "Timestamp": u64::try_from(now_millis).unwrap_or(u64::MAX),
                "CloudWatchMetrics": [
                    { "Namespace": NAMESPACE, "Dimensions": [["Name"]], "Metrics": metrics },
                ],
            },
            "Name": stack,
            "Program": self.program,
        });
        if let Value::Object(members) = &mut line {
            members.extend(values);
        }
        line
    }
}

impl Figure {
    fn of(name: &str) -> Self {
        if unit_of(name) == "Count" { Self::Sum(0.0) } else { Self::Spread(Vec::new()) }
    }
}

fn unit_of(name: &str) -> &'static str {
    if name.ends_with("Ms") { "Milliseconds" } else { "Count" }
}

/// Whether a log line is counted.
pub(super) fn is_figure(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.fields().field(NAME).is_some()
}

impl<S: Subscriber> Layer<S> for Figures {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut read = Reader { name: None, value: 1.0 };
        event.record(&mut read);
        if let Some(name) = read.name {
            self.add(&name, read.value);
        }
    }
}

/// Reads the name and the value of a figure off a log line.
struct Reader {
    name: Option<String>,
    value: f64,
}

impl Visit for Reader {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == NAME {
            self.name = Some(value.to_owned());
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts and milliseconds are far below 2^52")]
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_f64(field, value as f64);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == VALUE {
            self.value = value;
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::{FilterFn, LevelFilter};
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn a_line_is_in_the_embedded_metric_format() {
        let figures = Figures::new("agent");
        figures.add("Attempts", 2.0);
        figures.add("Attempts", 1.0);
        figures.add("QueueWaitMs", 12.0);
        let expected = json!({
            "_aws": { "Timestamp": 1000, "CloudWatchMetrics": [{
                "Namespace": "Windlass", "Dimensions": [["Name"]],
                "Metrics": [{ "Name": "Attempts", "Unit": "Count" }, { "Name": "QueueWaitMs", "Unit": "Milliseconds" }],
            }] },
            "Name": "acme", "Program": "agent", "Attempts": 3.0, "QueueWaitMs": [12.0],
        });
        assert_eq!(figures.take("acme", 1000), [expected]);
        assert!(figures.take("acme", 2000).is_empty(), "what was written is not written again");
    }

    #[test]
    fn a_wide_distribution_takes_more_lines() {
        let figures = Figures::new("agent");
        for value in 0..250 {
            figures.add("DecideMs", f64::from(value));
        }
        figures.add("Inputs", 250.0);
        let lines = figures.take("acme", 0);
        let lengths: Vec<usize> = lines.iter().map(|line| line["DecideMs"].as_array().expect("values").len()).collect();
        assert_eq!(lengths, [100, 100, 50]);
        assert_eq!((&lines[0]["Inputs"], &lines[1]["Inputs"]), (&json!(250.0), &Value::Null));
    }

    #[test]
    fn kept_figures_are_bounded() {
        let figures = Figures::new("agent");
        (0..=MAX_KEPT).for_each(|_| figures.add("WaitMs", 1.0));
        (0..=MAX_NAMES).for_each(|number| figures.add(&format!("Name{number}"), 1.0));
        assert_eq!(figures.take("acme", 0).len(), MAX_KEPT / MAX_VALUES);
        assert!(figures.take("acme", 0).is_empty());
    }

    #[test]
    fn log_lines_are_counted_whatever_is_written() {
        let figures = Figures::new("process-manager");
        let layer = figures.clone().with_filter(FilterFn::new(is_figure));
        let quiet = tracing_subscriber::fmt::layer().with_filter(LevelFilter::OFF);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(quiet).with(layer), || {
            tracing::trace!(metric = "Conflicts", run.id = "x");
            tracing::trace!(metric = "Conflicts", value = 2u64, "another writer was first");
            tracing::info!("no figure");
        });
        assert_eq!(figures.take("acme", 0)[0]["Conflicts"], 3.0);
    }
}
