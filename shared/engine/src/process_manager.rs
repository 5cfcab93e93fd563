//! The process manager: every input of every run goes through here.
//!
//! A batch from the inbox is grouped by run, each run is advanced with one write, and only what was wholly done is
//! acknowledged. What can not be read goes to the dead-letter queue with its reason; it is never just deleted.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join, join_all};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use windlass_contract::message::{InboxMessage, decode};
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::limits::{MAX_BATCH, MAX_DELIVERIES};
use windlass_domain::run::Input;
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::advance::{Advanced, advance};
use crate::backoff::Backoff;
use crate::dead_letter::bury;
use crate::definitions::Definitions;
use crate::due::handle_due;
use crate::ports::{Delivery, ErrorClass, PortError, QueueName, Receipt};

/// How long an input stays hidden while it is worked on.
const VISIBILITY: Duration = Duration::from_secs(30);
/// How long a receive waits for the first input (SQS's longest).
const WAIT: Duration = Duration::from_secs(20);
/// How soon an input that failed comes again, times the number of its deliveries.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// By how much the clocks of a queue and of a process manager may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(10);
/// Locks over runs: inputs of one run that come to one process wait for each other instead of meeting in conflicts.
const LOCKS: usize = 256;

/// Advances runs.
pub struct ProcessManager {
    ports: Ports,
    definitions: Arc<Definitions>,
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
}

/// What the inputs of one group ask for, and the deliveries that brought them.
struct Group {
    run: RunId,
    inputs: Vec<Input>,
    deliveries: Vec<usize>,
    /// When the oldest of them was sent that has been delivered before.
    repeated: Option<Timestamp>,
}

impl ProcessManager {
    /// A process manager over these ports.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        let locks = (0..LOCKS).map(|_| Mutex::default()).collect();
        Self { ports, definitions, locks, hasher: RandomState::new() }
    }

    /// Works on the inbox until it is told to stop; what it has received by then it finishes.
    pub async fn run(&self, workers: usize, shutdown: &CancellationToken) {
        join_all((0..workers).map(|_| self.work(shutdown))).await;
    }

    async fn work(&self, shutdown: &CancellationToken) {
        let mut backoff = Backoff::of_failures();
        loop {
            let receive = self.ports.queues.receive(&QueueName::Inbox, MAX_BATCH, VISIBILITY, WAIT);
            let received = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                received = receive => received,
            };
            match received {
                Ok(deliveries) if deliveries.is_empty() => {}
                Ok(deliveries) => {
                    self.work_on(deliveries).await;
                    backoff = Backoff::of_failures();
                }
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to receive inputs");
                    backoff.wait().await;
                }
            }
        }
    }

    async fn work_on(&self, deliveries: Vec<Delivery>) {
        let done = self.handle(&deliveries).await;
        let (good, bad): (Vec<_>, Vec<_>) = deliveries.into_iter().zip(done).partition(|(_, done)| *done);
        let good: Vec<Receipt> = good.into_iter().map(|(delivery, _)| delivery.receipt).collect();
        let again = |(delivery, _): (Delivery, bool)| (delivery.receipt, RETRY_AFTER * delivery.receive_count);
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

    /// Handles a batch; says for each delivery whether it may be acknowledged.
    pub async fn handle(&self, deliveries: &[Delivery]) -> Vec<bool> {
        let mut done = vec![false; deliveries.len()];
        let mut groups: BTreeMap<RunId, Group> = BTreeMap::new();
        let mut dues: Vec<(usize, TaskName, Option<Timestamp>)> = Vec::new();
        for (at, delivery) in deliveries.iter().enumerate() {
            if delivery.receive_count > MAX_DELIVERIES {
                let reason = format!("it was delivered {} times and could not be handled", delivery.receive_count);
                done[at] = self.bury(delivery, &reason).await;
                continue;
            }
            match decode(&delivery.body) {
                Ok(InboxMessage::Run { run, input, .. }) => {
                    let empty = || Group { run, inputs: Vec::new(), deliveries: Vec::new(), repeated: None };
                    let group = groups.entry(run).or_insert_with(empty);
                    group.inputs.push(input);
                    group.deliveries.push(at);
                    if delivery.receive_count > 1 {
                        let since = before(delivery.sent_at);
                        group.repeated = group.repeated.into_iter().chain([since]).min();
                    }
                }
                Ok(InboxMessage::Due { task, nominal, .. }) => dues.push((at, task, nominal)),
                Err(error) => done[at] = self.bury(delivery, &error.to_string()).await,
            }
        }
        let groups: Vec<Group> = groups.into_values().collect();
        let advanced = join_all(groups.iter().map(|group| self.advance(group, deliveries)));
        let handled = join_all(dues.iter().map(|(_, task, nominal)| self.handle_due(task, *nominal)));
        let (advanced, handled) = join(advanced, handled).await;
        for ((at, ..), handled) in dues.iter().zip(handled) {
            done[*at] = handled;
        }
        for (group, advanced) in groups.iter().zip(advanced) {
            for at in &group.deliveries {
                done[*at] = advanced;
            }
        }
        done
    }

    async fn advance(&self, group: &Group, deliveries: &[Delivery]) -> bool {
        let lock = &self.locks[self.lock_of(group.run)];
        let advanced = {
            let _guard = lock.lock().await;
            let advanced = advance(&self.ports, &self.definitions, group.run, &group.inputs, group.repeated);
            // A decision that panics is a bug of ours; the other runs go on, and its inputs end as dead letters.
            AssertUnwindSafe(advanced).catch_unwind().await.unwrap_or_else(|_| Err(panicked()))
        };
        match advanced {
            Ok(Advanced::Decided { answers, .. }) => {
                for rejection in answers.into_iter().flatten() {
                    tracing::debug!(run.id = %group.run, rejection = %rejection, "refused an input");
                }
                true
            }
            Ok(Advanced::Unknown) => {
                let bury = |at: &usize| self.bury(&deliveries[*at], "there is no such run");
                join_all(group.deliveries.iter().map(bury)).await.into_iter().all(|done| done)
            }
            Err(error) => report("advance a run", Err(error)),
        }
    }

    async fn handle_due(&self, task: &TaskName, nominal: Option<Timestamp>) -> bool {
        let handled = AssertUnwindSafe(handle_due(&self.ports, &self.definitions, task, nominal)).catch_unwind().await;
        report("handle a due time", handled.unwrap_or_else(|_| Err(panicked())))
    }

    fn lock_of(&self, run: RunId) -> usize {
        usize::try_from(self.hasher.hash_one(run) % LOCKS as u64).unwrap_or(0)
    }

    /// Puts a message that can not be handled where a person finds it, with the reason.
    async fn bury(&self, delivery: &Delivery, reason: &str) -> bool {
        tracing::error!(reason, "an input can not be handled; it goes to the dead-letter queue");
        let buried = bury(self.ports.queues.as_ref(), &QueueName::Inbox, &delivery.body, reason).await;
        report("bury an input", buried)
    }
}

/// A little before that: the queue's clock and ours may differ.
fn before(sent_at: Timestamp) -> Timestamp {
    let skew = i64::try_from(CLOCK_SKEW.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(sent_at.as_millis().saturating_sub(skew))
}

fn panicked() -> PortError {
    PortError::new(ErrorClass::Bug, "WL0703", "handle an input: the code that decides has panicked")
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
