//! The process manager: every input of every run goes through here.
//!
//! A batch from the inbox is grouped by run, each run is advanced with one write, and only what was wholly done is
//! acknowledged. What can not be read goes to the dead-letter queue with its reason; it is never just deleted.

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
use windlass_domain::run::Input;
use windlass_domain::sabotage::{Bug, sabotaged};
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::advance::{Advanced, Delivered, settle};
use crate::backoff::{Backoff, again_after};
use crate::dead_letter::bury;
use crate::definitions::Definitions;
use crate::due::{Handled, handle_due};
use crate::effects::{Effects, report_dead};
use crate::pools::Pools;
use crate::ports::{Delivery, ErrorClass, PortError, QueueName, Receipt};
use crate::sweeper::Sweeper;

/// How long an input stays hidden while it is worked on.
const VISIBILITY: Duration = Duration::from_secs(30);
/// How long a receive waits for the first input; what is left of the visibility timeout then is enough to decide it.
const WAIT: Duration = Duration::from_secs(10);
/// By how much the clocks of a queue and of a process manager may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(10);
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

/// A batch of deliveries, sorted by what they are about; each is known by its place among them.
#[derive(Default)]
struct Batch {
    /// Until when nobody else has the deliveries.
    until: Option<Instant>,
    groups: BTreeMap<RunId, Group>,
    others: Vec<(usize, Other)>,
}

/// An input that is not of one run.
enum Other {
    Due(TaskName, Option<Timestamp>),
    Sweep(Timestamp),
}

impl Batch {
    fn add(&mut self, at: usize, delivery: &Delivery, message: InboxMessage) {
        match message {
            InboxMessage::Run { run, input, .. } => {
                let delivered = Delivered { repeated: None, until: self.until };
                let empty = || Group { run, inputs: Vec::new(), deliveries: Vec::new(), delivered };
                let group = self.groups.entry(run).or_insert_with(empty);
                group.inputs.push(input);
                group.deliveries.push(at);
                if delivery.receive_count > 1 {
                    let since = before(delivery.sent_at);
                    let repeated = group.delivered.repeated;
                    group.delivered.repeated = repeated.into_iter().chain([since]).min();
                }
            }
            InboxMessage::Due { task, nominal, .. } => self.others.push((at, Other::Due(task, nominal))),
            InboxMessage::Sweep { nominal, .. } => self.others.push((at, Other::Sweep(nominal))),
        }
    }
}

/// What the inputs of one group ask for, and the deliveries that brought them.
struct Group {
    run: RunId,
    inputs: Vec<Input>,
    deliveries: Vec<usize>,
    delivered: Delivered,
}

impl ProcessManager {
    /// A process manager over these ports.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        let locks = (0..LOCKS).map(|_| Mutex::default()).collect();
        let (pools, sweeper) = (Pools::new(&ports), Sweeper::new(ports.clone(), Duration::ZERO));
        Self { ports, definitions, pools, sweeper, locks }
    }

    /// Works on the inbox until it is told to stop; what it has received by then it finishes.
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

    async fn work_on(&self, deliveries: Vec<Delivery>, until: Instant) {
        let done = self.handle(&deliveries, Some(until)).await;
        let (good, bad): (Vec<_>, Vec<_>) = deliveries.into_iter().zip(done).partition(|(_, done)| *done);
        let good: Vec<Receipt> = good.into_iter().map(|(delivery, _)| delivery.receipt).collect();
        let again = |(delivery, _): (Delivery, bool)| (delivery.receipt, again_after(delivery.receive_count));
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

    /// Handles a batch; says for each delivery whether it may be acknowledged. Nothing is decided after `until`, when others
    /// may have them; none: they never do.
    pub async fn handle(&self, deliveries: &[Delivery], until: Option<Instant>) -> Vec<bool> {
        let mut done = vec![false; deliveries.len()];
        let mut batch = Batch { until, ..Batch::default() };
        for (at, delivery) in deliveries.iter().enumerate() {
            if delivery.receive_count > MAX_DELIVERIES {
                let reason = format!("it was delivered {} times and could not be handled", delivery.receive_count);
                done[at] = self.bury(&QueueName::Inbox, delivery, &reason).await;
                continue;
            }
            match decode(&delivery.body) {
                Ok(message) => batch.add(at, delivery, message),
                Err(error) => done[at] = self.bury(&QueueName::Inbox, delivery, &error.to_string()).await,
            }
        }
        let advanced = self.advance_all(&batch.groups, deliveries);
        let others = join_all(batch.others.iter().map(|(at, other)| self.handle_other(other, &deliveries[*at])));
        let (advanced, others) = join(advanced, others).await;
        for ((at, _), handled) in batch.others.iter().zip(others) {
            done[*at] = handled;
        }
        for (group, advanced) in batch.groups.values().zip(advanced) {
            for at in &group.deliveries {
                done[*at] = advanced || sabotaged(Bug::AcknowledgeFailed);
            }
        }
        done
    }

    /// Handles what a queue of the host has given up: messages that were received too often. An attempt fails with that
    /// reason; everything is kept, with it, where a person finds it.
    pub async fn handle_dead(&self, queue: &QueueName, deliveries: &[Delivery]) -> Vec<bool> {
        let reason = format!("the queue `{queue}` gave it up: it was received too often and never acknowledged");
        join_all(deliveries.iter().map(|delivery| self.handle_dead_one(queue, delivery, &reason))).await
    }

    async fn handle_dead_one(&self, queue: &QueueName, delivery: &Delivery, reason: &str) -> bool {
        if !self.bury(queue, delivery, reason).await {
            return false;
        }
        match (queue, decode::<PerformMessage>(&delivery.body)) {
            (QueueName::Pool(_), Ok(perform)) => {
                report("report a dead letter", report_dead(&self.ports, &perform, reason.to_owned()).await)
            }
            (QueueName::Pool(_) | QueueName::Inbox | QueueName::Control(_) | QueueName::DeadLetter, _) => true,
        }
    }

    /// Advances each run with one write, then sends what follows from all of them together.
    async fn advance_all(&self, groups: &BTreeMap<RunId, Group>, deliveries: &[Delivery]) -> Vec<bool> {
        let settled = join_all(groups.values().map(|group| self.settle(group, deliveries))).await;
        let is_settled: Vec<bool> = settled.iter().map(Option::is_some).collect();
        let mut effects: Vec<Effects> = settled.into_iter().map(Option::unwrap_or_default).collect();
        for one in &mut effects {
            one.look_for_agents(&self.pools).await;
        }
        let sent = Effects::send_together(effects, &self.ports).await;
        is_settled.into_iter().zip(sent).map(|(settled, sent)| report("send what follows", sent) && settled).collect()
    }

    /// Advances one run; gives what is to be sent, or nothing if its inputs must come again.
    async fn settle(&self, group: &Group, deliveries: &[Delivery]) -> Option<Effects> {
        let inputs = self.still_true(&group.inputs).await;
        if inputs.is_empty() {
            return Some(Effects::default());
        }
        let settled = {
            let _guard = self.locks[lock_of(group.run)].lock().await;
            let span = tracing::info_span!("run", trace.id = trace_id(group.run), run.id = %group.run);
            let settled = settle(&self.ports, &self.definitions, group.run, &inputs, group.delivered);
            let settled = settled.instrument(span);
            // A decision that panics is a bug of ours; the other runs go on, and its inputs end as dead letters.
            AssertUnwindSafe(settled).catch_unwind().await.unwrap_or_else(|_| Err(PortError::panicked()))
        };
        let given_up = match settled {
            Ok((Advanced::Decided { run, answers }, mut effects)) => {
                for rejection in answers.into_iter().flatten() {
                    tracing::debug!(run.id = %group.run, rejection = %rejection, "refused an input");
                }
                if inputs.iter().any(|input| matches!(input, Input::Sweep { .. })) {
                    report("tell which pools have no agent", self.tell_of_pools(&run, &mut effects).await);
                }
                return Some(effects);
            }
            Ok((Advanced::Unknown, _)) => "there is no such run".to_owned(),
            Ok((Advanced::Late, _)) => {
                tracing::warn!(run.id = %group.run, "inputs were not decided in time; they come again");
                return None;
            }
            Err(error) => {
                let most = match error.class {
                    ErrorClass::Retry | ErrorClass::Conflict => MAX_DELIVERIES,
                    ErrorClass::Reject | ErrorClass::Bug => MAX_FAILED_DELIVERIES,
                };
                let is_last = |at: &usize| deliveries[*at].receive_count >= most;
                let reason = format!("failed to {error}");
                report("advance a run", Err(error));
                if !group.deliveries.iter().all(is_last) {
                    return None;
                }
                reason
            }
        };
        let bury = |at: &usize| self.bury(&QueueName::Inbox, &deliveries[*at], &given_up);
        let buried = join_all(group.deliveries.iter().map(bury)).await.into_iter().all(|done| done);
        buried.then(Effects::default)
    }

    async fn handle_other(&self, other: &Other, delivery: &Delivery) -> bool {
        match other {
            Other::Due(task, nominal) => self.handle_due(task, *nominal, delivery).await,
            Other::Sweep(nominal) => {
                let swept = AssertUnwindSafe(self.sweeper.round(*nominal)).catch_unwind().await;
                report("sweep", swept.unwrap_or_else(|_| Err(PortError::panicked())))
            }
        }
    }

    async fn handle_due(&self, task: &TaskName, nominal: Option<Timestamp>, delivery: &Delivery) -> bool {
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

    /// Puts a message that can not be handled where a person finds it, with the reason.
    async fn bury(&self, queue: &QueueName, delivery: &Delivery, reason: &str) -> bool {
        tracing::error!(queue = %queue, reason, "a message can not be handled; it goes to the dead-letter queue");
        report("bury a message", bury(self.ports.queues.as_ref(), queue, &delivery.body, reason).await)
    }
}

/// A little before that: the queue's clock and ours may differ.
fn before(sent_at: Timestamp) -> Timestamp {
    let skew = i64::try_from(CLOCK_SKEW.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(sent_at.as_millis().saturating_sub(skew))
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
