//! Whether a message that came before, or waited, may still be performed.
//!
//! The first delivery of a fresh message begins at once. Any other is held against the record: a redelivery claims
//! (and gets a higher fence), a message that waited is looked up, for its run may have been cancelled meanwhile.

use serde_json::Value;
use windlass_contract::message::PerformMessage;
use windlass_domain::ids::AgentId;
use windlass_domain::limits::CHECK_AFTER_MS;
use windlass_domain::run::{ActionAt, ActionStatus, Input, Run, RunStatus};
use windlass_domain::sabotage::{Bug, sabotaged};

use crate::Ports;
use crate::advance::{Advanced, advance};
use crate::definitions::Definitions;
use crate::ports::PortError;

use super::records::Records;

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Admission {
    /// Perform it, and report with this fence; it takes up the work at this checkpoint.
    Perform(ActionAt, Option<Value>),
    /// Its run is being cancelled: report that it was never begun.
    Cancelled,
    /// It is of no use any more: delete it.
    Drop,
}

pub(super) async fn admit(
    ports: &Ports,
    definitions: &Definitions,
    records: &Records,
    agent: &AgentId,
    message: &PerformMessage,
    receive_count: u32,
) -> Result<Admission, PortError> {
    let redelivered = receive_count > 1;
    if (redelivered || message.claim) && !sabotaged(Bug::BeginUnasked) {
        return claim(ports, definitions, agent, message, redelivered).await;
    }
    if ports.clock.now().since(message.queued_at).0 > CHECK_AFTER_MS && !sabotaged(Bug::NeverLook) {
        return check(ports, records, message).await;
    }
    Ok(Admission::Perform(message.of, message.checkpoint.clone()))
}

async fn claim(
    ports: &Ports,
    definitions: &Definitions,
    agent: &AgentId,
    message: &PerformMessage,
    redelivered: bool,
) -> Result<Admission, PortError> {
    let of = message.of;
    let claim = Input::Claim { of, agent: agent.clone(), redelivered, copy: message.copy };
    let Advanced::Decided { run, answers } = advance(ports, definitions, message.run, &[claim], None).await? else {
        return Ok(Admission::Drop);
    };
    if answers.iter().any(Option::is_some) {
        return Ok(Admission::Drop);
    }
    let state = run.action(of.action);
    let is_mine = state.status == ActionStatus::Running && state.agent.as_ref() == Some(agent);
    let of = ActionAt { fence: state.fence, ..of };
    Ok(if is_mine { Admission::Perform(of, state.checkpoint.clone()) } else { Admission::Drop })
}

/// A record that was read a moment ago may say that the message is wanted: whoever begins at once does not even look.
/// One that says otherwise may be older than the message, so it is read anew.
async fn check(ports: &Ports, records: &Records, message: &PerformMessage) -> Result<Admission, PortError> {
    if let Some(run) = records.lately(ports.runs.as_ref(), message.run).await? {
        let judged = judge(&run, message.of);
        if matches!(judged, Admission::Perform(..)) {
            return Ok(judged);
        }
    }
    let run = ports.runs.load(message.run).await?;
    Ok(run.map_or(Admission::Drop, |run| judge(&run, message.of)))
}

fn judge(run: &Run, of: ActionAt) -> Admission {
    if of.action.as_usize() >= run.actions.len() {
        return Admission::Drop;
    }
    let state = run.action(of.action);
    let is_wanted = state.status == ActionStatus::Queued && state.attempt == of.attempt && state.fence == of.fence;
    match run.status {
        RunStatus::Running | RunStatus::Paused if is_wanted => Admission::Perform(of, state.checkpoint.clone()),
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
