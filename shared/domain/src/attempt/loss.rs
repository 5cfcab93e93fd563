//! Agents that were lost while they had an attempt.
//!
//! A claim that displaces an owner says that this owner was lost, maybe because of the very attempt. If the displaced agent
//! says anything afterwards, it was not lost. An action that costs too many agents is poison, and does not begin again.

use super::state::ActionState;
use crate::delivery::Delivery;
use crate::ids::AgentId;
use crate::limits::{MAX_LOSSES, SUSPECT_LOSSES};

/// The delivery whose agent a confirmed claim says was lost; none: it displaces no other agent.
///
/// The first claim of a first message that was received before displaces an agent that may have begun without asking.
pub fn loss_by_claim(state: &ActionState, claim: Delivery, agent: &AgentId) -> Option<Delivery> {
    match &state.owner {
        Some(owner) if owner.agent == *agent => None,
        Some(_) => Some(state.last),
        None if claim.issue == 0 && claim.receive > 1 => Some(Delivery { receive: claim.receive - 1, ..claim }),
        None => None,
    }
}

/// The losses that a word by this delivery disproves.
pub(crate) fn disproved(state: &ActionState, delivery: Delivery) -> Option<Delivery> {
    let is_same = |lost: &&Delivery| {
        // An agent that began unasked may have received the message earlier than the receipt that was written down.
        let began_unasked = lost.issue == 0 && delivery.attempt == lost.attempt && delivery.issue == 0;
        **lost == delivery || began_unasked && delivery.receive < lost.receive
    };
    state.losses.iter().find(is_same).copied()
}

/// Whether the action is to begin beside few others, by an agent that was confirmed.
pub fn is_suspect(state: &ActionState) -> bool {
    state.losses.len() >= SUSPECT_LOSSES
}

/// Whether one more loss makes the action poison.
pub fn is_poison(state: &ActionState) -> bool {
    state.losses.len() + 1 >= MAX_LOSSES
}
