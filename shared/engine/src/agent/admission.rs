//! Whether a message that came before, or waited, may still be performed.
//!
//! The first delivery of a fresh message begins at once. Any other is held against the record: a redelivery claims
//! (and gets a higher fence), a message that waited is looked up, for its run may have been cancelled meanwhile.

use serde_json::Value;
use tokio::time::Instant;
use windlass_contract::message::PerformMessage;
use windlass_domain::decide::Rejection;
use windlass_domain::ids::RunId;
use windlass_domain::limits::CHECK_AFTER_MS;
use windlass_domain::run::{ActionAt, ActionState, ActionStatus, Input, Run, RunStatus};
use windlass_domain::sabotage::{Bug, sabotaged};
use windlass_domain::time::{Millis, Timestamp};

use super::claims::Claimed;
use super::{Agent, Inner};
use crate::ports::PortError;

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Admission {
    /// Perform it, and report with this fence; it takes up the work at this checkpoint.
    Perform(ActionAt, Option<Value>, Right),
    /// Its run is being cancelled, or it alone was killed: report that it was never begun.
    Cancelled,
    /// It is of no use any more: delete it.
    Drop,
    /// Its queue has delivered it to another since: leave it to that one.
    Leave,
}

/// By what an attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Its message is fresh until then.
    Fresh(Timestamp),
    /// The record wanted it when it was read, then.
    Read(Instant),
    /// The record says that this agent has it.
    Claimed,
}

impl Agent {
    /// What is to be done with a message that was received so often.
    pub(super) async fn admission(&self, message: &PerformMessage, received: u32) -> Result<Admission, PortError> {
        let redelivered = received > 1;
        if (redelivered || message.claim) && !sabotaged(Bug::BeginUnasked) {
            return self.claim(message, received).await;
        }
        let perform = |right| Admission::Perform(message.of, message.checkpoint.clone(), right);
        let fresh_until = message.queued_at.plus(Millis(CHECK_AFTER_MS));
        if self.inner.ports.clock.now() <= fresh_until {
            return Ok(perform(Right::Fresh(fresh_until)));
        }
        if sabotaged(Bug::NeverLook) {
            return Ok(perform(Right::Read(Instant::now())));
        }
        let checked = self.check(message).await?;
        if matches!(checked, Admission::Perform(..)) && self.may_wait_too_long(message).await? {
            // It may have waited too long just after the record was read: the record decides which comes first.
            return self.claim(message, received).await;
        }
        Ok(checked)
    }

    /// Whether how long it waits in its pool is bounded.
    async fn may_wait_too_long(&self, message: &PerformMessage) -> Result<bool, PortError> {
        let definition = self.inner.definitions.get(&message.task, message.version).await?;
        let action = message.of.action.as_usize();
        Ok(definition.actions.get(action).is_some_and(|action| action.queue_timeout.is_some()))
    }

    /// Whether an attempt that took long to prepare may begin all the same. It was admitted before, so it may be that the
    /// record knows that this agent has it, and waits for it however long it takes to prepare.
    pub(super) async fn admission_again(&self, run: RunId, of: ActionAt) -> Result<Admission, PortError> {
        let read_at = Instant::now();
        let run = self.inner.ports.runs.load(run).await?;
        // A message that began as a fresh one has not been held against any record yet.
        let Some(run) = run.filter(|run| of.action.as_usize() < run.actions.len()) else { return Ok(Admission::Drop) };
        let state = run.action(of.action);
        let is_open = matches!(run.status, RunStatus::Running | RunStatus::Paused) && state.kill.is_none();
        if self.performs(state) && (state.attempt, state.fence) == (of.attempt, of.fence) {
            let perform = Admission::Perform(of, state.checkpoint.clone(), Right::Claimed);
            return Ok(if is_open { perform } else { Admission::Cancelled });
        }
        Ok(judge(&run, of, read_at))
    }

    async fn claim(&self, message: &PerformMessage, received: u32) -> Result<Admission, PortError> {
        let Inner { ports, definitions, claims, settings, .. } = &*self.inner;
        let of = message.of;
        let claim = Input::Claim { of, agent: settings.id.clone(), received, copy: message.copy, again: false };
        let claimed = claims.commit(ports, definitions, message.run, claim).await?;
        let Some(Claimed { run, refused, told }) = claimed else { return Ok(Admission::Drop) };
        match refused {
            Some(Rejection::Redelivered) => return Ok(Admission::Leave),
            Some(_) => return Ok(Admission::Drop),
            None => {}
        }
        let state = run.action(of.action);
        if !self.performs(state) {
            // It has ended by the claim: what that leads to must be sent before its message is deleted.
            return told.map(|()| Admission::Drop);
        }
        if let Err(error) = told {
            tracing::warn!(run.id = %message.run, error.code = error.code, error = %error, "failed to tell all of a claim");
        }
        let of = ActionAt { fence: state.fence, ..of };
        Ok(Admission::Perform(of, state.checkpoint.clone(), Right::Claimed))
    }

    /// Whether the record says that it runs on this agent.
    fn performs(&self, state: &ActionState) -> bool {
        state.status == ActionStatus::Running && state.agent.as_ref() == Some(&self.inner.settings.id)
    }

    /// A record that was read a moment ago may say that the message is wanted: whoever begins at once does not even look.
    /// One that says otherwise may be older than the message, so it is read anew.
    async fn check(&self, message: &PerformMessage) -> Result<Admission, PortError> {
        let Inner { ports, records, .. } = &*self.inner;
        let read_at = Instant::now();
        if let Some(run) = records.lately(ports.runs.as_ref(), message.run).await? {
            let judged = judge(&run, message.of, read_at);
            if matches!(judged, Admission::Perform(..)) {
                return Ok(judged);
            }
        }
        let read_at = Instant::now();
        let run = ports.runs.load(message.run).await?;
        Ok(run.map_or(Admission::Drop, |run| judge(&run, message.of, read_at)))
    }
}

fn judge(run: &Run, of: ActionAt, read_at: Instant) -> Admission {
    if of.action.as_usize() >= run.actions.len() {
        return Admission::Drop;
    }
    let state = run.action(of.action);
    let is_wanted = state.status == ActionStatus::Queued && state.attempt == of.attempt && state.fence == of.fence;
    match run.status {
        RunStatus::Running | RunStatus::Paused if is_wanted && state.kill.is_some() => Admission::Cancelled,
        RunStatus::Running | RunStatus::Paused if is_wanted => {
            Admission::Perform(of, state.checkpoint.clone(), Right::Read(read_at))
        }
        RunStatus::Cancelling if is_wanted => Admission::Cancelled,
        RunStatus::Submitted
        | RunStatus::Running
        | RunStatus::Paused
        | RunStatus::Cancelling
        | RunStatus::Succeeded
        | RunStatus::SucceededWithFaults
        | RunStatus::Failed
        | RunStatus::TimedOut
        | RunStatus::Cancelled => Admission::Drop,
    }
}
