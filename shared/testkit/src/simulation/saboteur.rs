//! The ports of a process with a deliberate bug: they do something else than the process asks of them.
#![expect(clippy::wildcard_enum_match_arm, reason = "a bug spoils a few calls, and none of the others")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;
use windlass_contract::event::PublicEvent;
use windlass_contract::message::{ControlMessage, InboxMessage, PerformMessage, decode, encode};
use windlass_domain::content::Wanted;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, RunId, TaskName, TaskVersion};
use windlass_domain::run::{ActionState, Input, Run};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::ports::{
    Bus, Created, DueTask, EventCursor, Glance, LoggedEvent, Outgoing, PortError, PutTask, QueueName, Queues, Receipt,
    Received, Records, RunFilter, RunPage, Runs, StoredVersion, TaskRecord, Tasks, VersionRecord,
};

use super::bug::Bug;

/// How long a commit is delayed while its effects are sent already.
const LATE: Duration = Duration::from_secs(5);
/// By how much a lease is too long.
const DAY: Millis = Millis::from_secs(24 * 3600);

/// The ports of a process that has the bug.
pub(super) fn sabotage(ports: Ports, bug: Option<Bug>) -> Ports {
    let Some(bug) = bug else { return ports };
    let saboteur = Arc::new(Saboteur { inner: ports.clone(), bug, raised: Mutex::default() });
    Ports { queues: saboteur.clone(), runs: saboteur.clone(), tasks: saboteur.clone(), bus: saboteur, ..ports }
}

struct Saboteur {
    inner: Ports,
    bug: Bug,
    /// The deliveries of claims that were raised above the record's `last`, with those that their agents know.
    raised: Mutex<BTreeMap<(RunId, ActionIndex, Delivery), Delivery>>,
}

impl Saboteur {
    /// The message that the process gets instead of the received one.
    async fn forged(&self, queue: &QueueName, received: Received) -> Received {
        let now = self.inner.clock.now();
        match (queue, self.bug) {
            (QueueName::Pool(_), Bug::BeginUnasked) => Received { receive_count: 1, sent_at: now, ..received },
            (QueueName::Pool(_), Bug::NeverLook) => match decode::<PerformMessage>(&received.body) {
                Ok(perform) => Received { body: encode(&PerformMessage { queued_at: now, ..perform }), ..received },
                Err(_) => received,
            },
            (QueueName::Inbox | QueueName::Claims, Bug::DropRepeats) => Received { receive_count: 1, ..received },
            (QueueName::Inbox | QueueName::Claims, Bug::OldDelivery | Bug::OfAnotherAgent | Bug::AnyClaim) => {
                let body = self.forged_input(&received.body).await;
                Received { body: body.unwrap_or_else(|| received.body.clone()), ..received }
            }
            _ => received,
        }
    }

    /// The report as the record expects it, or the claim above the record's `last`.
    async fn forged_input(&self, body: &str) -> Option<String> {
        let InboxMessage::Run { v, run, mut input, caller } = decode(body).ok()? else { return None };
        let record = self.inner.runs.load(&run).await.ok()??;
        let state = |action: ActionIndex| record.actions.iter().nth(action.as_usize()).cloned();
        match &mut input {
            Input::Completed { of, .. } => {
                let state = state(of.action)?;
                if self.bug == Bug::OldDelivery && state.last.attempt == of.delivery.attempt {
                    of.delivery = state.last;
                }
                if let Some(owner) = state.owner.filter(|_| self.bug == Bug::OfAnotherAgent) {
                    (of.agent, of.message, of.delivery) = (owner.agent, owner.message, state.last);
                }
            }
            Input::Claim { claims, .. } if self.bug == Bug::AnyClaim => {
                for claim in claims {
                    let (last, claimed) = (state(claim.action)?.last, claim.delivery);
                    if last.attempt == claimed.attempt && claimed < last {
                        claim.delivery = Delivery { receive: last.receive + 1, ..last };
                        self.raised().insert((run, claim.action, claim.delivery), claimed);
                    }
                }
            }
            _ => return None,
        }
        Some(encode(&InboxMessage::Run { v, run, input, caller }))
    }

    fn raised(&self) -> MutexGuard<'_, BTreeMap<(RunId, ActionIndex, Delivery), Delivery>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message that the process sends instead: the answer to a raised claim names the delivery that the agent knows.
    fn forged_answer(&self, queue: &QueueName, outgoing: Outgoing) -> Outgoing {
        let is_answer = matches!(queue, QueueName::Control { .. }) && self.bug == Bug::AnyClaim;
        match decode(&outgoing.body) {
            Ok(ControlMessage::Confirm { v, run, mut confirmed }) if is_answer => {
                for one in &mut confirmed {
                    let claimed = self.raised().get(&(run, one.action, one.delivery)).copied();
                    one.delivery = claimed.unwrap_or(one.delivery);
                }
                Outgoing { body: encode(&ControlMessage::Confirm { v, run, confirmed }), ..outgoing }
            }
            _ => outgoing,
        }
    }

    /// The record that the saboteur writes instead of `after`.
    fn forged_record(&self, before: &Run, after: &Run) -> Run {
        let mut forged = after.clone();
        let changed = |change: fn(&ActionState, &mut ActionState)| {
            let pairs = before.actions.iter().zip(after.actions.iter()).enumerate();
            let changed = pairs.filter(|(_, (before, after))| before != after).map(|(at, (before, after))| {
                let mut after = after.clone();
                change(before, &mut after);
                (ActionIndex::from_usize(at), after)
            });
            changed.collect::<Vec<_>>()
        };
        let states = match self.bug {
            Bug::SameFence => changed(|before, after| {
                let is_confirmed = before.last.attempt == after.last.attempt && before.owner != after.owner;
                after.fence = if is_confirmed { before.fence } else { after.fence };
            }),
            Bug::LeaseForEver => changed(|_, after| {
                let owner = after.owner.as_mut();
                if let Some(until) = owner.and_then(|owner| owner.until.as_mut()) {
                    *until = until.plus(DAY);
                }
            }),
            _ => Vec::new(),
        };
        forged.actions.overlay(states).expect("the actions are the run's own");
        if self.bug == Bug::TimerInQueue {
            forged.wake_at = None;
        }
        forged
    }
}

#[async_trait]
impl Queues for Saboteur {
    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, PortError> {
        let received = self.inner.queues.receive(queue, most, visibility, wait).await?;
        let is_early = matches!(
            (queue, self.bug),
            (QueueName::Inbox | QueueName::Claims, Bug::AcknowledgeFirst) | (QueueName::Pool(_), Bug::AcknowledgeWork)
        );
        if is_early && !received.is_empty() {
            let receipts = received.iter().map(|message| message.receipt.clone()).collect();
            self.inner.queues.delete(queue, receipts).await?;
        }
        let mut forged = Vec::with_capacity(received.len());
        for message in received {
            forged.push(self.forged(queue, message).await);
        }
        Ok(forged)
    }

    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        self.inner.queues.send(queue, batch).await
    }

    async fn send_each(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Vec<Result<(), PortError>> {
        let batch = batch.into_iter().map(|outgoing| self.forged_answer(queue, outgoing)).collect();
        self.inner.queues.send_each(queue, batch).await
    }

    async fn make(&self, queue: &QueueName) -> Result<(), PortError> {
        self.inner.queues.make(queue).await
    }

    fn forgets_dropped_receives(&self) -> bool {
        self.inner.queues.forgets_dropped_receives()
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        match (queue, self.bug) {
            (QueueName::Inbox | QueueName::Claims, Bug::AcknowledgeFailed) => {
                let receipts: Vec<Receipt> = batch.into_iter().map(|(receipt, _)| receipt).collect();
                self.inner.queues.delete(queue, receipts.clone()).await?;
                Ok(receipts)
            }
            (QueueName::Pool(_), Bug::GoOnUnheld) => {
                let receipts = batch.iter().map(|(receipt, _)| receipt.clone()).collect();
                let _failed = self.inner.queues.extend(queue, batch).await;
                Ok(receipts)
            }
            _ => self.inner.queues.extend(queue, batch).await,
        }
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        self.inner.queues.delete(queue, batch).await
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        self.inner.queues.remove(queue).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        self.inner.queues.depth(queue).await
    }
}

#[async_trait]
impl Records<Run> for Saboteur {
    async fn load(&self, id: &RunId) -> Result<Option<Run>, PortError> {
        if self.bug == Bug::OldReads {
            Ok(self.inner.runs.glance(id).await?.record)
        } else {
            self.inner.runs.load(id).await
        }
    }

    async fn glance(&self, id: &RunId) -> Result<Glance<Run>, PortError> {
        self.inner.runs.glance(id).await
    }

    async fn fill(&self, run: &mut Run, wanted: &Wanted) -> Result<(), PortError> {
        self.inner.runs.fill(run, wanted).await
    }

    async fn commit(&self, before: &Run, after: &Run, events: &[PublicEvent]) -> Result<(), PortError> {
        let after = self.forged_record(before, after);
        match self.bug {
            Bug::SendBeforeCommit => {
                let (runs, before, events) = (self.inner.runs.clone(), before.clone(), events.to_vec());
                tokio::spawn(async move {
                    tokio::time::sleep(LATE).await;
                    runs.commit(&before, &after, &events).await
                });
                Ok(())
            }
            Bug::ForgetVersion => {
                let found = self.inner.runs.load(&before.id).await?;
                let revision = found.map_or(before.revision, |found| found.revision);
                let (before, after) = (at_revision(before, revision), at_revision(&after, revision + 1));
                self.inner.runs.commit(&before, &after, events).await
            }
            Bug::ConflictIsDone => match self.inner.runs.commit(before, &after, events).await {
                Err(error) if error.is_conflict() => Ok(()),
                committed => committed,
            },
            _ => self.inner.runs.commit(before, &after, events).await,
        }
    }
}

#[async_trait]
impl Runs for Saboteur {
    fn sends_with_record(&self) -> bool {
        self.inner.runs.sends_with_record()
    }

    async fn create(
        &self,
        run: &Run,
        events: &[PublicEvent],
        messages: &[(QueueName, Outgoing)],
    ) -> Result<Created, PortError> {
        let created = self.inner.runs.create(run, events, messages).await?;
        if created == Created::Existing
            && self.bug == Bug::CreateReplaces
            && let Some(found) = self.inner.runs.load(&run.id).await?
        {
            self.inner.runs.commit(&found, &at_revision(run, found.revision + 1), events).await?;
            return Ok(Created::New);
        }
        Ok(created)
    }

    async fn changed(&self, id: RunId, revision: u64, at_most: Duration) -> Result<Option<Run>, PortError> {
        self.inner.runs.changed(id, revision, at_most).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        self.inner.runs.list(filter).await
    }

    async fn stale(&self, now: Timestamp, untouched_since: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        self.inner.runs.stale(now, untouched_since, most).await
    }

    async fn delete_run(&self, run: &Run) -> Result<bool, PortError> {
        self.inner.runs.delete_run(run).await
    }

    async fn events(&self, id: RunId, after: Option<EventCursor>, most: usize) -> Result<Vec<LoggedEvent>, PortError> {
        self.inner.runs.events(id, after, most).await
    }
}

/// Each join waits for one need less: for the last that no expression of the action looks at.
fn with_early_joins(mut source: Value) -> Value {
    let actions = source.get_mut("actions").and_then(Value::as_object_mut);
    for action in actions.into_iter().flatten().map(|(_, action)| action) {
        let text = action.to_string();
        let is_looked_at = |need: &Value| need.as_str().is_some_and(|name| text.contains(&format!("actions.{name}")));
        if let Some(needs) = action.get_mut("needs").and_then(Value::as_array_mut).filter(|needs| needs.len() > 1)
            && let Some(at) = needs.iter().rposition(|need| !is_looked_at(need))
        {
            needs.remove(at);
        }
    }
    source
}

#[async_trait]
impl Records<TaskRecord> for Saboteur {
    async fn load(&self, name: &TaskName) -> Result<Option<TaskRecord>, PortError> {
        self.inner.tasks.load(name).await
    }

    async fn commit(&self, before: &TaskRecord, after: &TaskRecord, events: &[PublicEvent]) -> Result<(), PortError> {
        self.inner.tasks.commit(before, after, events).await
    }
}

#[async_trait]
impl Tasks for Saboteur {
    async fn put(
        &self,
        name: &TaskName,
        source: &Value,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutTask, PortError> {
        self.inner.tasks.put(name, source, next_due, now).await
    }

    async fn version(&self, name: &TaskName, version: TaskVersion) -> Result<Option<StoredVersion>, PortError> {
        let stored = self.inner.tasks.version(name, version).await?;
        let is_early = self.bug == Bug::EarlyJoin;
        let early = |stored: StoredVersion| StoredVersion { source: with_early_joins(stored.source), ..stored };
        Ok(stored.map(|stored| if is_early { early(stored) } else { stored }))
    }

    async fn versions(
        &self,
        name: &TaskName,
        below: Option<TaskVersion>,
        most: usize,
    ) -> Result<Vec<VersionRecord>, PortError> {
        self.inner.tasks.versions(name, below, most).await
    }

    async fn list(&self, after: Option<&TaskName>, most: usize) -> Result<Vec<TaskRecord>, PortError> {
        self.inner.tasks.list(after, most).await
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<DueTask>, PortError> {
        self.inner.tasks.due(now, most).await
    }

    async fn earliest_due(&self) -> Result<Option<Timestamp>, PortError> {
        self.inner.tasks.earliest_due().await
    }
}

fn at_revision(run: &Run, revision: u64) -> Run {
    Run { revision, ..run.clone() }
}

#[async_trait]
impl Bus for Saboteur {
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError> {
        match self.bug {
            Bug::PublishUnawaited => {
                let (bus, events) = (self.inner.bus.clone(), events.to_vec());
                tokio::spawn(async move { bus.publish(&events).await });
                Ok(())
            }
            Bug::FreshEventIds => {
                let fresh =
                    |event: &PublicEvent| PublicEvent { id: Uuid::from_u128(fastrand::u128(..)), ..event.clone() };
                self.inner.bus.publish(&events.iter().map(fresh).collect::<Vec<_>>()).await
            }
            _ => self.inner.bus.publish(events).await,
        }
    }
}
