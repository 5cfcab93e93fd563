//! Saga records and the event log.

use std::time::Duration;

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;
use windlass_contract::view::RunSummary;
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::run::{Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};

use super::{Outgoing, PortError, QueueName, Records};

/// Whether a run was created by this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// Yes.
    New,
    /// There was one of that id already; it was left as it is.
    Existing,
}

/// A place in a run's event log, or in the order of runs: opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventCursor(pub u64);

/// An event of the log, with the place after it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEvent {
    /// Where to go on reading.
    pub cursor: EventCursor,
    /// The event.
    pub event: PublicEvent,
}

/// Which runs to list: all that fit every part that is given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunFilter {
    /// Of this task.
    pub task: Option<TaskName>,
    /// In this status.
    pub status: Option<RunStatus>,
    /// After the place where the page before ended.
    pub cursor: Option<String>,
    /// How many at most.
    pub limit: usize,
}

/// A page of runs, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Where the next page begins; absent: this is the last.
    pub next: Option<String>,
}

/// The longest that a stale run may be left out by [`Runs::stale`] once it has been handed out: on `DynamoDB` each time
/// costs a write, so what sleeps long is looked at rarely.
pub const LONGEST_REST: Duration = Duration::from_mins(15);

/// Saga records, and the log of what was decided. [`Records`] reads and writes a record that exists.
#[async_trait]
pub trait Runs: Records<Run> {
    /// Whether [`Runs::create`] sends messages in the very transaction that writes the record.
    fn sends_with_record(&self) -> bool {
        false
    }

    /// Writes a record that does not exist yet with its values, and logs the events with it: a run may have begun by then. Where
    /// [`Runs::sends_with_record`] says so, it sends the messages with it; elsewhere it leaves them alone. What it gives is
    /// durable when it returns.
    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        messages: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError>;

    /// Waits until the record's revision is above `revision`, or for `at_most`; gives the record as it then is.
    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError>;

    /// Runs that fit the filter, the newest first.
    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError>;

    /// Up to `most` open runs whose `wake_at` has passed, or that were last written before `untouched_since`. A run that
    /// stays so is handed out again and again, and no more than [`LONGEST_REST`] after the time before; who asks
    /// for those that were last written before `now` gets every one, however lately it was handed out.
    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError>;

    /// Deletes this run with its events and its values, if it still is at that revision; gives whether it was.
    async fn delete_run(&self, run: &Run) -> Result<bool, PortError>;

    /// Deletes some of the runs that were kept for their time, in a step that is short for those who write meanwhile. It
    /// leaves alone what is held ([`Run::held`]). `default`: how long a run is kept whose definition does not say it. Gives whether there may be more to do. A host whose table deletes by
    /// itself what has expired leaves this as it is.
    async fn expire(&self, _default: Millis) -> Result<bool, PortError> {
        Ok(false)
    }

    /// Events of a run after that place, the oldest first, at most `most`.
    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError>;
}
