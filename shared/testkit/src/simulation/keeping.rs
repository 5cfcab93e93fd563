//! Which agent has which message, and which performs what.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windlass_contract::message::{PerformMessage, decode};
use windlass_domain::ids::{ActionIndex, RunId};
use windlass_domain::run::ActionState;
use windlass_engine::perform::{Attempt, AttemptControl};
use windlass_engine::ports::Received as Delivered;

use super::life::Life;

/// An attempt of an action of a run, under any fence.
type Key = (RunId, ActionIndex, u32);

/// The holders of messages, and the performers of attempts.
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
    /// An agent has received a message. Gives the agent that goes on with its attempt all the same, without an order to
    /// stop.
    pub(super) fn received(&mut self, by: &Arc<Life>, delivery: &Delivered) -> Option<Arc<Life>> {
        let message = decode::<PerformMessage>(&delivery.body).ok()?;
        let number = delivery.id.clone();
        let key = (message.run, message.of.action, message.of.attempt);
        let messages = self.received.entry(key).or_default();
        let received = Received { by: by.clone(), times: delivery.receive_count };
        let before = messages.insert(number, received)?.by;
        // An agent that has received another message of the attempt may perform that one.
        let has_another = messages.values().any(|other| Arc::ptr_eq(&other.by, &before));
        let is_its = |by: &Arc<Life>| Arc::ptr_eq(by, &before);
        (!has_another && self.goes_on(key, is_its)).then_some(before)
    }

    /// Whether the attempt has one message, and the owner has it by the last delivery. An owner that received the
    /// message again, and has not claimed it since, has it by an earlier one.
    pub(super) fn only_holder(&self, key: Key, state: &ActionState) -> bool {
        let messages = self.received.get(&key).filter(|messages| messages.len() == 1);
        let has_it = |last: &Received| is_of(state, &last.by) && state.last.receive.max(1) == last.times;
        messages.is_some_and(|messages| messages.values().all(has_it))
    }

    /// Whether such an agent performs the attempt and has no order to stop.
    pub(super) fn goes_on(&self, key: Key, such: impl Fn(&Arc<Life>) -> bool) -> bool {
        let performed = self.performed.get(&key).into_iter().flatten();
        performed.filter(|one| !one.by.is_dead() && !one.stop.is_cancelled()).any(|one| such(&one.by))
    }

    /// An agent has begun an attempt.
    pub(super) fn performs(&mut self, by: &Arc<Life>, attempt: &Attempt, control: &AttemptControl) {
        let performed = Performed { by: by.clone(), stop: control.stop.clone() };
        self.performed.entry(key_of(attempt)).or_default().push(performed);
    }

    /// An agent has left an attempt.
    pub(super) fn has_performed(&mut self, by: &Arc<Life>, attempt: &Attempt) {
        if let Some(performed) = self.performed.get_mut(&key_of(attempt))
            && let Some(at) = performed.iter().position(|one| Arc::ptr_eq(&one.by, by))
        {
            performed.remove(at);
        }
    }
}

/// Whether that agent has it, by the record.
pub(super) fn is_of(state: &ActionState, life: &Life) -> bool {
    state.agent().is_some_and(|agent| agent.as_str() == life.name.replace('.', "-"))
}

fn key_of(attempt: &Attempt) -> Key {
    (attempt.run, attempt.of.action, attempt.of.attempt)
}
