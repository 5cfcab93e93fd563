//! One suite for each port, to be run on every adapter: in memory, on one file, over the wire.
//!
//! A suite sees only the port. Each case has a name, and gets a host of its own from the caller, or a shared one. No
//! case relies on being alone, and none waits longer than [`Timing`] says.

mod agents;
mod events;
mod queues;
mod records;
mod runs;
mod schedules;
mod tasks;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use windlass_domain::ids::{AgentId, PoolName};
use windlass_engine::Ports;
use windlass_engine::ports::{ErrorClass, PortError, QueueName};

pub use agents::agents;
pub use events::{Subscriber, events};
pub use queues::queues;
pub use runs::runs;
pub use schedules::schedules;
pub use tasks::{due, tasks};

/// How fast the adapter is, and how long its cases wait.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A visibility timeout whose end a case waits for. No case may rely on being done before it ends.
    pub visibility: Duration,
    /// If something happens that should not, it usually happens within this.
    pub prompt: Duration,
    /// How many cases of a suite run beside one another.
    pub at_once: usize,
    /// How the host keeps the books beside the records of runs.
    pub books: Books,
}

/// How a host keeps the books beside the records of runs: the log of events, the lists, and the index of due runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Books {
    /// In the same transaction as the record: every event is logged, and a list shows a write as soon as it returns.
    AtOnce,
    /// In indexes that follow the record, usually within a second
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html>). If a run is due within the
    /// longest delay of a message, a message wakes it. The events are those that the record shows.
    Behind,
}

/// How long a case waits for an event that must come: the longest wait of a receive. It is no measure of speed: a busy
/// machine may hold a case up for seconds anywhere, and no verdict may depend on that.
const PATIENCE: Duration = Duration::from_secs(20);
/// A caller that is woken returns within this. A caller whose wait must end first does not.
const WOKEN_WITHIN: Duration = Duration::from_secs(10);
/// A visibility timeout that does not end while a case is played.
const HELD: Duration = Duration::from_mins(10);
/// Clocks are read in whole milliseconds, and two of them differ a little.
const CLOCK_SLACK: Duration = Duration::from_millis(20);

impl Timing {
    /// For adapters on this machine.
    pub const LOCAL: Self = Self {
        visibility: Duration::from_secs(1),
        prompt: Duration::from_millis(400),
        at_once: 1,
        books: Books::AtOnce,
    };
    /// For adapters over the wire, whose visibility is counted in seconds.
    pub const WIRE: Self =
        Self { visibility: Duration::from_secs(4), prompt: Duration::from_secs(2), at_once: 8, books: Books::Behind };
}

/// The result of a case: an error names the broken promise.
type Verdict = Result<(), Fault>;

/// A broken promise of a host, in words.
#[derive(Debug)]
struct Fault(String);

impl From<PortError> for Fault {
    fn from(error: PortError) -> Self {
        Self(format!("failed to {error} ({}, {:?})", error.code, error.class))
    }
}

/// A case of a suite.
type Case = (&'static str, fn(Ports, Timing) -> Pin<Box<dyn Future<Output = Verdict> + Send>>);

/// Names the cases of a suite by their functions.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        &[$((stringify!($case), |ports, timing| Box::pin($case(ports, timing)))),+]
    };
}
use cases;

/// Runs every case, and panics with all faults at once.
async fn run(suite: &str, cases: &[Case], make: impl AsyncFn() -> Ports, timing: Timing) {
    let verdicts = cases.iter().map(async |(name, case)| (name, case(make().await, timing).await));
    let verdicts: Vec<_> = stream::iter(verdicts).buffered(timing.at_once).collect().await;
    let told = |(name, verdict): (_, Verdict)| Some(format!("{suite}: {name}: {}", verdict.err()?.0));
    let faults: Vec<String> = verdicts.into_iter().filter_map(told).collect();
    assert!(faults.is_empty(), "{} of {} cases failed\n{}", faults.len(), cases.len(), faults.join("\n"));
}

#[expect(clippy::needless_pass_by_value, reason = "cases compare what they have just read")]
fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Verdict {
    if found == expected { Ok(()) } else { Err(Fault(format!("{what}: found {found:?}, expected {expected:?}"))) }
}

fn holds(what: &str, holds: bool) -> Verdict {
    if holds { Ok(()) } else { Err(Fault(format!("does not hold: {what}"))) }
}

fn some<T>(what: &str, found: Option<T>) -> Result<T, Fault> {
    found.ok_or_else(|| Fault(format!("missing: {what}")))
}

/// The call must be refused as wrong for good.
fn refused<T>(what: &str, result: Result<T, PortError>) -> Verdict {
    same(what, result.err().map(|error| error.class), Some(ErrorClass::Reject))
}

/// The write must be refused because another one came first.
fn conflicts<T>(what: &str, result: Result<T, PortError>) -> Verdict {
    same(what, result.err().map(|error| error.class), Some(ErrorClass::Conflict))
}

/// A number that no other case of this process has.
fn fresh_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A name that no other case of this process has, nor one of another process that shares the host.
fn fresh_name(prefix: &str) -> String {
    format!("{prefix}-{}-{}", std::process::id(), fresh_number())
}

/// A queue that every host lets the suite make: on some hosts, pools are part of a stack.
fn fresh_queue() -> QueueName {
    let agent = AgentId::new(&fresh_name("conformance")).expect("the name has only letters, digits and dashes");
    QueueName::Control { pool: PoolName::default(), agent }
}
