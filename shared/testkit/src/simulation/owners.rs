//! Whether agents stop attempts that they could not keep, because another agent may have the message.

use std::sync::Arc;

use windlass_contract::message::{PerformMessage, decode};
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{ActionState, ActionStatus, Run};
use windlass_engine::ports::Received;

use super::catalogue::{SW17, SW18};
use super::keeping::is_of;
use super::life::Life;
use super::witness::Witness;

impl Witness {
    /// An agent has received the message of an attempt.
    pub(super) fn received(&mut self, by: &Arc<Life>, delivery: &Received) {
        if let Some(other) = self.keeping.received(by, delivery)
            && !self.is_leased(&other, delivery)
        {
            let (goes_on, received, body) = (&other.name, &by.name, &delivery.body);
            self.breaks(SW17, format!("{goes_on} goes on with what {received} has received: {body}"));
        }
    }

    /// Whether the record keeps the attempt for that agent, which then needs no message.
    fn is_leased(&self, to: &Life, delivery: &Received) -> bool {
        let Ok(message) = decode::<PerformMessage>(&delivery.body) else { return false };
        self.runs.get(&message.run).is_some_and(|seen| {
            let state = seen.record.action(message.of.action);
            is_leased(state) && is_of(state, to)
        })
    }

    /// An owner with a lease stops before another agent gets the attempt, and a claiming agent has the attempt's
    /// message.
    pub(super) fn look_at_owners(&mut self, before: &Run, after: &Run, action: ActionIndex) {
        let (was, is) = (before.action(action), after.action(action));
        let key = (after.id, action, was.attempt());
        if is.attempt() != was.attempt() || is.fence <= was.fence {
            return;
        }
        if is_leased(was) && self.keeping.goes_on(key, |by| is_of(was, by)) {
            let (agent, run) = (was.agent(), after.id);
            self.breaks(SW17, format!("{agent:?} goes on with action {} of run {run}, its lease is over", action.0));
        }
        let is_by_no_later_one = is.last <= was.last;
        let is_taken = is.status == ActionStatus::Running && is.agent() != was.agent();
        // While an agent performs by one message, no agent can take the attempt by another message.
        let message = |state: &ActionState| state.owner.as_ref().map(|owner| owner.message);
        let is_by_another = was.status == ActionStatus::Running && !is_leased(was) && message(is) != message(was);
        if is_taken && (is_by_no_later_one || is_by_another || self.keeping.only_holder(key, was)) {
            let (had, took) = (was.agent(), is.agent());
            self.breaks(SW18, format!("run {}: {took:?} takes action {} from {had:?}", after.id, action.0));
        }
    }
}

fn is_leased(state: &ActionState) -> bool {
    state.owner.as_ref().is_some_and(|owner| owner.until.is_some())
}
