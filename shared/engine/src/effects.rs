//! What follows from decisions: messages and events, sent once what led to them is committed.
//!
//! The effects of all runs of one batch go out together, because a request that carries ten messages costs what a
//! request with one does.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_contract::event::PublicEvent;
use windlass_contract::message::{
    Confirmed, ControlMessage, InboxMessage, MESSAGE_VERSION, PerformMessage, Stopped, decode, encode, message_hash,
};
use windlass_contract::trace::traceparent;
use windlass_domain::definition::Definition;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{AgentId, PoolName, RunId, TaskVersion};
use windlass_domain::limits::{MAX_BATCH, MAX_CLAIMS, MAX_DELAY_MS};
use windlass_domain::run::{Command, Confirm, Input, Perform, Run, Stop};
use windlass_domain::schedule::{TaskInput, TurnCommand};
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::dead_letter::bury;
use crate::pools::{Pools, TELL_AFTER};
use crate::ports::{ErrorClass, Outgoing, PortError, QueueName};
use crate::send::{send_all, send_each, together};

/// Messages and events that are to be sent. Sending them twice does no harm.
#[derive(Debug, Default)]
pub struct Effects {
    pub(crate) messages: Vec<(QueueName, Outgoing)>,
    pub(crate) events: Vec<PublicEvent>,
    /// The pools that get an attempt.
    pub(crate) waits: Vec<Wait>,
    /// What was decided about the turns of schedules.
    pub(crate) turns: Vec<Turn>,
}

/// What was decided about the turns of a task's schedule, and by which version.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) version: TaskVersion,
    pub(crate) definition: Arc<Definition>,
    pub(crate) command: TurnCommand,
}

/// That an attempt of a run goes to a pool, and when the run reports that the pool has no agent.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) run: RunId,
    pub(crate) pool: PoolName,
    pub(crate) tell_after: Millis,
}

impl Effects {
    /// Turns the commands of a run's decision into messages to send and events to publish.
    pub(crate) fn of(
        now: Timestamp,
        definition: &Definition,
        run: &Run,
        commands: &[Command],
        mut events: Vec<PublicEvent>,
    ) -> Self {
        events.retain(|event| event.is_published(definition));
        let mut effects = Self { messages: messages_of(now, definition, run, commands), events, ..Self::default() };
        for command in commands {
            if let Command::Perform(perform) = command
                && run.action(perform.of.action).unserved.is_none()
            {
                effects.wait_of(run.id, perform, definition.action(perform.of.action).queue_timeout);
            }
        }
        effects
    }

    fn wait_of(&mut self, run: RunId, perform: &Perform, queue_timeout: Option<Millis>) {
        let tell_after = tell_after(queue_timeout);
        match self.waits.iter_mut().find(|wait| wait.pool == perform.pool) {
            Some(wait) => wait.tell_after = wait.tell_after.min(tell_after),
            None => self.waits.push(Wait { run, pool: perform.pool.clone(), tell_after }),
        }
    }

    /// Sends the run a delayed message to look again, for each of its pools that has no agent by the register. An
    /// attempt for a pool with an agent costs nothing.
    pub(crate) async fn look_for_agents(&mut self, pools: &Pools) {
        for wait in std::mem::take(&mut self.waits) {
            if let Some(since) = pools.unserved_since(&wait.pool).await {
                self.messages.push(unserved(wait.run, wait.pool, since, wait.tell_after));
            }
        }
    }

    /// The start of a run, for the process manager.
    pub(crate) fn start_of(run: &Run) -> Self {
        Self { messages: vec![to_run(run.id, Input::Start, Millis(0))], ..Self::default() }
    }

    /// Sends the messages and events of one step. An error means that some may not have been sent.
    pub(crate) async fn send(self, ports: &Ports) -> Result<(), PortError> {
        Self::send_together(vec![self], ports).await.into_iter().collect()
    }

    /// Publishes the events of several steps together, then sends their messages; says for each whether all of its own was
    /// done. A step whose events were not published sends no attempt.
    ///
    /// Nothing is sent a second time here: the agent that gets an attempt's first message may begin it without asking, so only
    /// a redelivered input, whose attempts must be claimed, sends it again.
    pub(crate) async fn send_together(mut all: Vec<Self>, ports: &Ports) -> Vec<Result<(), PortError>> {
        let counts: Vec<usize> = all.iter().map(|one| one.events.len()).collect();
        let events: Vec<_> = all.iter_mut().flat_map(|one| std::mem::take(&mut one.events)).collect();
        let mut published = publish(ports, &events).await.into_iter();
        let told: Vec<_> = counts.into_iter().map(|events| next(&mut published, events)).collect();
        for (one, _) in all.iter_mut().zip(&told).filter(|(_, told)| told.is_err()) {
            one.messages.retain(|(queue, _)| !matches!(queue, QueueName::Pool(_)));
        }
        let counts: Vec<usize> = all.iter().map(|one| one.messages.len()).collect();
        let messages: Vec<_> = all.into_iter().flat_map(|one| one.messages).collect();
        let mut sent = send(ports, &messages).await.into_iter();
        counts.into_iter().zip(told).map(|(messages, told)| next(&mut sent, messages).and(told)).collect()
    }
}

/// The result of the next so many: the first error, if there is one. It takes them all, whatever they are.
fn next(results: &mut impl Iterator<Item = Result<(), PortError>>, count: usize) -> Result<(), PortError> {
    results.take(count).fold(Ok(()), Result::and)
}

/// Sends each message, or does what is to be done about one that its queue will never take.
async fn send(ports: &Ports, messages: &[(QueueName, Outgoing)]) -> Vec<Result<(), PortError>> {
    let sent = send_each(ports.queues.as_ref(), messages).await;
    let settled = messages.iter().zip(sent).map(async |((queue, message), sent)| match sent {
        Err(error) if error.class == ErrorClass::Reject => undeliverable(ports, queue, message, error).await,
        sent => sent,
    });
    together(settled.collect()).await
}

/// Publishes the events, in as few requests as can be; those of one request fail together.
async fn publish(ports: &Ports, events: &[PublicEvent]) -> Vec<Result<(), PortError>> {
    let published = events.chunks(MAX_BATCH).map(async |batch| match ports.bus.publish(batch).await {
        Err(error) if error.is_lasting() => {
            together(batch.iter().map(|event| publish_or_bury(ports, event)).collect()).await
        }
        published => vec![published; batch.len()],
    });
    together(published.collect()).await.concat()
}

/// Publishes an event by itself. One that the bus will never take is kept where a person finds it: its run goes on.
async fn publish_or_bury(ports: &Ports, event: &PublicEvent) -> Result<(), PortError> {
    match ports.bus.publish(std::slice::from_ref(event)).await {
        Err(error) if error.is_lasting() => {
            let reason = format!("the bus does not take it: failed to {error}");
            tracing::error!(event.id = %event.id, error.code = error.code, error = %error, "the bus does not take an event");
            bury(ports.queues.as_ref(), &"bus", &encode(event), &reason).await
        }
        published => published,
    }
}

/// A message that its queue will never take. An attempt fails with the reason, and is kept where a person finds it; an
/// agent whose control queue is gone has ended, and what it performed comes back by itself.
async fn undeliverable(
    ports: &Ports,
    queue: &QueueName,
    message: &Outgoing,
    error: PortError,
) -> Result<(), PortError> {
    match queue {
        QueueName::Control { agent, .. } => {
            tracing::warn!(agent = %agent, error.code = error.code, error = %error, "an agent's control queue takes nothing");
            Ok(())
        }
        QueueName::Pool(pool) => fail_attempt(ports, pool, &message.body, &error).await,
        QueueName::Inbox | QueueName::Claims | QueueName::DeadLetter => Err(error),
    }
}

async fn fail_attempt(ports: &Ports, pool: &PoolName, body: &str, error: &PortError) -> Result<(), PortError> {
    let reason = format!("the pool `{pool}` does not take it: failed to {error}");
    tracing::error!(pool = %pool, error.code = error.code, error = %error, "the pool does not take an attempt");
    bury(ports.queues.as_ref(), &QueueName::Pool(pool.clone()), body, &reason).await?;
    match decode::<PerformMessage>(body) {
        Ok(perform) => report_dead(ports, &perform, None, reason).await,
        // It was written a moment ago: no agent could do anything with it.
        Err(_) => Ok(()),
    }
}

/// Tells a run that no agent will perform an attempt's message; `id`: the message's, if it ever was in its queue.
pub(crate) async fn report_dead(
    ports: &Ports,
    perform: &PerformMessage,
    id: Option<&str>,
    reason: String,
) -> Result<(), PortError> {
    let delivery = Delivery::new(perform.of.attempt, perform.issue, 0);
    let message = id.map_or(0, message_hash);
    let input = Input::DeadLettered { action: perform.of.action, delivery, message, reason };
    send_all(ports.queues.as_ref(), &[to_run(perform.run, input, Millis(0))]).await
}

/// How long an attempt lies in a pool without an agent before the run reports it. The run reports it at half of a
/// shorter `queue_timeout`, so that the timeout can name the reason.
pub(crate) fn tell_after(queue_timeout: Option<Millis>) -> Millis {
    queue_timeout.map_or(TELL_AFTER, |timeout| TELL_AFTER.min(Millis(timeout.0 / 2)))
}

/// Tells a run that no agent serves a pool since then, if that is still so after a delay.
pub(crate) fn unserved(run: RunId, pool: PoolName, since: Timestamp, delay: Millis) -> (QueueName, Outgoing) {
    to_run(run, Input::Unserved { pool, since }, delay)
}

/// An input of a run, for the inbox.
pub(crate) fn to_run(run: RunId, input: Input, delay: Millis) -> (QueueName, Outgoing) {
    (QueueName::Inbox, Outgoing { body: encode(&InboxMessage::of_run(run, input)), delay })
}

/// The messages that carry the commands. All confirmations and stops of one run for one agent go into one message.
fn messages_of(now: Timestamp, definition: &Definition, run: &Run, commands: &[Command]) -> Vec<(QueueName, Outgoing)> {
    let mut messages = Vec::new();
    let mut told = Told::default();
    for command in commands {
        match command {
            Command::Perform(perform) => {
                let body = encode(&perform_message(definition, run, perform));
                messages.push((QueueName::Pool(perform.pool.clone()), Outgoing { body, delay: perform.delay }));
            }
            Command::Confirm(confirm) => told.of(&confirm.pool, &confirm.agent).0.push(confirmed(confirm)),
            Command::Stop(stop) => told.of(&stop.pool, &stop.agent).1.push(stopped(stop)),
            Command::Wake { action, at } => {
                let delay = at.since(now);
                if delay.0 <= MAX_DELAY_MS {
                    messages.push(to_run(run.id, Input::Wake { action: *action }, delay));
                }
            }
            Command::Ended => {
                let ended = InboxMessage::of_task(run.task.clone(), TaskInput::Ended);
                messages.push((QueueName::Inbox, Outgoing::now(encode(&ended))));
            }
        }
    }
    messages.extend(told.into_messages(run.id));
    messages
}

/// The confirmations and stops for each agent.
#[derive(Default)]
struct Told(BTreeMap<(PoolName, AgentId), (Vec<Confirmed>, Vec<Stopped>)>);

impl Told {
    fn of(&mut self, pool: &PoolName, agent: &AgentId) -> &mut (Vec<Confirmed>, Vec<Stopped>) {
        self.0.entry((pool.clone(), agent.clone())).or_default()
    }

    fn into_messages(self, run: RunId) -> Vec<(QueueName, Outgoing)> {
        let mut messages = Vec::new();
        for ((pool, agent), (confirmed, stopped)) in self.0 {
            let queue = QueueName::Control { pool, agent };
            let v = MESSAGE_VERSION;
            for stopped in stopped.chunks(MAX_CLAIMS) {
                let body = encode(&ControlMessage::Stop { v, run, stopped: stopped.to_vec() });
                messages.push((queue.clone(), Outgoing::now(body)));
            }
            for confirmed in confirmed.chunks(MAX_CLAIMS) {
                let body = encode(&ControlMessage::Confirm { v, run, confirmed: confirmed.to_vec() });
                messages.push((queue.clone(), Outgoing::now(body)));
            }
        }
        messages
    }
}

fn confirmed(confirm: &Confirm) -> Confirmed {
    let Confirm { action, delivery, message, asked, until, losses, fence, .. } = *confirm;
    Confirmed { action, delivery, message, asked, until, checkpoint: confirm.checkpoint.clone(), losses, fence }
}

fn stopped(stop: &Stop) -> Stopped {
    let Stop { action, delivery, message, asked, fate, .. } = *stop;
    Stopped { action, delivery, message, asked, fate, reason: stop.reason.clone() }
}

fn perform_message(definition: &Definition, run: &Run, perform: &Perform) -> PerformMessage {
    PerformMessage {
        v: MESSAGE_VERSION,
        run: run.id,
        task: run.task.clone(),
        version: run.version,
        name: definition.action(perform.of.action).name.clone(),
        of: perform.of,
        issue: perform.issue,
        fence: perform.fence,
        losses: perform.losses,
        work: perform.work.clone(),
        timeout_ms: perform.timeout,
        // Agents hold both against the steady clock of their host.
        deadline: run.deadline.map(|at| run.steady(at)),
        queued_at: run.steady(perform.queued_at),
        checkpoint: perform.checkpoint.clone(),
        trace: Some(traceparent(run.id, perform.of)),
    }
}
