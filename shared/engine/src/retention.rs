//! Deletes runs that have ended: those that were kept for their time, and those that a person names.
//!
//! The store deletes in small steps, and commits of others come between two of them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_domain::ids::RunId;
use windlass_domain::retention::Held;
use windlass_domain::run::{Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::ports::{PortError, RunFilter, RunPage};
use crate::send::together;

/// The time between two looks for what may go.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The time between two looks for versions of definitions that nothing needs.
const LOOK_FOR_VERSIONS_EVERY: Duration = Duration::from_hours(24);

/// Deletes runs that have ended.
#[derive(Clone)]
pub struct Pruner {
    ports: Ports,
}

/// Which runs a person wants gone.
#[derive(Debug, Clone, PartialEq)]
pub struct PruneRequest {
    /// Of which task, in which status; where to go on, and how many to look at.
    pub filter: RunFilter,
    /// Only those that ended so long ago.
    pub older_than: Millis,
}

/// One page of runs was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The runs that are gone.
    pub deleted: Vec<RunId>,
    /// Where the next page begins; none: this was the last.
    pub next: Option<String>,
}

/// Why a run is not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteRunError {
    /// There is no such run.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// It has not ended.
    #[error("a run that is {} can not be deleted: cancel it first", .0.as_str())]
    Open(RunStatus),
    /// It is the run of a due time that could be started again without it.
    #[error(
        "this run of a due time can not be deleted before {0}: the message of its due time may come again, and would start it once more"
    )]
    ComesAgain(Timestamp),
    /// The next due time of its task looks at it.
    #[error("the run with the last turn of its task can not be deleted: the next due time asks whether it has ended")]
    LastTurn,
    /// The host failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Pruner {
    /// Deletes runs of that host.
    pub fn new(ports: Ports) -> Self {
        Self { ports }
    }

    /// Deletes what was kept for its time, until `shutdown` is cancelled. `default`: how long a run is kept whose
    /// definition does not say it.
    pub async fn run(&self, default: Millis, shutdown: &CancellationToken) {
        let mut looked = None;
        loop {
            let rest = match self.step(default, &mut looked).await {
                Ok(true) => Duration::ZERO,
                Ok(false) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to delete old runs; the next look tries again");
                    LOOK_EVERY
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// One step; gives whether there may be more to do.
    async fn step(&self, default: Millis, looked: &mut Option<Duration>) -> Result<bool, PortError> {
        let elapsed = self.ports.clock.elapsed();
        if looked.is_none_or(|at| elapsed.saturating_sub(at) >= LOOK_FOR_VERSIONS_EVERY) {
            *looked = Some(elapsed);
            self.ports.tasks.expire_versions(default).await?;
        }
        self.ports.runs.expire(default).await
    }

    /// Deletes one run; gives it as it was.
    pub async fn delete(&self, id: RunId) -> Result<Run, DeleteRunError> {
        let run = self.ports.runs.load(&id).await?.ok_or(DeleteRunError::UnknownRun(id))?;
        match self.held(&run).await? {
            Some(Held::Open) => return Err(DeleteRunError::Open(run.status)),
            Some(Held::ComesAgain { until }) => return Err(DeleteRunError::ComesAgain(until)),
            Some(Held::LastTurn) => return Err(DeleteRunError::LastTurn),
            None => {}
        }
        // It was retried, or another caller has deleted it.
        if self.ports.runs.delete_run(&run).await? { Ok(run) } else { Err(PortError::conflict().into()) }
    }

    /// Deletes the runs of one page of a list that ended so long ago. It leaves alone what something needs.
    pub async fn prune(&self, request: &PruneRequest) -> Result<Pruned, PortError> {
        let RunPage { runs, next } = self.ports.runs.list(&request.filter).await?;
        let ended = runs.iter().filter(|run| run.status.is_final());
        let old = ended.map(|run| self.delete_if_old(run.id, request.older_than));
        let deleted = together(old.collect()).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Pruned { deleted: deleted.into_iter().flatten().collect(), next })
    }

    async fn delete_if_old(&self, id: RunId, older_than: Millis) -> Result<Option<RunId>, PortError> {
        let Some(run) = self.ports.runs.load(&id).await? else { return Ok(None) };
        if run.finished_at.is_none_or(|ended| self.time_of(&run).since(ended) < older_than) {
            return Ok(None);
        }
        let gone = self.held(&run).await?.is_none() && self.ports.runs.delete_run(&run).await?;
        Ok(gone.then_some(id))
    }

    async fn held(&self, run: &Run) -> Result<Option<Held>, PortError> {
        let task = self.ports.tasks.load(&run.task).await?;
        Ok(run.held(task.and_then(|task| task.active), self.time_of(run)))
    }

    /// What the clock of that run shows: on one machine nothing that sets the wall clock makes a run older.
    fn time_of(&self, run: &Run) -> Timestamp {
        run.time(self.ports.clock.now(), self.ports.clock.steady())
    }
}
