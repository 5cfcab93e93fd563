//! Following the events of a run as they come to be.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use windlass_domain::run::Run;
use windlass_engine::ports::{EventCursor, LoggedEvent, PortError};

use crate::seen::SeenEvents;
use crate::state::ApiState;

/// How many events one read takes.
const BATCH: usize = 100;
/// How long one wait for the run to change lasts.
const WAIT: Duration = Duration::from_secs(30);
/// Bytes of events after which a stream ends if its host gives only whole answers. Even with the largest last event
/// this is far below the limit of an answer (AWS Lambda: 6 MB).
const MAX_WHOLE_BYTES: usize = 1024 * 1024;

/// The events of a run after a place, until the run has ended.
pub(crate) struct Follower {
    api: ApiState,
    /// The run as it was before the last read of the log: the log has everything that it shows.
    run: Run,
    after: Option<EventCursor>,
    read: VecDeque<LoggedEvent>,
    seen: SeenEvents,
    /// The bytes of the events that the stream has sent.
    told: usize,
    /// When it ends, if its host gives only whole answers.
    until: Option<Instant>,
    /// Its place among the streams that may be open at once.
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// Follows the run from that place on.
    pub(crate) fn new(api: ApiState, run: Run, after: Option<EventCursor>, permit: OwnedSemaphorePermit) -> Self {
        let until = api.stream_for().map(|span| Instant::now() + span);
        Self { api, run, after, read: VecDeque::new(), seen: SeenEvents::default(), told: 0, until, _permit: permit }
    }

    /// Counts bytes of events that the stream has sent.
    pub(crate) fn has_told(&mut self, bytes: usize) {
        self.told += bytes;
    }

    /// Reads the waiting events; gives whether the run has ended and no event is left.
    pub(crate) async fn is_over(&mut self) -> Result<bool, PortError> {
        self.read_on().await?;
        Ok(self.read.is_empty() && self.run.status.is_final())
    }

    /// The next event, when it comes; `None` once the run has ended, the stream has lasted long enough or the host
    /// shuts down.
    pub(crate) async fn next(&mut self) -> Result<Option<LoggedEvent>, PortError> {
        loop {
            if self.until.is_some() && self.told >= MAX_WHOLE_BYTES {
                return Ok(None);
            }
            if let Some(event) = self.read.pop_front() {
                self.after = Some(event.cursor.clone());
                if self.seen.is_first(event.event.id) {
                    return Ok(Some(event));
                }
                continue;
            }
            if self.is_over().await? {
                return Ok(None);
            }
            if self.read.is_empty() && !self.wait().await? {
                return Ok(None);
            }
        }
    }

    async fn read_on(&mut self) -> Result<(), PortError> {
        if self.read.is_empty() {
            self.read = self.api.ports().runs.events(self.run.id, self.after.clone(), BATCH).await?.into();
        }
        Ok(())
    }

    /// Waits for the run to change; false if there is nothing left to wait for.
    async fn wait(&mut self) -> Result<bool, PortError> {
        let left = self.until.map_or(WAIT, |until| until.saturating_duration_since(Instant::now()).min(WAIT));
        if left.is_zero() || (self.until.is_some() && self.told > 0) {
            return Ok(false);
        }
        let changed = self.api.ports().runs.changed(self.run.id, self.run.revision, left);
        let changed = tokio::select! {
            biased;
            () = self.api.shutdown().cancelled() => None,
            changed = changed => changed?,
        };
        match changed {
            Some(run) => {
                self.run = run;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
