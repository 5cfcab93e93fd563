//! Whether agents stop what they could not keep: an attempt whose message may be with another agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windlass_contract::message::{PerformMessage, decode};
use windlass_domain::ids::{ActionIndex, RunId};
use windlass_domain::run::{ActionState, ActionStatus, Run};
use windlass_engine::perform::{Attempt, AttemptControl};
use windlass_engine::ports::Received as Delivered;

use super::life::Life;
use super::witness::{SW17, SW18, Witness};

/// An attempt of an action of a run, under whatever fence.
type Key = (RunId, ActionIndex, u32);

/// Who has which message, and who performs what.
#[derive(Default)]
pub(super) struct Keeping {
    /// The messages of each attempt, by their numbers, each with the agent that received it last.
    received: BTreeMap<Key, BTreeMap<String, Received>>,
    performed: BTreeMap<Key, Vec<Performed>>,
}

struct Received {
    by: Arc<Life>,
    /// How often the message has been received.
    times: u32,
}

struct Performed {
    by: Arc<Life>,
    stop: CancellationToken,
}

impl Keeping {
    /// An agent has received a message; gives who goes on with its attempt all the same, untold to stop.
    fn received(&mut self, by: &Arc<Life>, delivery: &Delivered) -> Option<Arc<Life>> {
        let message = decode::<PerformMessage>(&delivery.body).ok()?;
        let number = delivery.id.clone();
        let key = (message.run, message.of.action, message.of.attempt);
        let messages = self.received.entry(key).or_default();
        let received = Received { by: by.clone(), times: delivery.receive_count };
        let before = messages.insert(number, received)?.by;
        // Who has received another message of the attempt may perform that one.
        let has_another = messages.values().any(|other| Arc::ptr_eq(&other.by, &before));
        let is_its = |one: &Performed| Arc::ptr_eq(&one.by, &before);
        (!has_another && self.goes_on(key, is_its)).then_some(before)
    }

    /// Whether the attempt has one message, and the agent on record has it by the last delivery: one that received it
    /// again, and has not claimed it since, has it by an earlier one.
    fn only_holder(&self, key: Key, state: &ActionState) -> bool {
        let messages = self.received.get(&key).filter(|messages| messages.len() == 1);
        let has_it = |last: &Received| is_of(state, &last.by) && state.last.receive.max(1) == last.times;
        messages.is_some_and(|messages| messages.values().all(has_it))
    }

    /// Whether such a one performs the attempt, untold to stop.
    fn goes_on(&self, key: Key, such: impl Fn(&Performed) -> bool) -> bool {
        let performed = self.performed.get(&key).into_iter().flatten();
        performed.filter(|one| !one.by.is_dead() && !one.stop.is_cancelled()).any(such)
    }
}

/// Whether that agent has it, by the record.
fn is_of(state: &ActionState, life: &Life) -> bool {
    state.agent().is_some_and(|agent| agent.as_str() == life.name.replace('.', "-"))
}

fn is_leased(state: &ActionState) -> bool {
    state.owner.as_ref().is_some_and(|owner| owner.until.is_some())
}

fn key_of(attempt: &Attempt) -> Key {
    (attempt.run, attempt.of.action, attempt.of.attempt)
}

impl Witness {
    /// An agent has received the message of an attempt.
    pub(super) fn received(&mut self, by: &Arc<Life>, delivery: &Delivered) {
        if let Some(other) = self.keeping.received(by, delivery)
            && !self.is_leased(&other, delivery)
        {
            let (goes_on, received, body) = (&other.name, &by.name, &delivery.body);
            self.breaks(SW17, format!("{goes_on} goes on with what {received} has received: {body}"));
        }
    }

    /// Whether the record keeps the attempt for that agent, which then needs no message.
    fn is_leased(&self, to: &Life, delivery: &Delivered) -> bool {
        let Ok(message) = decode::<PerformMessage>(&delivery.body) else { return false };
        self.runs.get(&message.run).is_some_and(|seen| {
            let state = seen.record.action(message.of.action);
            is_leased(state) && is_of(state, to)
        })
    }

    /// Whoever had a lease has stopped before the attempt is anybody else's, and whoever claims has its message.
    pub(super) fn look_at_owners(&mut self, before: &Run, after: &Run, action: ActionIndex) {
        let (was, is) = (before.action(action), after.action(action));
        let key = (after.id, action, was.attempt());
        if is.attempt() != was.attempt() || is.fence <= was.fence {
            return;
        }
        if is_leased(was) && self.keeping.goes_on(key, |one| is_of(was, &one.by)) {
            let (agent, run) = (was.agent(), after.id);
            self.breaks(SW17, format!("{agent:?} goes on with action {} of run {run}, its lease is over", action.0));
        }
        let is_by_no_later_one = is.last <= was.last;
        let is_taken = is.status == ActionStatus::Running && is.agent() != was.agent();
        // What is performed by one message is not to be had by another.
        let message = |state: &ActionState| state.owner.as_ref().map(|owner| owner.message);
        let is_by_another = was.status == ActionStatus::Running && !is_leased(was) && message(is) != message(was);
        if is_taken && (is_by_no_later_one || is_by_another || self.keeping.only_holder(key, was)) {
            let (had, took) = (was.agent(), is.agent());
            self.breaks(SW18, format!("run {}: {took:?} takes action {} from {had:?}", after.id, action.0));
        }
    }

    pub(super) fn performs(&mut self, by: &Arc<Life>, attempt: &Attempt, control: &AttemptControl) {
        let performed = Performed { by: by.clone(), stop: control.stop.clone() };
        self.keeping.performed.entry(key_of(attempt)).or_default().push(performed);
    }

    pub(super) fn has_performed(&mut self, by: &Arc<Life>, attempt: &Attempt) {
        if let Some(performed) = self.keeping.performed.get_mut(&key_of(attempt))
            && let Some(at) = performed.iter().position(|one| Arc::ptr_eq(&one.by, by))
        {
            performed.remove(at);
        }
    }
}
