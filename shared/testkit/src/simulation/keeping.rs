//! Whether agents stop what they could not keep: an attempt whose message may be with another agent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windlass_contract::message::{PerformMessage, decode};
use windlass_domain::ids::{ActionIndex, RunId};
use windlass_engine::perform::{Attempt, AttemptControl};
use windlass_engine::ports::Delivery;

use super::life::Life;
use super::witness::{SW17, Witness};

/// An attempt of an action of a run, under whatever fence.
type Key = (RunId, ActionIndex, u32);

/// Who has which message, and who performs what.
#[derive(Default)]
pub(super) struct Keeping {
    /// The messages of each attempt, by their numbers, each with the agent that received it last.
    received: BTreeMap<Key, BTreeMap<String, Arc<Life>>>,
    /// Attempts of which an agent has sent a copy: it may hold another message than it received.
    copied: BTreeSet<Key>,
    performed: BTreeMap<Key, Vec<Performed>>,
}

struct Performed {
    by: Arc<Life>,
    stop: CancellationToken,
}

impl Keeping {
    /// An agent has received a message; gives who goes on with its attempt all the same, untold to stop.
    fn received(&mut self, by: &Arc<Life>, delivery: &Delivery) -> Option<Arc<Life>> {
        let message = decode::<PerformMessage>(&delivery.body).ok()?;
        // A receipt of the host in memory is the number of its message, and of the receipt.
        let number = delivery.receipt.0.split('.').next()?.to_owned();
        let key = (message.run, message.of.action, message.of.attempt);
        if message.holder.is_some() {
            self.copied.insert(key);
        }
        let messages = self.received.entry(key).or_default();
        let before = messages.insert(number, by.clone())?;
        // Who has received another message of the attempt may perform that one.
        let has_another = messages.values().any(|other| Arc::ptr_eq(other, &before));
        if has_another || self.copied.contains(&key) || before.is_dead() {
            return None;
        }
        let performed = self.performed.get(&key)?;
        let goes_on = |one: &Performed| Arc::ptr_eq(&one.by, &before) && !one.stop.is_cancelled();
        performed.iter().any(goes_on).then_some(before)
    }
}

fn key_of(attempt: &Attempt) -> Key {
    (attempt.run, attempt.of.action, attempt.of.attempt)
}

impl Witness {
    /// An agent has received the message of an attempt.
    pub(super) fn received(&mut self, by: &Arc<Life>, delivery: &Delivery) {
        if let Some(other) = self.keeping.received(by, delivery) {
            let (goes_on, received, body) = (&other.name, &by.name, &delivery.body);
            self.breaks(SW17, format!("{goes_on} goes on with what {received} has received: {body}"));
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
