//! Whether an agent begins an attempt at once, or asks first.
//!
//! The first receipt of a first message that is fresh begins at once. While it is younger than the visibility timeout, it
//! may begin if the record names no owner. Anything else claims: a resend of it may exist, or it may have been received
//! before.

use serde_json::Value;
use windlass_contract::message::PerformMessage;
use windlass_domain::ids::AgentId;
use windlass_domain::limits::CHECK_AFTER_MS;
use windlass_domain::run::{ActionStatus, Run};
use windlass_domain::time::{Millis, Timestamp};

use super::hold::Key;
use super::{Agent, Inner};
use crate::ports::PortError;

/// The agent's decision about a message that it has received.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Admission {
    /// Begin it, with that fence; it takes up the work at this checkpoint.
    Begin(u64, Option<Value>, Right),
    /// Claim it first.
    Claim,
    /// Its run is being cancelled, or it alone was killed: report that no agent began it.
    Cancelled,
    /// No agent needs it: delete it.
    Delete,
}

/// The right by which an attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Its message is fresh until then, by the clock that stamps messages.
    Fresh(Timestamp),
    /// The record wanted it when it was read, at that time of the clock that goes on.
    Read(std::time::Duration),
    /// The process manager has confirmed the claim.
    Confirmed,
}

impl Agent {
    /// Decides about that delivery of a message; reads the run's record if the message is not fresh.
    pub(super) async fn admission(&self, message: &PerformMessage, key: Key) -> Result<Admission, PortError> {
        let Inner { ports, settings, .. } = &*self.inner;
        if !key.delivery.is_first() {
            return Ok(Admission::Claim);
        }
        let fresh_until = message.queued_at.plus(Millis(CHECK_AFTER_MS));
        let now = ports.clock.stamp();
        if now <= fresh_until {
            return Ok(Admission::Begin(message.fence, message.checkpoint.clone(), Right::Fresh(fresh_until)));
        }
        let may_have_been_received = now.since(message.queued_at).as_duration() >= settings.visibility;
        if may_have_been_received || self.may_wait_too_long(message).await? {
            return Ok(Admission::Claim);
        }
        self.look(message, key).await
    }

    /// Whether its wait in the pool has a bound: then the process manager decides whether it begins in time.
    async fn may_wait_too_long(&self, message: &PerformMessage) -> Result<bool, PortError> {
        let definition = self.inner.definitions.get(&message.task, message.version).await?;
        let action = definition.actions.get(message.of.action.as_usize());
        Ok(action.is_some_and(|action| action.queue_timeout.is_some()))
    }

    /// A record that was read a moment ago may say that the message is wanted. If it says otherwise it may be older
    /// than the message, so the agent reads it again.
    async fn look(&self, message: &PerformMessage, key: Key) -> Result<Admission, PortError> {
        let Inner { ports, records, .. } = &*self.inner;
        if let Some((read_at, run)) = records.lately(ports, message.run).await? {
            let judged = judge(&run, key, Right::Read(read_at));
            if matches!(judged, Admission::Begin(..)) {
                return Ok(judged);
            }
        }
        let read_at = ports.clock.elapsed();
        let run = ports.runs.load(&message.run).await?;
        Ok(run.map_or(Admission::Delete, |run| judge(&run, key, Right::Read(read_at))))
    }

    /// How many agents the action has cost, this agent's claim included.
    pub(super) async fn losses(&self, message: &PerformMessage, key: Key) -> usize {
        if key.delivery.is_first() {
            return message.losses;
        }
        let agent: &AgentId = &self.inner.settings.id;
        let run = self.inner.records.lately(&self.inner.ports, message.run).await;
        // Without the record, the message and the answer to the claim say so.
        let run = run.ok().flatten().map(|(_, run)| run).filter(|run| key.action.as_usize() < run.actions.len());
        run.map_or(message.losses, |run| {
            let state = run.action(key.action);
            state.losses.len()
                + usize::from(windlass_domain::attempt::loss_by_claim(state, key.delivery, agent).is_some())
        })
    }
}

/// An agent deletes a message on a look at the record alone only if its attempt is over.
fn judge(run: &Run, key: Key, right: Right) -> Admission {
    if run.status.is_final() || key.action.as_usize() >= run.actions.len() {
        return Admission::Delete;
    }
    let state = run.action(key.action);
    let is_over = state.attempt() > key.delivery.attempt || !state.status.is_in_flight();
    if is_over {
        return if state.attempt() >= key.delivery.attempt { Admission::Delete } else { Admission::Claim };
    }
    let is_wanted = state.status == ActionStatus::Queued && state.owner.is_none() && state.last <= key.delivery;
    if !is_wanted || state.attempt() != key.delivery.attempt {
        return Admission::Claim;
    }
    let is_open = run.status.goes_on() && state.kill.is_none();
    if is_open { Admission::Begin(state.fence, state.checkpoint.clone(), right) } else { Admission::Cancelled }
}
