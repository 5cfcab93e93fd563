//! One step of one run: load, decide, one conditional write, then act.
//!
//! The order is the whole point. Nothing is sent before it is committed, and nothing is acknowledged before it is sent:
//! whoever dies in between is followed by a redelivery, which finds in the record what to send again.

use std::collections::BTreeSet;

use windlass_contract::event::PublicEvent;
use windlass_contract::message::{ControlMessage, InboxMessage, MESSAGE_VERSION, PerformMessage, encode};
use windlass_contract::trace::traceparent;
use windlass_domain::decide::{Command, Perform, Rejection, decide, repeat};
use windlass_domain::definition::Definition;
use windlass_domain::ids::RunId;
use windlass_domain::limits::{MAX_BATCH, MAX_DELAY_MS};
use windlass_domain::run::{Event, Input, Run};
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::ports::{Outgoing, PortError, QueueName};
use crate::send::send_all;

/// Conflicting writes after which the inputs are left to be redelivered.
const MAX_CONFLICTS: usize = 10;

/// What became of the inputs of one run.
#[derive(Debug)]
pub enum Advanced {
    /// They were decided: the run as it now is, and for each input why it was refused, if it was.
    Decided {
        /// The run.
        run: Box<Run>,
        /// One answer an input.
        answers: Vec<Option<Rejection>>,
    },
    /// There is no such run.
    Unknown,
}

struct Folded {
    run: Run,
    events: Vec<PublicEvent>,
    again: Vec<PublicEvent>,
    commands: Vec<Command>,
    answers: Vec<Option<Rejection>>,
}

/// Folds the inputs into the run with one write, then sends what follows. An error means that none of it may be
/// acknowledged; doing it again does no harm. `repeated` is when the oldest of the inputs was sent that have been
/// delivered before: whoever handled them then may have died before it sent what followed.
pub async fn advance(
    ports: &Ports,
    definitions: &Definitions,
    id: RunId,
    inputs: &[Input],
    repeated: Option<Timestamp>,
) -> Result<Advanced, PortError> {
    let mut backoff = Backoff::of_conflicts();
    for _ in 0..MAX_CONFLICTS {
        let Some(before) = ports.runs.load(id).await? else {
            return Ok(Advanced::Unknown);
        };
        let definition = definitions.get(&before.task, before.version).await?;
        let folded = fold(ports.clock.now(), &definition, &before, inputs, repeated);
        match commit(ports, &before, &folded).await {
            Ok(()) => {
                act(ports, &definition, &folded).await?;
                return Ok(Advanced::Decided { run: Box::new(folded.run), answers: folded.answers });
            }
            Err(error) if error.is_conflict() => backoff.wait().await,
            Err(error) => return Err(error),
        }
    }
    Err(PortError::conflict())
}

fn fold(
    now: Timestamp,
    definition: &Definition,
    before: &Run,
    inputs: &[Input],
    repeated: Option<Timestamp>,
) -> Folded {
    let mut folded = Folded {
        run: before.clone(),
        events: Vec::new(),
        again: Vec::new(),
        commands: Vec::new(),
        answers: Vec::with_capacity(inputs.len()),
    };
    for input in inputs {
        match decide(definition, &folded.run, input, now) {
            Ok(decision) => {
                let public = |event: &Event| PublicEvent::of(definition, &decision.run, event);
                folded.events.extend(decision.events.iter().filter_map(public));
                folded.again.extend(decision.again.iter().filter_map(public));
                folded.commands.extend(decision.commands);
                folded.run = decision.run;
                folded.answers.push(None);
            }
            Err(rejection) => {
                folded.commands.extend(answer(rejection, input));
                folded.answers.push(Some(rejection));
            }
        }
    }
    if let Some(since) = repeated {
        let decision = repeat(definition, &folded.run, since, now);
        let public = |event: &Event| PublicEvent::of(definition, &folded.run, event);
        folded.again.extend(decision.again.iter().filter_map(public));
        folded.commands.extend(decision.commands);
        drop_repeats(&mut folded.commands);
    }
    if is_changed(before, &folded.run) {
        folded.run.revision = before.revision + 1;
    }
    folded
}

/// A command that two of the inputs gave is sent once.
fn drop_repeats(commands: &mut Vec<Command>) {
    let mut kept = BTreeSet::new();
    commands.retain(|command| {
        kept.insert(match command {
            Command::Perform(perform) => (0, Some(perform.of), None),
            Command::Stop { of, .. } => (1, Some(*of), None),
            Command::Wake { at } => (2, None, Some(*at)),
            Command::Ended => (3, None, None),
        })
    });
}

/// Whether anything has to be written: a decision changes the status of something, or the progress of an attempt, or
/// only when the run is to be woken.
fn is_changed(before: &Run, after: &Run) -> bool {
    before.status_revision != after.status_revision
        || before.wake_at != after.wake_at
        || !after.actions.changed_since(&before.actions).is_empty()
}

/// An agent that reports in vain is told to stop.
fn answer(rejection: Rejection, input: &Input) -> Option<Command> {
    match input {
        Input::Started { agent, of, .. } => Command::answer_to(rejection, agent, *of),
        Input::Start
        | Input::Claim { .. }
        | Input::Progressed { .. }
        | Input::Completed { .. }
        | Input::DeadLettered { .. }
        | Input::Cancel { .. }
        | Input::Pause
        | Input::Resume
        | Input::Retry { .. }
        | Input::Wake
        | Input::Sweep { .. } => None,
    }
}

async fn commit(ports: &Ports, before: &Run, folded: &Folded) -> Result<(), PortError> {
    if folded.run.revision == before.revision {
        return Ok(());
    }
    ports.runs.commit(before, &folded.run, &folded.events).await
}

async fn act(ports: &Ports, definition: &Definition, folded: &Folded) -> Result<(), PortError> {
    let mut outgoing: Vec<(QueueName, Outgoing)> = Vec::with_capacity(folded.commands.len());
    for command in &folded.commands {
        outgoing.extend(message_of(ports, definition, &folded.run, command));
    }
    send_all(ports.queues.as_ref(), outgoing).await?;
    let events: Vec<PublicEvent> = folded.events.iter().chain(&folded.again).cloned().collect();
    for batch in events.chunks(MAX_BATCH) {
        ports.bus.publish(batch).await?;
    }
    Ok(())
}

fn message_of(ports: &Ports, definition: &Definition, run: &Run, command: &Command) -> Option<(QueueName, Outgoing)> {
    Some(match command {
        Command::Perform(perform) => {
            let body = encode(&perform_message(definition, run, perform));
            (QueueName::Pool(perform.pool.clone()), Outgoing::now(body))
        }
        Command::Stop { agent, of } => {
            let message = ControlMessage::Stop { v: MESSAGE_VERSION, run: run.id, of: *of };
            (QueueName::Control(agent.clone()), Outgoing::now(encode(&message)))
        }
        Command::Wake { at } => {
            let delay = at.since(ports.clock.now());
            if delay.0 > MAX_DELAY_MS {
                return None;
            }
            let message = InboxMessage::Run { v: MESSAGE_VERSION, run: run.id, input: Input::Wake };
            (QueueName::Inbox, Outgoing { body: encode(&message), delay })
        }
        Command::Ended => {
            let message = InboxMessage::Due { v: MESSAGE_VERSION, task: run.task.clone(), nominal: None };
            (QueueName::Inbox, Outgoing::now(encode(&message)))
        }
    })
}

fn perform_message(definition: &Definition, run: &Run, perform: &Perform) -> PerformMessage {
    PerformMessage {
        v: MESSAGE_VERSION,
        run: run.id,
        task: run.task.clone(),
        version: run.version,
        name: definition.action(perform.of.action).name.clone(),
        of: perform.of,
        work: perform.work.clone(),
        timeout_ms: perform.timeout,
        deadline: run.deadline,
        queued_at: perform.queued_at,
        claim: perform.claim,
        trace: Some(traceparent(run.id, perform.of)),
    }
}
