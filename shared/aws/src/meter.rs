//! AWS's bill: every request by service and operation, with its billed units.
//!
//! One [`Meter`] is registered on all clients of a program and sees each attempt of each request, the SDK's own retries
//! included. A program counts by [`Meter::count`] what no client sends, such as a Lambda's own invocation. Rules of
//! billing, one unit being
//! - SQS: a request of up to 64 KB; a batch by the bytes of all its messages, a receive by what came
//!   (<https://aws.amazon.com/sqs/pricing/>);
//! - `DynamoDB`: a write unit (1 KB) or a read unit (4 KB, half when eventually consistent), for the table and each
//!   index, by each answer
//!   (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>);
//! - `EventBridge`: 64 KB of one event (<https://aws.amazon.com/eventbridge/pricing/>);
//! - Scheduler and S3: a request.
//!
//! [`Meter::report`] writes one log line with the counts since the line before. The sum over the lines of all processes
//! is the whole:
//! ```json
//! {"message": "meter", "meter.reads": "reported",
//!  "meter.entries": "[{\"service\":\"DynamoDB\",\"operation\":\"PutItem\",\"requests\":3,\"units\":4.0},
//!                     {\"service\":\"DynamoDB\",\"operation\":\"PutItem\",\"index\":\"runs\",\"requests\":0,\"units\":1.0}]"}
//! ```

mod billing;
pub(crate) mod item_size;

pub(crate) use billing::entry_bytes;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

/// Where the units of reads come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadUnits {
    /// As `DynamoDB` reports them with each answer.
    #[default]
    Reported,
    /// The meter computes them from the size of each answer, because the local stack reports 1 for each read. If a read
    /// asks for a part of an item, only that part counts. So ask for whole items where it matters.
    Sized,
}

/// The requests and billed units of one operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The service: `SQS`, `DynamoDB`, `EventBridge`, `Scheduler`, `S3`, `Lambda`.
    pub service: String,
    /// The operation by its name in the service's API, such as `SendMessageBatch`.
    pub operation: String,
    /// The index whose units these are; its requests are counted with the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Requests that were answered, with an error or without.
    pub requests: u64,
    /// Billed units, in halves at the finest.
    pub units: f64,
}

impl Entry {
    fn is_same_operation(&self, other: &Self) -> bool {
        self.service == other.service && self.operation == other.operation && self.index == other.index
    }
}

/// The counts at one moment, by service, operation and index.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot {
    /// An entry for each operation that was counted.
    pub entries: Vec<Entry>,
}

impl Snapshot {
    /// The counts between an earlier snapshot of the same meter and this one, without the entries that are zero.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |entry: &Entry| earlier.entries.iter().find(|other| entry.is_same_operation(other));
        let difference = |entry: &Entry| {
            let (requests, units) = before(entry).map_or((0, 0.0), |before| (before.requests, before.units));
            Entry { requests: entry.requests.saturating_sub(requests), units: entry.units - units, ..entry.clone() }
        };
        let entries = self.entries.iter().map(difference);
        Self { entries: entries.filter(|entry| entry.requests > 0 || entry.units > 0.0).collect() }
    }

    /// The requests and units of all entries of that service and operation, its indexes included.
    pub fn total(&self, service: &str, operation: &str) -> (u64, f64) {
        let of = self.entries.iter().filter(|entry| entry.service == service && entry.operation == operation);
        of.fold((0, 0.0), |(requests, units), entry| (requests + entry.requests, units + entry.units))
    }
}

/// Counts requests. Its clones count together; counting takes no lock that is held for long.
#[derive(Debug, Clone)]
pub struct Meter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reads: ReadUnits,
    /// An operation is added once and stays; there are a few dozen.
    counters: RwLock<Vec<Arc<Counter>>>,
    reported: Mutex<Snapshot>,
}

#[derive(Debug)]
struct Counter {
    service: String,
    operation: String,
    index: Option<String>,
    requests: AtomicU64,
    half_units: AtomicU64,
}

impl Meter {
    /// A meter that stands at zero.
    pub fn new(reads: ReadUnits) -> Self {
        let shared = Shared { reads, counters: RwLock::default(), reported: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Where the units of reads come from.
    pub fn reads(&self) -> ReadUnits {
        self.shared.reads
    }

    /// Counts requests that only the caller knows, such as `("Lambda", "Invoke", 1, 1.0)`.
    pub fn count(&self, service: &str, operation: &str, requests: u64, units: f64) {
        self.add(service, operation, None, requests, units);
    }

    fn add(&self, service: &str, operation: &str, index: Option<&str>, requests: u64, units: f64) {
        let counter = self.counter(service, operation, index);
        counter.requests.fetch_add(requests, Relaxed);
        counter.half_units.fetch_add(half_units(units), Relaxed);
    }

    fn counter(&self, service: &str, operation: &str, index: Option<&str>) -> Arc<Counter> {
        let is = |counter: &&Arc<Counter>| {
            counter.operation == operation && counter.service == service && counter.index.as_deref() == index
        };
        let counters = self.shared.counters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.iter().find(is) {
            return counter.clone();
        }
        drop(counters);
        let mut counters = self.shared.counters.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.iter().find(is) {
            return counter.clone();
        }
        let counter = Arc::new(Counter {
            service: service.to_owned(),
            operation: operation.to_owned(),
            index: index.map(str::to_owned),
            requests: AtomicU64::new(0),
            half_units: AtomicU64::new(0),
        });
        counters.push(counter.clone());
        counter
    }

    /// The counts up to now, in the order of service, operation and index.
    pub fn snapshot(&self) -> Snapshot {
        let counters = self.shared.counters.read().unwrap_or_else(PoisonError::into_inner);
        let mut entries: Vec<Entry> = counters.iter().map(|counter| counter.entry()).collect();
        entries.sort_by(|a, b| (&a.service, &a.operation, &a.index).cmp(&(&b.service, &b.operation, &b.index)));
        Snapshot { entries }
    }

    /// Logs the counts since the last report, if there are any. Programs call it at the end of an invocation, or on an
    /// interval and at their end.
    pub fn report(&self) {
        let mut reported = self.shared.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshot();
        let since = snapshot.since(&reported);
        *reported = snapshot;
        if since.entries.is_empty() {
            return;
        }
        let reads = match self.shared.reads {
            ReadUnits::Reported => "reported",
            ReadUnits::Sized => "sized",
        };
        let entries = serde_json::to_string(&since).unwrap_or_default();
        tracing::info!(meter.reads = reads, meter.entries = entries, "meter");
    }
}

impl Counter {
    #[expect(clippy::cast_precision_loss, reason = "no process counts 2^52 units")]
    fn entry(&self) -> Entry {
        Entry {
            service: self.service.clone(),
            operation: self.operation.clone(),
            index: self.index.clone(),
            requests: self.requests.load(Relaxed),
            units: self.half_units.load(Relaxed) as f64 / 2.0,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "units are small and not negative")]
fn half_units(units: f64) -> u64 {
    (units * 2.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_adds_up_by_operation() {
        let meter = Meter::new(ReadUnits::Reported);
        meter.count("SQS", "SendMessageBatch", 1, 2.0);
        meter.clone().count("SQS", "SendMessageBatch", 1, 1.0);
        meter.count("Lambda", "Invoke", 1, 1.0);
        meter.add("DynamoDB", "GetItem", None, 1, 0.5);
        let names: Vec<_> = meter.snapshot().entries.into_iter().map(|entry| entry.operation).collect();
        assert_eq!(names, ["GetItem", "Invoke", "SendMessageBatch"]);
        assert_eq!(meter.snapshot().total("SQS", "SendMessageBatch"), (2, 3.0));
        assert_eq!(meter.snapshot().total("DynamoDB", "GetItem"), (1, 0.5));
    }

    #[test]
    fn a_difference_has_what_came_between() {
        let meter = Meter::new(ReadUnits::Reported);
        meter.count("SQS", "SendMessage", 1, 1.0);
        meter.count("SQS", "DeleteQueue", 1, 1.0);
        let before = meter.snapshot();
        meter.count("SQS", "SendMessage", 2, 5.0);
        meter.count("S3", "PutObject", 1, 1.0);
        let since = meter.snapshot().since(&before);
        let found: Vec<_> =
            since.entries.iter().map(|entry| (entry.operation.as_str(), entry.requests, entry.units)).collect();
        assert_eq!(found, [("PutObject", 1, 1.0), ("SendMessage", 2, 5.0)]);
    }
}
