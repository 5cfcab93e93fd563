//! A due time has come, or a scheduled run has ended: whose turn it is, and the start of its run.
//!
//! The order of writes is: the turn in the task's record, then the run, then the messages that its start sends. If the
//! process dies in between, the queue delivers the same message again. The next process finds the decision in the
//! record, or in the run whose id is derived from the due time, and does the rest. So a due time is neither lost nor
//! run twice.

pub(crate) mod event;

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_contract::message::{InboxMessage, MESSAGE_VERSION, encode};
use windlass_domain::caller::{Caller, Way};
use windlass_domain::definition::{Definition, Overlap};
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::limits::MAX_QUEUED_DUE;
use windlass_domain::overlap::{self, Active, Fate, Turns};
use windlass_domain::run::{CancelCause, ErrorInfo, Input, Origin, Run};
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::pools::Pools;
use crate::ports::{Created, Outgoing, PortError, QueueName, TaskRecord};
use crate::submit::{Begun, start_again};

/// Conflicting writes after which the message is left to be redelivered.
const MAX_CONFLICTS: usize = 10;
/// Steps of one message: each but the last decides about one due time that waits.
const MAX_STEPS: usize = 2 * MAX_QUEUED_DUE;

/// Handles a due time of a task, or, with none, that a run of it has ended and the next one may have its turn.
///
/// An error means that the message may not be acknowledged; handling it again does no harm.
pub async fn handle_due(
    ports: &Ports,
    definitions: &Definitions,
    pools: &Pools,
    task: &TaskName,
    nominal: Option<Timestamp>,
) -> Result<Handled, PortError> {
    let mut backoff = Backoff::of_conflicts();
    let mut conflicts = 0;
    for _ in 0..MAX_STEPS {
        match step(ports, definitions, pools, task, nominal).await {
            Ok(Step::Done) => return Ok(Handled::Done),
            Ok(Step::UnknownTask) => return Ok(Handled::UnknownTask),
            Ok(Step::Again) => {}
            Err(error) if error.is_conflict() && conflicts < MAX_CONFLICTS => {
                conflicts += 1;
                backoff.wait().await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(PortError::conflict())
}

/// What became of a due message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It has been dealt with.
    Done,
    /// There never was such a task: nothing can be done with it.
    UnknownTask,
}

/// The outcome of one step.
enum Step {
    /// The message has been dealt with.
    Done,
    /// There never was such a task.
    UnknownTask,
    /// The turns have changed: look again.
    Again,
}

async fn step(
    ports: &Ports,
    definitions: &Definitions,
    pools: &Pools,
    task: &TaskName,
    nominal: Option<Timestamp>,
) -> Result<Step, PortError> {
    let Some(record) = ports.tasks.get(task).await? else {
        return Ok(Step::UnknownTask);
    };
    if record.deleted {
        return forget(ports, record).await;
    }
    if nominal.is_none() && record.waiting.is_empty() && record.active.is_none() {
        return Ok(Step::Done);
    }
    // The run is looked for after the record was read: if it comes to be in between, the record is changed before,
    // and a write of this one meets a conflict.
    if let Some(nominal) = nominal
        && let Some(run) = ports.runs.load(RunId::from_nominal_time(task, nominal)).await?
    {
        start_again(ports, &run).await?;
        return Ok(Step::Done);
    }
    let definition = definitions.get(task, record.version).await?;
    let active = active(ports, &record).await?;
    if let Some((_, Some(run))) = &active {
        start_again(ports, run).await?;
    }
    let turns = Turns {
        active: active.as_ref().map(|(active, _)| *active),
        waiting: record.waiting.clone(),
        passed_over: record.passed_over.clone(),
    };
    let turn = Turn { ports, pools, definition, record, turns };
    match active {
        Some((Active { nominal: lost, .. }, None)) if Some(lost) != nominal => turn.recover(lost).await,
        _ => turn.settle(nominal).await,
    }
}

/// A deleted task starts nothing. Its waiting due times are dropped, so that they do not start if the task is put
/// again.
async fn forget(ports: &Ports, record: TaskRecord) -> Result<Step, PortError> {
    tracing::info!(task = %record.name, waiting = record.waiting.len(), "due times of a deleted task start nothing");
    if !record.waiting.is_empty() {
        ports.tasks.update(&TaskRecord { waiting: Vec::new(), ..record }).await?;
    }
    Ok(Step::Done)
}

/// Who had the last turn, with the run, if it is there. A run that is not there yet counts as open.
async fn active(ports: &Ports, record: &TaskRecord) -> Result<Option<(Active, Option<Run>)>, PortError> {
    let Some(nominal) = record.active else { return Ok(None) };
    let run = ports.runs.load(RunId::from_nominal_time(&record.name, nominal)).await?;
    let open = run.as_ref().is_none_or(|run| !run.status.is_final());
    Ok(Some((Active { nominal, open }, run)))
}

async fn send(ports: &Ports, run: RunId, input: Input) -> Result<(), PortError> {
    let caller = Caller::by(Way::Schedule);
    let message = InboxMessage::Run { v: MESSAGE_VERSION, run, input, caller };
    ports.queues.send(&QueueName::Inbox, vec![Outgoing::now(encode(&message))]).await
}

/// A task's turns as they were read, and what is needed to change them.
struct Turn<'a> {
    ports: &'a Ports,
    pools: &'a Pools,
    definition: Arc<Definition>,
    record: TaskRecord,
    turns: Turns,
}

impl Turn<'_> {
    async fn settle(&self, asked: Option<Timestamp>) -> Result<Step, PortError> {
        let fate = match asked {
            Some(nominal) => overlap::due(&self.turns, self.policy(), nominal),
            None => overlap::next(&self.turns),
        };
        match (fate, asked) {
            (Fate::Start { nominal, takes_turn }, _) => {
                self.start(nominal, takes_turn).await?;
                Ok(if asked == Some(nominal) { Step::Done } else { Step::Again })
            }
            (Fate::Wait { cancel_active, superseded }, Some(nominal)) => {
                self.wait(nominal, cancel_active, superseded).await
            }
            (Fate::PassOver, Some(nominal)) => self.pass_over(nominal).await.map(|()| Step::Done),
            (Fate::Nothing, _) | (Fate::Wait { .. } | Fate::PassOver, None) => Ok(Step::Done),
        }
    }

    /// A process took the turn and died before it wrote the run. This process starts the run, whether or not that
    /// message comes again.
    async fn recover(&self, lost: Timestamp) -> Result<Step, PortError> {
        tracing::info!(task = %self.record.name, nominal = %lost, "a due time had its turn and no run; its run starts");
        self.start(lost, true).await.map(|()| Step::Again)
    }

    fn policy(&self) -> Overlap {
        self.definition.schedule.as_ref().map_or(Overlap::default(), |schedule| schedule.overlap)
    }

    /// Starts the run of a due time, or passes the due time over if no run of this version can start by itself.
    async fn start(&self, nominal: Timestamp, takes_turn: bool) -> Result<(), PortError> {
        let Ok(input) = input(&self.definition) else {
            return self.pass_over(nominal).await;
        };
        self.keep(nominal, &Fate::Start { nominal, takes_turn }).await?;
        let id = RunId::from_nominal_time(&self.record.name, nominal);
        let of = (self.record.name.clone(), self.record.version);
        let (origin, now) = (Origin::Schedule { nominal }, self.ports.clock.now());
        let run = Run::submitted(id, of, self.definition.actions.len(), input, origin, now);
        let run = run.asked_by(Caller::by(Way::Schedule));
        let begun = Begun::of(self.pools, &self.definition, run, now).await;
        if begun.record(self.ports).await? == Created::New {
            return begun.send(self.ports).await;
        }
        // By a process that may have died since, or by this very call: an answer may be lost on its way, and the request
        // made again.
        let run = self.ports.runs.load(id).await?.ok_or_else(PortError::conflict)?;
        start_again(self.ports, &run).await
    }

    async fn wait(
        &self,
        nominal: Timestamp,
        cancel_active: bool,
        superseded: Vec<Timestamp>,
    ) -> Result<Step, PortError> {
        self.keep(nominal, &Fate::Wait { cancel_active, superseded: superseded.clone() }).await?;
        for gone in superseded {
            self.publish_passed_over(gone).await?;
        }
        let Some((Active { nominal: before, open: true }, previous)) = active(self.ports, &self.record).await? else {
            // That run ended meanwhile, and the process that handled its end may not have seen this due time.
            return Ok(Step::Again);
        };
        if cancel_active {
            let reason = format!("the run that was due at {nominal} follows it, and the schedule lets it");
            let run = RunId::from_nominal_time(&self.record.name, before);
            let retries = previous.map_or(0, |previous| previous.retries);
            send(self.ports, run, Input::Cancel { reason, cause: CancelCause::Overlap, retries }).await?;
        }
        Ok(Step::Done)
    }

    async fn pass_over(&self, nominal: Timestamp) -> Result<(), PortError> {
        self.keep(nominal, &Fate::PassOver).await?;
        self.publish_passed_over(nominal).await
    }

    async fn publish_passed_over(&self, nominal: Timestamp) -> Result<(), PortError> {
        let (kind, reason) = match input(&self.definition) {
            Ok(_) => (event::SKIPPED, json!({ "overlap": self.policy() })),
            Err(refusal) => (event::REFUSED, json!({ "error": refusal })),
        };
        event::publish(self.ports, &self.definition, self.record.version, kind, nominal, reason).await
    }

    /// Writes the turns, if that changes them.
    async fn keep(&self, nominal: Timestamp, fate: &Fate) -> Result<(), PortError> {
        let Turns { active, waiting, passed_over } = self.turns.after(nominal, fate);
        let active = active.map(|active| active.nominal);
        let record = TaskRecord { active, waiting, passed_over, ..self.record.clone() };
        if record == self.record {
            return Ok(());
        }
        self.ports.tasks.update(&record).await
    }
}

/// The input of a scheduled run: the schema's defaults. An error says why no due time of this version can start.
fn input(definition: &Definition) -> Result<Value, ErrorInfo> {
    if definition.schedule.is_none() {
        return Err(ErrorInfo::new("schedule.removed", "the task's newest version has no schedule"));
    }
    definition.check_input(json!({})).map_err(|faults| ErrorInfo::new("input.invalid", faults.to_string()))
}
