//! Submitting a run: it is recorded as begun, its first attempts are sent, and whoever asks twice gets one run.
//!
//! Nothing is answered before the record is durable. A process that dies between the record and the sends leaves a run
//! of which nothing is heard: the next call with its key has them sent again, and so does the sweeper.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use uuid::{ContextV7, Uuid};
use windlass_domain::definition::{Definition, InputFaults};
use windlass_domain::ids::{RunId, TaskName, TaskVersion};
use windlass_domain::limits::MAX_IDEMPOTENCY_KEY_BYTES;
use windlass_domain::run::{Origin, Run};
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::begin::{self, Begun, begin};
use crate::definitions::Definitions;
use crate::pools::Pools;
use crate::ports::{Created, PortError};

/// Submits runs.
#[derive(Clone)]
pub struct Starter {
    ports: Ports,
    definitions: Arc<Definitions>,
    pools: Arc<Pools>,
    /// Keeps ids that are drawn within one millisecond in the order of submission.
    sequence: Arc<Mutex<ContextV7>>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct StartRequest {
    /// Of which task.
    pub task: TaskName,
    /// Of which version; absent: the newest.
    pub version: Option<TaskVersion>,
    /// The run's input, not yet checked; `null`: none.
    pub input: Value,
    /// The caller's idempotency key: the same key for the same task is the same run.
    pub key: Option<String>,
}

/// A run that was submitted, by this call or by an earlier one with the same key.
#[derive(Debug, Clone)]
pub struct Started {
    /// The run as it stands.
    pub run: Run,
    /// The definition that it is pinned to.
    pub definition: Arc<Definition>,
    /// Whether this call recorded it.
    pub created: bool,
}

/// Why a run is not submitted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such task.
    #[error("there is no task `{0}`")]
    UnknownTask(TaskName),
    /// The task has been deleted.
    #[error("the task `{0}` has been deleted")]
    DeletedTask(TaskName),
    /// The task has no such version.
    #[error("the task `{task}` has no version {version}; the newest is {newest}")]
    UnknownVersion {
        /// Which task.
        task: TaskName,
        /// The version that was asked for.
        version: TaskVersion,
        /// The newest there is.
        newest: TaskVersion,
    },
    /// The key is empty or too long.
    #[error("an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes; this one has {0}")]
    Key(usize),
    /// The key belongs to a run that was asked for with something else.
    #[error("the idempotency key belongs to run {run}, which was asked for with another {differs}")]
    KeyReused {
        /// The run it belongs to.
        run: RunId,
        /// What differs.
        differs: Differs,
    },
    /// The input is not what the task takes.
    #[error("the input is refused: {0}")]
    Input(#[from] InputFaults),
    /// The host failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// In what a repeated request differs from the first one with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differs {
    /// The input.
    Input,
    /// The task's version.
    Version,
}

impl std::fmt::Display for Differs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Version => "version of the task",
        })
    }
}

impl Starter {
    /// A starter on that host.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        let pools = Arc::new(Pools::new(&ports));
        Self { ports, definitions, pools, sequence: Arc::new(Mutex::new(ContextV7::new())) }
    }

    /// Records the run and sends its start. What it gives is durable.
    pub async fn start(&self, request: StartRequest) -> Result<Started, StartError> {
        let now = self.ports.clock.now();
        let id = match &request.key {
            None => self.fresh_id(now),
            Some(key) => {
                check_key(key)?;
                let id = RunId::from_key(&request.task, key);
                if let Some(run) = self.ports.runs.load(id).await? {
                    return self.repeated(run, request).await;
                }
                id
            }
        };
        let version = self.version(&request).await?;
        let definition = self.definitions.get(&request.task, version).await?;
        let input = definition.check_input(request.input.clone())?;
        let actions = definition.actions.len();
        let run = Run::submitted(id, (request.task.clone(), version), actions, input, Origin::Request, now);
        let begun = begin(&self.ports, &definition, run, now).await?;
        match begun.created {
            Created::New => {
                let run = begun.run.clone();
                self.send(begun).await;
                Ok(Started { run, definition, created: true })
            }
            Created::Existing => {
                let run = self.ports.runs.load(id).await?.ok_or_else(PortError::conflict)?;
                self.repeated(run, request).await
            }
        }
    }

    /// Answers with the run that the key belongs to, if the request is the one that made it. The input is compared
    /// as that run's version reads it: what the request left out has the defaults of that version.
    async fn repeated(&self, run: Run, request: StartRequest) -> Result<Started, StartError> {
        let reused = |differs| StartError::KeyReused { run: run.id, differs };
        if request.version.is_some_and(|version| version != run.version) {
            return Err(reused(Differs::Version));
        }
        let definition = self.definitions.get(&run.task, run.version).await?;
        match definition.check_input(request.input) {
            Ok(input) if input == run.input => {}
            Ok(_) | Err(_) => return Err(reused(Differs::Input)),
        }
        self.start_again(&run).await;
        Ok(Started { run, definition, created: false })
    }

    /// The version that is asked for, of a task that starts runs.
    async fn version(&self, request: &StartRequest) -> Result<TaskVersion, StartError> {
        let task = &request.task;
        let record = self.ports.tasks.get(task).await?.ok_or_else(|| StartError::UnknownTask(task.clone()))?;
        if record.deleted {
            return Err(StartError::DeletedTask(task.clone()));
        }
        let newest = record.version;
        match request.version {
            None => Ok(newest),
            Some(version) if (1..=newest).contains(&version) => Ok(version),
            Some(version) => Err(StartError::UnknownVersion { task: task.clone(), version, newest }),
        }
    }

    /// Sends what follows from the start. A failure is not the caller's: the run is recorded, and the process manager is
    /// asked to send it. An error would make callers without a key submit a second run.
    async fn send(&self, begun: Begun) {
        let run = begun.run.clone();
        if let Err(error) = begun.send(&self.ports, &self.pools).await {
            tracing::warn!(run.id = %run.id, error.code = error.code, error = %error, "failed to send a run's start; the process manager will");
            self.start_again(&run).await;
        }
    }

    /// A failure is not the caller's.
    async fn start_again(&self, run: &Run) {
        if let Err(error) = begin::start_again(&self.ports, run).await {
            tracing::warn!(run.id = %run.id, error.code = error.code, error = %error, "failed to have a run's start sent; the sweeper will");
        }
    }

    fn fresh_id(&self, now: Timestamp) -> RunId {
        let millis = now.as_millis().max(0).unsigned_abs();
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        let sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        RunId::from_uuid(Uuid::new_v7(uuid::Timestamp::from_unix(&*sequence, millis / 1000, nanos)))
    }
}

fn check_key(key: &str) -> Result<(), StartError> {
    if (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) { Ok(()) } else { Err(StartError::Key(key.len())) }
}
