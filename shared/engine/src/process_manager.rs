//! The process manager: every input of every run goes through here.
//!
//! A batch from the inbox is grouped by run, and each run is advanced with one write. A message is acknowledged only
//! when all of its work is done. An unreadable message goes to the dead-letter queue with its reason; it is never just
//! deleted.

mod waiting;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join, join_all};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use windlass_contract::message::{InboxMessage, PerformMessage, decode};
use windlass_contract::trace::trace_id;
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::limits::{MAX_BATCH, MAX_DELIVERIES, MAX_FAILED_DELIVERIES};
use windlass_domain::run::{Input, Rejection, Run};
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::backoff::{Backoff, again_after};
use crate::dead_letter::bury;
use crate::definitions::Definitions;
use crate::due::{Handled, handle_due};
use crate::effects::{Effects, report_dead};
use crate::pools::Pools;
use crate::ports::{ErrorClass, PortError, QueueName, Receipt, Received, Sender};
use crate::settle::{Given, Settled, settle};
use crate::sweeper::Sweeper;

/// How long an input stays hidden while it is worked on.
const VISIBILITY: Duration = Duration::from_secs(30);
/// How long a receive waits for the first input; what is left of the visibility timeout then is enough to decide it.
const WAIT: Duration = Duration::from_secs(10);
/// By how much the clocks of a queue and of a process manager may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(10);
/// A start whose run does not exist comes again for that long: its submitter may be about to write the record.
const AWAITED_FOR: Millis = Millis::from_secs(3 * 60);
/// Receives after which the inputs of one run are no longer decided together.
const TOGETHER: u32 = 2;
/// Locks over runs: inputs of one run that come to one process wait for each other instead of meeting in conflicts.
const LOCKS: usize = 256;

/// Advances runs.
pub struct ProcessManager {
    ports: Ports,
    definitions: Arc<Definitions>,
    pools: Pools,
    sweeper: Sweeper,
    locks: Vec<Mutex<()>>,
}

/// A batch of messages, sorted by what they are about; each is known by its place among them.
#[derive(Default)]
struct Batch {
    groups: BTreeMap<RunId, Group>,
    others: Vec<(usize, Other)>,
}

/// An input that is not of one run.
enum Other {
    Due(TaskName, Option<Timestamp>),
    Sweep(Timestamp),
    /// An agent sent what only the host may send.
    Forbidden,
}

impl Batch {
    fn add(&mut self, at: usize, received: &Received, message: InboxMessage) {
        match message {
            InboxMessage::Run { run, input, caller, .. } => {
                let (sender, repeated) = (received.sender.clone(), received.receive_count > 1);
                let group =
                    self.groups.entry(run).or_insert_with(|| Group { run, inputs: Vec::new(), places: Vec::new() });
                group.inputs.push(Given { input, caller, sender, repeated });
                group.places.push(at);
            }
            InboxMessage::Due { .. } | InboxMessage::Sweep { .. } if received.sender != Sender::Host => {
                self.others.push((at, Other::Forbidden));
            }
            InboxMessage::Due { task, nominal, .. } => self.others.push((at, Other::Due(task, nominal))),
            InboxMessage::Sweep { nominal, .. } => self.others.push((at, Other::Sweep(nominal))),
        }
    }
}

/// The inputs of one run, and the places of the messages that brought them.
#[derive(Clone)]
struct Group {
    run: RunId,
    inputs: Vec<Given>,
    places: Vec<usize>,
}

impl Group {
    /// The group, or each of its inputs by itself once they have failed together twice: one that panics takes no other along.
    fn apart(self, received: &[Received]) -> Vec<Self> {
        let has_failed_twice = self.places.iter().any(|at| received[*at].receive_count > TOGETHER);
        if self.places.len() == 1 || !has_failed_twice {
            return vec![self];
        }
        let run = self.run;
        let one = |(given, at)| Self { run, inputs: vec![given], places: vec![at] };
        self.inputs.into_iter().zip(self.places).map(one).collect()
    }
}

impl ProcessManager {
    /// A process manager over these ports.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        let locks = (0..LOCKS).map(|_| Mutex::default()).collect();
        let (pools, sweeper) = (Pools::new(&ports), Sweeper::new(ports.clone(), Duration::ZERO));
        Self { ports, definitions, pools, sweeper, locks }
    }

    /// Works on the inbox until `shutdown` is cancelled, then finishes the messages that it has received.
    pub async fn run(&self, workers: usize, shutdown: &CancellationToken) {
        join_all((0..workers).map(|_| self.work(shutdown))).await;
    }

    async fn work(&self, shutdown: &CancellationToken) {
        let mut backoff = Backoff::of_failures();
        loop {
            let until = Instant::now() + VISIBILITY - CLOCK_SKEW;
            let receive = self.ports.queues.receive(&QueueName::Inbox, MAX_BATCH, VISIBILITY, WAIT);
            let received = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                received = receive => received,
            };
            match received {
                Ok(deliveries) if deliveries.is_empty() => {}
                Ok(deliveries) => {
                    self.work_on(deliveries, until).await;
                    backoff = Backoff::of_failures();
                }
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to receive inputs");
                    backoff.wait().await;
                }
            }
        }
    }

    async fn work_on(&self, deliveries: Vec<Received>, until: Instant) {
        let done = self.handle(&deliveries, Some(until)).await;
        let (good, bad): (Vec<_>, Vec<_>) = deliveries.into_iter().zip(done).partition(|(_, done)| *done);
        let good: Vec<Receipt> = good.into_iter().map(|(delivery, _)| delivery.receipt).collect();
        let again = |(delivery, _): (Received, bool)| (delivery.receipt, again_after(delivery.receive_count));
        let bad: Vec<(Receipt, Duration)> = bad.into_iter().map(again).collect();
        if !good.is_empty()
            && let Err(error) = self.ports.queues.delete(&QueueName::Inbox, good).await
        {
            tracing::warn!(error = %error, "failed to acknowledge inputs; they will come again");
        }
        if !bad.is_empty()
            && let Err(error) = self.ports.queues.extend(&QueueName::Inbox, bad).await
        {
            tracing::warn!(error = %error, "failed to hand back inputs; they come again by themselves");
        }
    }

    /// Handles a batch; says for each message whether it may be acknowledged. Nothing is decided after `until`, when other
    /// processes may have the messages; none: they never do.
    pub async fn handle(&self, received: &[Received], until: Option<Instant>) -> Vec<bool> {
        let mut done = vec![false; received.len()];
        let mut batch = Batch::default();
        for (at, one) in received.iter().enumerate() {
            if one.receive_count > MAX_DELIVERIES {
                let reason = format!("it was delivered {} times and could not be handled", one.receive_count);
                done[at] = self.bury(&QueueName::Inbox, one, &reason).await;
                continue;
            }
            match decode(&one.body) {
                Ok(message) => batch.add(at, one, message),
                Err(error) => done[at] = self.bury(&QueueName::Inbox, one, &error.to_string()).await,
            }
        }
        let groups: Vec<Group> = batch.groups.into_values().flat_map(|group| group.apart(received)).collect();
        let settled = self.settle_all(&groups, received, until);
        let others = join_all(batch.others.iter().map(|(at, other)| self.handle_other(other, &received[*at])));
        let (settled, others) = join(settled, others).await;
        for ((at, _), handled) in batch.others.iter().zip(others) {
            done[*at] = handled;
        }
        for (group, settled) in groups.iter().zip(settled) {
            for at in &group.places {
                done[*at] = settled;
            }
        }
        done
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
                report_dead(&self.ports, &perform, Some(&delivery.id), reason.to_owned()).await,
            ),
            (QueueName::Pool(_) | QueueName::Inbox | QueueName::Control { .. } | QueueName::DeadLetter, _) => true,
        }
    }

    /// Settles each run with one write, then sends what follows from all of them together.
    async fn settle_all(&self, groups: &[Group], received: &[Received], until: Option<Instant>) -> Vec<bool> {
        let settled = join_all(groups.iter().map(|group| self.settle(group, received, until))).await;
        let is_settled: Vec<bool> = settled.iter().map(Option::is_some).collect();
        let mut effects: Vec<Effects> = settled.into_iter().map(Option::unwrap_or_default).collect();
        for one in &mut effects {
            one.look_for_agents(&self.pools).await;
        }
        let sent = Effects::send_together(effects, &self.ports).await;
        is_settled.into_iter().zip(sent).map(|(settled, sent)| report("send what follows", sent) && settled).collect()
    }

    /// Settles one run; gives what is to be sent, or nothing if its inputs must come again.
    async fn settle(&self, group: &Group, received: &[Received], until: Option<Instant>) -> Option<Effects> {
        let group = self.still_true(group).await;
        let group = group.as_ref();
        if group.inputs.is_empty() {
            return Some(Effects::default());
        }
        let settled = {
            let _guard = self.locks[lock_of(group.run)].lock().await;
            let span = tracing::info_span!("run", trace.id = trace_id(group.run), run.id = %group.run);
            let settled = settle(&self.ports, &self.definitions, group.run, &group.inputs, until);
            let settled = settled.instrument(span);
            // A decision that panics is a bug of ours; the other runs go on, and its inputs end as dead letters.
            AssertUnwindSafe(settled).catch_unwind().await.unwrap_or_else(|_| Err(PortError::panicked()))
        };
        match settled {
            Ok((Settled::Decided { run, answers }, effects)) => {
                self.decided(group, received, (&run, &answers), effects).await
            }
            Ok((Settled::Unknown, _)) if self.is_awaited(group, received) => None,
            // The submitter of a run that has only a start gave up before it wrote the record, and has told its caller so.
            Ok((Settled::Unknown, _)) if group.inputs.iter().all(is_start) => Some(Effects::default()),
            Ok((Settled::Unknown, _)) => self.bury_all(group, received, "there is no such run").await,
            Ok((Settled::Late, _)) => {
                tracing::warn!(run.id = %group.run, "inputs were not decided in time; they come again");
                None
            }
            Err(error) => self.failed(group, received, error).await,
        }
    }

    /// Keeps forbidden inputs as dead letters; gives back the effects if all of those were kept.
    async fn decided(
        &self,
        group: &Group,
        received: &[Received],
        (run, answers): (&Run, &[Result<(), Rejection>]),
        mut effects: Effects,
    ) -> Option<Effects> {
        for (answer, at) in answers.iter().zip(&group.places) {
            let Err(rejection) = answer else { continue };
            tracing::debug!(run.id = %group.run, rejection = %rejection, "refused an input");
            if *rejection == Rejection::Forbidden
                && !self.bury(&QueueName::Inbox, &received[*at], &rejection.to_string()).await
            {
                return None;
            }
        }
        if group.inputs.iter().any(|given| matches!(given.input, Input::Sweep)) {
            report("tell which pools have no agent", self.tell_of_pools(run, &mut effects).await);
        }
        Some(effects)
    }

    /// Whether a run may still come to be: its submitter sends the start before it writes the record.
    fn is_awaited(&self, group: &Group, received: &[Received]) -> bool {
        let oldest = group.places.iter().map(|at| received[*at].sent_at).min();
        let age = oldest.map_or(0, |sent_at| self.ports.clock.now().since(sent_at).0);
        group.inputs.iter().any(is_start) && age < AWAITED_FOR.0
    }

    /// Inputs that failed come again, until they have come too often.
    async fn failed(&self, group: &Group, received: &[Received], error: PortError) -> Option<Effects> {
        let most = match error.class {
            ErrorClass::Retry | ErrorClass::Conflict => MAX_DELIVERIES,
            ErrorClass::Reject | ErrorClass::Bug => MAX_FAILED_DELIVERIES,
        };
        let reason = format!("failed to {error}");
        report("settle a run", Err(error));
        let is_last = |at: &usize| received[*at].receive_count >= most;
        if !group.places.iter().all(is_last) {
            return None;
        }
        self.bury_all(group, received, &reason).await
    }

    async fn bury_all(&self, group: &Group, received: &[Received], reason: &str) -> Option<Effects> {
        let bury = |at: &usize| self.bury(&QueueName::Inbox, &received[*at], reason);
        let buried = join_all(group.places.iter().map(bury)).await.into_iter().all(|done| done);
        buried.then(Effects::default)
    }

    async fn handle_other(&self, other: &Other, delivery: &Received) -> bool {
        match other {
            Other::Forbidden => self.bury(&QueueName::Inbox, delivery, "an agent may not send it").await,
            Other::Due(task, nominal) => self.handle_due(task, *nominal, delivery).await,
            Other::Sweep(nominal) => {
                let swept = AssertUnwindSafe(self.sweeper.round(*nominal)).catch_unwind().await;
                report("sweep", swept.unwrap_or_else(|_| Err(PortError::panicked())))
            }
        }
    }

    async fn handle_due(&self, task: &TaskName, nominal: Option<Timestamp>, delivery: &Received) -> bool {
        let handled = AssertUnwindSafe(handle_due(&self.ports, &self.definitions, &self.pools, task, nominal))
            .catch_unwind()
            .await;
        match handled.unwrap_or_else(|_| Err(PortError::panicked())) {
            Ok(Handled::Done) => true,
            Ok(Handled::UnknownTask) => {
                let reason = format!("there is no task `{task}`, and there never was");
                self.bury(&QueueName::Inbox, delivery, &reason).await
            }
            Err(error) => report("handle a due time", Err(error)),
        }
    }

    /// Puts a message that no process can handle where a person finds it, with the reason.
    async fn bury(&self, queue: &QueueName, delivery: &Received, reason: &str) -> bool {
        tracing::error!(queue = %queue, reason, "a message goes to the dead-letter queue");
        report("bury a message", bury(self.ports.queues.as_ref(), queue, &delivery.body, reason).await)
    }
}

fn is_start(given: &Given) -> bool {
    given.input == Input::Start
}

/// Run ids are evenly spread: the last byte of each is a hash's, or random.
fn lock_of(run: RunId) -> usize {
    usize::from(run.as_uuid().as_bytes()[15]) % LOCKS
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
