//! Submitting a run: it is recorded as begun, its first attempts are sent, and a caller that asks twice gets one run.
//!
//! Nothing is answered before the record is durable. Where a host writes the record and sends the messages in one
//! transaction, that is all. Elsewhere the run's `Start` is sent first, held back for a minute: if the submitter dies
//! between the record and the sends, this message completes what it began.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use uuid::{ContextV7, Uuid};
use windlass_contract::event::PublicEvent;
use windlass_domain::caller::Caller;
use windlass_domain::content::{Place, Wanted};
use windlass_domain::definition::{Definition, InputFaults};
use windlass_domain::ids::{RunId, TaskName, TaskVersion};
use windlass_domain::limits::{ACTIONS_PER_PAGE, MAX_IDEMPOTENCY_KEY_BYTES};
use windlass_domain::run::{Input, Origin, Run};
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::aside;
use crate::definitions::Definitions;
use crate::effects::{Effects, to_run};
use crate::pools::Pools;
use crate::ports::{Created, ErrorClass, Outgoing, PortError, QueueName};
use crate::send::send_all;
use crate::step::Step;
use crate::subject::Given;

/// How long the message that completes a start is held back.
const HELD_BACK: Millis = Millis::from_secs(60);
/// A submitter that has not written the record so long after that message was sent writes none: the message may have been
/// given up by then.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// Submits runs.
#[derive(Clone)]
pub struct Starter {
    ports: Ports,
    definitions: Arc<Definitions>,
    pools: Arc<Pools>,
    /// Keeps ids that are drawn within one millisecond in the order of submission.
    sequence: Arc<Mutex<ContextV7>>,
}

/// A caller's request to start a run.
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
    /// Who asks for it.
    pub caller: Caller,
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

    /// Records the run and sends its start. What it gives is durable. It is a task of its own: a caller that hangs up does
    /// not stop it half-way.
    pub async fn start(&self, request: StartRequest) -> Result<Started, StartError> {
        let starter = self.clone();
        let submitted = tokio::spawn(async move { starter.submit(request).await }).await;
        submitted.unwrap_or_else(|_| Err(PortError::panicked().into()))
    }

    async fn submit(&self, request: StartRequest) -> Result<Started, StartError> {
        let (now, steady) = self.ports.clock.both();
        let id = match &request.key {
            None => self.fresh_id(now),
            Some(key) => {
                check_key(key)?;
                let id = RunId::from_key(&request.task, key);
                if let Some(run) = self.ports.runs.load(&id).await? {
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
        let run = run.asked_by(request.caller.clone()).kept(definition.keep);
        let run = run.on_clock(now, steady);
        let begun = Begun::of(&self.pools, &definition, run, now).await;
        let created = self.record(&begun).await?;
        match created {
            Created::New => {
                let run = begun.run.clone();
                if let Err(error) = begun.send(&self.ports).await {
                    // Not the caller's failure: an error would make callers without a key submit a second run.
                    tracing::warn!(run.id = %id, error.code = error.code, error = %error, "failed to send a run's start; its message completes it");
                }
                Ok(Started { run, definition, created: true })
            }
            Created::Existing => {
                let run = self.ports.runs.load(&id).await?.ok_or_else(PortError::conflict)?;
                self.repeated(run, request).await
            }
        }
    }

    /// Writes the record, after the message that completes its start.
    async fn record(&self, begun: &Begun) -> Result<Created, PortError> {
        if !self.ports.runs.sends_with_record() {
            let asked_at = self.ports.clock.elapsed();
            send_all(self.ports.queues.as_ref(), &[to_run(begun.run.id, Input::Start, HELD_BACK)]).await?;
            if self.ports.clock.elapsed().saturating_sub(asked_at) >= WRITTEN_WITHIN {
                return Err(too_slow());
            }
        }
        begun.record(&self.ports).await
    }

    /// Answers with the run that the key belongs to, if the request is the one that made it. The input is compared
    /// as that run's version reads it: what the request left out has the defaults of that version.
    async fn repeated(&self, mut run: Run, request: StartRequest) -> Result<Started, StartError> {
        let id = run.id;
        let reused = |differs| StartError::KeyReused { run: id, differs };
        if request.version.is_some_and(|version| version != run.version) {
            return Err(reused(Differs::Version));
        }
        let definition = self.definitions.get(&run.task, run.version).await?;
        if run.lacks(Place::Input) {
            self.ports.runs.fill(&mut run, &Wanted::from([Place::Input])).await?;
        }
        match definition.check_input(request.input) {
            Ok(input) if run.value(Place::Input) == Some(&input) => {}
            Ok(_) | Err(_) => return Err(reused(Differs::Input)),
        }
        Ok(Started { run, definition, created: false })
    }

    /// The version that is asked for, of a task that starts runs.
    async fn version(&self, request: &StartRequest) -> Result<TaskVersion, StartError> {
        let task = &request.task;
        let record = self.ports.tasks.load(task).await?.ok_or_else(|| StartError::UnknownTask(task.clone()))?;
        if record.deleted {
            return Err(StartError::DeletedTask(task.clone()));
        }
        let newest = record.version;
        match request.version {
            None => Ok(newest),
            // A version that nothing needed may be gone, and its definition still in memory.
            Some(version) if version == newest || self.ports.tasks.version(task, version).await?.is_some() => {
                Ok(version)
            }
            Some(version) => Err(StartError::UnknownVersion { task: task.clone(), version, newest }),
        }
    }

    fn fresh_id(&self, now: Timestamp) -> RunId {
        let millis = now.as_millis().max(0).unsigned_abs();
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        let sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        RunId::from_uuid(Uuid::new_v7(uuid::Timestamp::from_unix(&*sequence, millis / 1000, nanos)))
    }
}

fn too_slow() -> PortError {
    PortError::new(
        ErrorClass::Retry,
        "WL0704",
        "submit a run: the host took longer than 30 s to take its first message",
    )
}

/// A run that is recorded as begun, or is about to be, and what follows from its start.
pub(crate) struct Begun {
    pub(crate) run: Run,
    events: Vec<PublicEvent>,
    effects: Effects,
}

impl Begun {
    /// Begins a submitted run. One of a few actions begins at once. The start of a large run, which may have to send
    /// thousands of messages, is left to the process manager. So is a start that ends an action or the whole run. Only
    /// a process whose input comes again if it dies may publish an end.
    pub(crate) async fn of(pools: &Pools, definition: &Arc<Definition>, submitted: Run, now: Timestamp) -> Self {
        let is_small = definition.actions.len() <= ACTIONS_PER_PAGE;
        let inputs = [Given::new(Input::Start)];
        let step =
            is_small.then(|| aside::decide(definition, || Step::of(&submitted, definition, &inputs, now, false)));
        let Some(step) = step.filter(|step| is_whole(step, definition.actions.len())) else {
            let effects = Effects::start_of(&submitted);
            return Self { run: submitted, events: Vec::new(), effects };
        };
        let events = step.events.clone();
        let (run, _, mut effects) = step.settled(definition, &inputs, now);
        effects.look_for_agents(pools).await;
        Self { run, events, effects }
    }

    /// Writes the record, and on a host that can, sends what follows with it.
    pub(crate) async fn record(&self, ports: &Ports) -> Result<Created, PortError> {
        ports.runs.create(&self.run, &self.events, &self.effects.messages).await
    }

    /// Sends what follows from the start, as far as it was not sent with the record.
    pub(crate) async fn send(self, ports: &Ports) -> Result<(), PortError> {
        let mut effects = self.effects;
        if ports.runs.sends_with_record() {
            effects.messages.clear();
        }
        effects.send(ports).await
    }
}

/// Has the process manager send the start of a run again, if no agent has reported some attempt of it.
pub(crate) async fn start_again(ports: &Ports, run: &Run) -> Result<(), PortError> {
    if !run.needs_start_again() {
        return Ok(());
    }
    let now = run.time(ports.clock.now(), ports.clock.steady());
    let age = run.started_at.map(|begun| now.since(begun));
    send_all(ports.queues.as_ref(), &[start_message(run.id, age)]).await
}

/// Whether a first step begins the run and ends nothing.
fn is_whole(step: &Step<Run>, actions: usize) -> bool {
    step.wanted.is_empty() && step.record.open as usize == actions
}

/// The start of a run that began so long ago, to be sent again: a minute after the run began, so that there is time for a
/// report. None: it has yet to begin.
pub(crate) fn start_message(run: RunId, age: Option<Millis>) -> (QueueName, Outgoing) {
    to_run(run, Input::Start, Millis(HELD_BACK.0.saturating_sub(age.unwrap_or(HELD_BACK).0)))
}

fn check_key(key: &str) -> Result<(), StartError> {
    if (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) { Ok(()) } else { Err(StartError::Key(key.len())) }
}
