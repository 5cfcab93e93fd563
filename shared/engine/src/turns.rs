//! The turns of schedules, in the loop: what their decisions read, and how they are carried out.
//!
//! The order of writes is: the turn in the task's record, then the run, then the messages that its start sends. If the
//! process dies in between, the queue delivers the same message again. The next process finds the decision in the
//! record, or in the run whose id is derived from the due time, and does the rest.

pub(crate) mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures::FutureExt;
use serde_json::json;
use windlass_contract::event::PublicEvent;
use windlass_contract::message::{InboxMessage, MESSAGE_VERSION, encode};
use windlass_domain::caller::{Caller, Way};
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::run::{CancelCause, Input, Origin, Run};
use windlass_domain::schedule::overlap::Fate;
use windlass_domain::schedule::{
    Circumstances, DueRun, TaskInput, TaskRecord, TurnCommand, TurnFact, overlap_of, scheduled_input,
};
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::effects::{Effects, Turn};
use crate::ports::{Clock, Created, Outgoing, PortError, QueueName, Records, Sender};
use crate::send::{send_all, together};
use crate::subject::{Engine, Given, Missing, Subject};
use crate::submit::{Begun, start_again, start_message};

#[async_trait]
impl Subject for TaskRecord {
    fn span(task: &TaskName) -> tracing::Span {
        tracing::info_span!("task", task = %task)
    }

    fn records(ports: &Ports) -> &dyn Records<Self> {
        ports.tasks.as_ref()
    }

    async fn context(&self, engine: &Engine, inputs: &[Given<TaskInput>]) -> Result<Circumstances, PortError> {
        let definition = engine.definitions.get(&self.name, self.version).await?;
        let mut nominals = BTreeSet::new();
        if !self.deleted {
            nominals.extend(self.active);
            nominals.extend(inputs.iter().filter_map(|given| match given.input {
                TaskInput::Due { nominal } => Some(nominal),
                TaskInput::Ended => None,
            }));
        }
        let mut runs = BTreeMap::new();
        for nominal in nominals {
            let run = engine.ports.runs.load(&RunId::from_nominal_time(&self.name, nominal)).await?;
            runs.extend(run.map(|run| (nominal, stands(run, engine.ports.clock.as_ref()))));
        }
        Ok(Circumstances { definition, runs })
    }

    /// No agent speaks of schedules.
    fn may_say(_: &Circumstances, given: &Given<TaskInput>) -> bool {
        given.sender == Sender::Host
    }

    fn events(&self, context: &Circumstances, fact: &TurnFact) -> Vec<PublicEvent> {
        let definition = &context.definition;
        let passed_over = |nominal: &Timestamp| {
            let (kind, reason) = match scheduled_input(definition) {
                Ok(_) => (event::SKIPPED, json!({ "overlap": overlap_of(definition) })),
                Err(refusal) => (event::REFUSED, json!({ "error": refusal })),
            };
            event::of(definition, self.version, (kind, *nominal, reason), fact.at)
        };
        match &fact.fate {
            Fate::PassOver => vec![passed_over(&fact.nominal)],
            Fate::Wait { superseded, .. } => superseded.iter().map(passed_over).collect(),
            Fate::Start { .. } | Fate::Nothing => Vec::new(),
        }
    }

    fn effects(
        &self,
        context: &Circumstances,
        _: &[Given<TaskInput>],
        commands: Vec<TurnCommand>,
        events: Vec<PublicEvent>,
        _: Timestamp,
    ) -> Effects {
        let turn = |command| Turn { version: self.version, definition: context.definition.clone(), command };
        // Several due times of one step may ask for the same.
        let turns = BTreeSet::from_iter(commands).into_iter().map(turn).collect();
        Effects { events, turns, ..Effects::default() }
    }

    fn missing(task: &TaskName, _: &[Given<TaskInput>], _: Millis) -> Missing {
        Missing::Unknown(format!("there is no task `{task}`, and there never was"))
    }
}

fn stands(run: Run, clock: &dyn Clock) -> DueRun {
    match run.status.is_final() {
        true => DueRun::Ended,
        false if run.needs_start_again() => {
            let (run, now) = run.timed(clock);
            DueRun::Unheard(run.started_at.map(|begun| now.since(begun)))
        }
        false => DueRun::Open,
    }
}

/// Carries out what several steps decided about turns; says for each whether all of its own was done. A start that panics
/// takes no other along.
pub(crate) async fn perform(engine: &Engine, all: Vec<Vec<Turn>>) -> Vec<Result<(), PortError>> {
    let of_one = |turns: Vec<Turn>| async move {
        for turn in turns {
            let performed = AssertUnwindSafe(perform_one(engine, &turn)).catch_unwind().await;
            performed.unwrap_or_else(|_| Err(PortError::panicked()))?;
        }
        Ok(())
    };
    together(all.into_iter().map(of_one).collect()).await
}

async fn perform_one(engine: &Engine, turn: &Turn) -> Result<(), PortError> {
    let task = &turn.definition.task;
    match turn.command {
        TurnCommand::Start { nominal } => start(engine, turn, nominal).await,
        TurnCommand::Follow { active, nominal, cancel } => follow(&engine.ports, task, active, nominal, cancel).await,
        TurnCommand::StartAgain { nominal, age } => {
            let run = RunId::from_nominal_time(task, nominal);
            send_all(engine.ports.queues.as_ref(), &[start_message(run, age)]).await
        }
        TurnCommand::Ask { nominal } => {
            send_all(engine.ports.queues.as_ref(), &[to_task(task, TaskInput::Due { nominal })]).await
        }
    }
}

/// Starts the run of a due time.
async fn start(engine: &Engine, turn: &Turn, nominal: Timestamp) -> Result<(), PortError> {
    let (definition, ports) = (&turn.definition, &engine.ports);
    let input = scheduled_input(definition).expect("the turn was decided by the same version");
    let id = RunId::from_nominal_time(&definition.task, nominal);
    let (of, origin) = ((definition.task.clone(), turn.version), Origin::Schedule { nominal });
    let (now, steady) = ports.clock.both();
    let run = Run::submitted(id, of, definition.actions.len(), input, origin, now);
    let run = run.asked_by(Caller::by(Way::Schedule)).kept(definition.keep);
    let run = run.on_clock(now, steady);
    let begun = Begun::of(&engine.pools, definition, run, now).await;
    if begun.record(ports).await? == Created::New {
        tracing::info!(run.id = %id, task = %definition.task, nominal = %nominal, "a run has started as scheduled");
        return begun.send(ports).await;
    }
    // By a process that may have died since, or by this very call: an answer may be lost on its way, and the request
    // made again.
    let run = ports.runs.load(&id).await?.ok_or_else(PortError::conflict)?;
    start_again(ports, &run).await
}

/// A due time waits for the run of another, and may want it cancelled. If that run has ended since the decision, the
/// message of its end may have found no due time in line. So this process manager sends that message again.
async fn follow(
    ports: &Ports,
    task: &TaskName,
    active: Timestamp,
    nominal: Timestamp,
    cancel: bool,
) -> Result<(), PortError> {
    let id = RunId::from_nominal_time(task, active);
    let message = match ports.runs.load(&id).await? {
        Some(run) if !run.status.is_final() && !cancel => return Ok(()),
        Some(run) if !run.status.is_final() => {
            let reason = format!("the run that was due at {nominal} follows it, and the schedule lets it");
            let input = Input::Cancel { reason, cause: CancelCause::Overlap, retries: run.retries };
            let caller = Caller::by(Way::Schedule);
            let cancel = InboxMessage::Run { v: MESSAGE_VERSION, run: id, input, caller };
            (QueueName::Inbox, Outgoing::now(encode(&cancel)))
        }
        Some(_) | None => to_task(task, TaskInput::Ended),
    };
    send_all(ports.queues.as_ref(), &[message]).await
}

/// An input of a task's schedule, for the inbox.
fn to_task(task: &TaskName, input: TaskInput) -> (QueueName, Outgoing) {
    (QueueName::Inbox, Outgoing::now(encode(&InboxMessage::of_task(task.clone(), input))))
}
