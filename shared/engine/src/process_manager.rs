//! The process manager: every input of every record goes through here.
//!
//! A batch of one queue is grouped by record, and each record is advanced with one write. A message is acknowledged only
//! when all of its work is done. An unreadable message goes to the dead-letter queue with its reason; it is never just
//! deleted.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join_all, join3};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use windlass_contract::message::{InboxMessage, PerformMessage, decode};
use windlass_contract::report_limits::held_to_limits;
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::limits::{MAX_BATCH, MAX_DELIVERIES, MAX_FAILED_DELIVERIES};
use windlass_domain::run::{Input, Run};
use windlass_domain::schedule::TaskRecord;
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::backoff::{Backoff, again_after};
use crate::dead_letter::bury;
use crate::definitions::Definitions;
use crate::effects::{Effects, report_dead};
use crate::ports::{ErrorClass, PortError, QueueName, Receipt, Received, Sender};
use crate::settle::{Settled, carry_out, settle};
use crate::step::Answer;
use crate::subject::{Engine, Given, Missing, Subject};
use crate::sweeper::Sweeper;

/// How long an input stays hidden while it is worked on.
const VISIBILITY: Duration = Duration::from_secs(30);
/// How long a receive waits for the first input; what is left of the visibility timeout then is enough to decide it.
const WAIT: Duration = Duration::from_secs(10);
/// By how much the clocks of a queue and of a process manager may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(10);
/// Receives after which the inputs of one record are no longer decided together.
const TOGETHER: u32 = 2;
/// Locks over records: inputs of one record that come to one process wait for each other instead of meeting in conflicts.
const LOCKS: usize = 256;

/// Why an input is kept as a dead letter.
const FORBIDDEN: &str = "its sender may not say this: an agent speaks of attempts of its own pool";

/// Advances records.
pub struct ProcessManager {
    engine: Engine,
    sweeper: Sweeper,
    locks: Vec<Mutex<()>>,
}

/// The messages that a queue gave out together.
#[derive(Clone, Copy)]
struct Delivered<'d> {
    queue: &'d QueueName,
    messages: &'d [Received],
    /// When other processes may have the messages; none: they never do.
    until: Option<Instant>,
}

/// A batch of messages, sorted by the record that they are about; each is known by its place among them.
#[derive(Default)]
struct Batch {
    runs: BTreeMap<RunId, Group<Run>>,
    tasks: BTreeMap<TaskName, Group<TaskRecord>>,
    sweeps: Vec<(usize, Timestamp)>,
}

impl Batch {
    fn add(&mut self, at: usize, received: &Received, message: InboxMessage) {
        let (sender, repeated) = (received.sender.clone(), received.receive_count > 1);
        match message {
            InboxMessage::Run { run, input, caller, .. } => {
                Group::add(&mut self.runs, run, at, Given { input, caller, sender, repeated });
            }
            InboxMessage::Task { task, input, caller, .. } => {
                Group::add(&mut self.tasks, task, at, Given { input, caller, sender, repeated });
            }
            InboxMessage::Sweep { nominal, .. } => self.sweeps.push((at, nominal)),
        }
    }
}

/// The inputs of one record, and the places of the messages that brought them.
#[derive(Clone)]
struct Group<S: Subject> {
    id: S::Id,
    inputs: Vec<Given<S::Input>>,
    places: Vec<usize>,
}

impl<S: Subject> Group<S> {
    fn add(groups: &mut BTreeMap<S::Id, Self>, id: S::Id, at: usize, given: Given<S::Input>) {
        let empty = |id| Self { id, inputs: Vec::new(), places: Vec::new() };
        let group = groups.entry(id.clone()).or_insert_with(|| empty(id));
        group.inputs.push(given);
        group.places.push(at);
    }

    /// The group, or each of its inputs by itself once they have failed together twice: one that panics takes no other along.
    fn apart(self, received: &[Received]) -> Vec<Self> {
        let has_failed_twice = self.places.iter().any(|at| received[*at].receive_count > TOGETHER);
        if self.places.len() == 1 || !has_failed_twice {
            return vec![self];
        }
        let one = |(given, at)| Self { id: self.id.clone(), inputs: vec![given], places: vec![at] };
        self.inputs.into_iter().zip(self.places).map(one).collect()
    }
}

impl ProcessManager {
    /// A process manager over these ports.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        let locks = (0..LOCKS).map(|_| Mutex::default()).collect();
        let sweeper = Sweeper::new(ports.clone(), Duration::ZERO);
        Self { engine: Engine::new(ports, definitions), sweeper, locks }
    }

    /// Works on each queue of inputs with so many workers until `shutdown` is cancelled, then finishes the messages that
    /// it has received.
    pub async fn run(&self, workers: usize, shutdown: &CancellationToken) {
        let of = |queue| join_all((0..workers).map(move |_| self.work(queue, shutdown)));
        join_all(QueueName::INPUTS.iter().map(of)).await;
    }

    /// Works on one queue of inputs until `shutdown` is cancelled, then finishes what it has received.
    pub async fn work(&self, queue: &QueueName, shutdown: &CancellationToken) {
        let mut backoff = Backoff::of_failures();
        loop {
            let until = Instant::now() + VISIBILITY - CLOCK_SKEW;
            let receive = self.engine.ports.queues.receive(queue, MAX_BATCH, VISIBILITY, WAIT);
            let received = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                received = receive => received,
            };
            match received {
                Ok(deliveries) if deliveries.is_empty() => {}
                Ok(deliveries) => {
                    self.work_on(queue, deliveries, until).await;
                    backoff = Backoff::of_failures();
                }
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to receive inputs");
                    backoff.wait().await;
                }
            }
        }
    }

    async fn work_on(&self, queue: &QueueName, deliveries: Vec<Received>, until: Instant) {
        let done = self.handle(queue, &deliveries, Some(until)).await;
        let (good, bad): (Vec<_>, Vec<_>) = deliveries.into_iter().zip(done).partition(|(_, done)| *done);
        let good: Vec<Receipt> = good.into_iter().map(|(delivery, _)| delivery.receipt).collect();
        let again = |(delivery, _): (Received, bool)| (delivery.receipt, again_after(delivery.receive_count));
        let bad: Vec<(Receipt, Duration)> = bad.into_iter().map(again).collect();
        if !good.is_empty()
            && let Err(error) = self.engine.ports.queues.delete(queue, good).await
        {
            tracing::warn!(error = %error, "failed to acknowledge inputs; they will come again");
        }
        if !bad.is_empty()
            && let Err(error) = self.engine.ports.queues.extend(queue, bad).await
        {
            tracing::warn!(error = %error, "failed to hand back inputs; they come again by themselves");
        }
    }

    /// Handles a batch of one queue; says for each message whether it may be acknowledged. Nothing is decided after `until`,
    /// when other processes may have the messages; none: they never do.
    pub async fn handle(&self, queue: &QueueName, messages: &[Received], until: Option<Instant>) -> Vec<bool> {
        let from = Delivered { queue, messages, until };
        let mut done = vec![false; messages.len()];
        let mut batch = Batch::default();
        for (at, one) in messages.iter().enumerate() {
            if one.receive_count > MAX_DELIVERIES {
                let reason = format!("it was delivered {} times and could not be handled", one.receive_count);
                done[at] = self.bury(queue, one, &reason).await;
                continue;
            }
            match decode(&one.body) {
                Ok(message) if !self.is_still_true(one, &message).await => done[at] = true,
                Ok(message) => batch.add(at, one, held_to_limits(message)),
                Err(error) => done[at] = self.bury(queue, one, &error.to_string()).await,
            }
        }
        let runs = self.settle_all(batch.runs, from);
        let tasks = self.settle_all(batch.tasks, from);
        let sweeps = join_all(batch.sweeps.iter().map(|(at, nominal)| self.sweep(*nominal, queue, &messages[*at])));
        let (runs, tasks, sweeps) = join3(runs, tasks, sweeps).await;
        for ((at, _), swept) in batch.sweeps.iter().zip(sweeps) {
            done[*at] = swept;
        }
        let (groups, effects): (Vec<_>, Vec<_>) = runs.into_iter().chain(tasks).unzip();
        let sent = carry_out(&self.engine, effects).await;
        for (places, sent) in groups.iter().zip(sent) {
            let sent = report("send what follows", sent);
            for at in places {
                done[*at] = sent;
            }
        }
        done
    }

    /// Whether a message says something true by now: a pool that had no agent may have one. No agent may say so at all, which
    /// is for its record to answer.
    async fn is_still_true(&self, received: &Received, message: &InboxMessage) -> bool {
        match message {
            InboxMessage::Run { input: Input::Unserved { pool, .. }, .. }
                if !matches!(received.sender, Sender::Agents(_)) =>
            {
                self.engine.pools.unserved_since(pool).await.is_some()
            }
            InboxMessage::Run { .. } | InboxMessage::Task { .. } | InboxMessage::Sweep { .. } => true,
        }
    }

    /// Handles what a queue of the host has given up: messages that were received too often. An attempt fails with that
    /// reason; everything is kept, with it, where a person finds it.
    pub async fn handle_dead(&self, queue: &QueueName, deliveries: &[Received]) -> Vec<bool> {
        let reason = format!("the queue `{queue}` gave it up: it was received too often and never acknowledged");
        join_all(deliveries.iter().map(|delivery| self.handle_dead_one(queue, delivery, &reason))).await
    }

    async fn handle_dead_one(&self, queue: &QueueName, delivery: &Received, reason: &str) -> bool {
        if !self.bury(queue, delivery, reason).await {
            return false;
        }
        match (queue, decode::<PerformMessage>(&delivery.body)) {
            (QueueName::Pool(_), Ok(perform)) => report(
                "report a dead letter",
                report_dead(&self.engine.ports, &perform, Some(&delivery.id), reason.to_owned()).await,
            ),
            (
                QueueName::Pool(_)
                | QueueName::Inbox
                | QueueName::Claims
                | QueueName::Control { .. }
                | QueueName::DeadLetter,
                _,
            ) => true,
        }
    }

    /// Settles each record with one write. Gives what follows from each that was settled, with the places of its messages.
    async fn settle_all<S: Subject>(
        &self,
        groups: BTreeMap<S::Id, Group<S>>,
        from: Delivered<'_>,
    ) -> Vec<(Vec<usize>, Effects)> {
        let groups: Vec<Group<S>> = groups.into_values().flat_map(|group| group.apart(from.messages)).collect();
        let settled =
            join_all(groups.iter().map(|group| self.settle(group, from).instrument(S::span(&group.id)))).await;
        let settled = groups.into_iter().zip(settled);
        settled.filter_map(|(group, effects)| effects.map(|effects| (group.places, effects))).collect()
    }

    /// Settles one record; gives what is to be sent, or nothing if its inputs must come again.
    async fn settle<S: Subject>(&self, group: &Group<S>, from: Delivered<'_>) -> Option<Effects> {
        let settled = {
            let _guard = self.locks[lock_of(&group.id)].lock().await;
            let settled = settle::<S>(&self.engine, &group.id, &group.inputs, from.until);
            // A decision that panics is a bug of ours; the other records go on, and its inputs end as dead letters.
            AssertUnwindSafe(settled).catch_unwind().await.unwrap_or_else(|_| Err(PortError::panicked()))
        };
        match settled {
            Ok((Settled::Decided { answers }, effects)) => self.decided(group, from, &answers, effects).await,
            Ok((Settled::Unknown, _)) => match S::missing(&group.id, &group.inputs, self.age(group, from)) {
                Missing::Awaited => None,
                Missing::NeverWritten => Some(Effects::default()),
                Missing::Unknown(reason) => self.bury_all(group, from, &reason).await,
            },
            Ok((Settled::Late, _)) => {
                tracing::warn!("inputs were not decided in time; they come again");
                None
            }
            Err(error) => self.failed(group, from, error).await,
        }
    }

    /// Keeps forbidden inputs as dead letters; gives back the effects if all of those were kept.
    async fn decided<S: Subject>(
        &self,
        group: &Group<S>,
        from: Delivered<'_>,
        answers: &[Answer<S::Refusal>],
        effects: Effects,
    ) -> Option<Effects> {
        for (answer, at) in answers.iter().zip(&group.places) {
            match answer {
                Answer::Accepted => {}
                Answer::Refused(why) => tracing::debug!(rejection = %why, "refused an input"),
                Answer::Forbidden if self.bury(from.queue, &from.messages[*at], FORBIDDEN).await => {}
                Answer::Forbidden => return None,
            }
        }
        Some(effects)
    }

    /// How long ago the oldest input of the group was sent.
    fn age<S: Subject>(&self, group: &Group<S>, from: Delivered<'_>) -> Millis {
        let oldest = group.places.iter().map(|at| from.messages[*at].sent_at).min();
        oldest.map_or(Millis(0), |sent_at| self.engine.ports.clock.now().since(sent_at))
    }

    /// Inputs that failed come again, until they have come too often.
    async fn failed<S: Subject>(&self, group: &Group<S>, from: Delivered<'_>, error: PortError) -> Option<Effects> {
        let most = match error.class {
            ErrorClass::Retry | ErrorClass::Conflict => MAX_DELIVERIES,
            ErrorClass::Reject | ErrorClass::Bug => MAX_FAILED_DELIVERIES,
        };
        let reason = format!("failed to {error}");
        report("settle a record", Err(error));
        let is_last = |at: &usize| from.messages[*at].receive_count >= most;
        if !group.places.iter().all(is_last) {
            return None;
        }
        self.bury_all(group, from, &reason).await
    }

    async fn bury_all<S: Subject>(&self, group: &Group<S>, from: Delivered<'_>, reason: &str) -> Option<Effects> {
        let bury = |at: &usize| self.bury(from.queue, &from.messages[*at], reason);
        let buried = join_all(group.places.iter().map(bury)).await.into_iter().all(|done| done);
        buried.then(Effects::default)
    }

    async fn sweep(&self, nominal: Timestamp, queue: &QueueName, delivery: &Received) -> bool {
        if delivery.sender != Sender::Host {
            return self.bury(queue, delivery, FORBIDDEN).await;
        }
        let swept = AssertUnwindSafe(self.sweeper.round(nominal)).catch_unwind().await;
        report("sweep", swept.unwrap_or_else(|_| Err(PortError::panicked())))
    }

    /// Puts a message that no process can handle where a person finds it, with the reason.
    async fn bury(&self, queue: &QueueName, delivery: &Received, reason: &str) -> bool {
        tracing::error!(queue = %queue, reason, "a message goes to the dead-letter queue");
        report("bury a message", bury(self.engine.ports.queues.as_ref(), queue, &delivery.body, reason).await)
    }
}

fn lock_of(id: &impl Hash) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
    usize::try_from(hash % LOCKS as u64).unwrap_or(0)
}

fn report(what: &'static str, result: Result<(), PortError>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error.code = error.code, error = %error, what, "failed; the input will come again");
            false
        }
    }
}
