//! The queues of the host.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use windlass_domain::limits::{MAX_BATCH, MAX_DELAY_MS, MAX_MESSAGE_BYTES};
use windlass_domain::time::Millis;
use windlass_engine::ports::{Outgoing, PortError, QueueName, Queues, Receipt, Received};

use super::queue::{LimitsMet, Queue, QueueLimits, millis};
use super::{Look, MemoryHost, State, check_batch, over_limit};

impl MemoryHost {
    fn limits_of(&self, state: &State, queue: &QueueName) -> QueueLimits {
        match (queue, state.pool_limits) {
            // A message that was given up is not given up again.
            _ if self.of_given_up => QueueLimits { receives: None, ..state.limits },
            (QueueName::Pool(_), Some(limits)) => limits,
            (
                QueueName::Pool(_)
                | QueueName::Inbox
                | QueueName::Claims
                | QueueName::Control { .. }
                | QueueName::DeadLetter,
                _,
            ) => state.limits,
        }
    }

    fn queues<'s>(&self, state: &'s mut State) -> (&'s mut BTreeMap<QueueName, Queue>, &'s mut LimitsMet) {
        (if self.of_given_up { &mut state.given_up } else { &mut state.queues }, &mut state.met)
    }
}

#[async_trait]
impl Queues for MemoryHost {
    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        check_batch(batch.len())?;
        batch.iter().try_for_each(check_outgoing)?;
        self.write_queue(queue, |state, now| {
            for message in batch {
                state.sent += 1;
                let number = state.sent;
                self.queues(state).0.entry(queue.clone()).or_default().add(number, message, now);
            }
        });
        Ok(())
    }

    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, PortError> {
        if !(1..=MAX_BATCH).contains(&most) {
            return Err(over_limit(format!("receive {most} messages: 1 to {MAX_BATCH} can be asked for")));
        }
        let changed = self.state().changed.entry(queue.clone()).or_default().clone();
        let received = self.look_until(&changed, wait, |state, now| {
            let limits = self.limits_of(state, queue);
            let (queues, met) = self.queues(state);
            let Some(found) = queues.get_mut(queue) else {
                return Look::Nothing { last: Vec::new(), again_at: None };
            };
            let given_up = found.give_up(now, limits);
            let received = found.receive(most, visibility, now, limits, met);
            met.given_up.extend(given_up.values().map(|message| message.body.clone()));
            let again_at = found.next_visible(now);
            if !given_up.is_empty() {
                state.given_up.entry(queue.clone()).or_default().messages.extend(given_up);
            }
            if received.is_empty() {
                return Look::Nothing { last: received, again_at };
            }
            Look::Found(received)
        });
        Ok(received.await)
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        check_batch(batch.len())?;
        Ok(self.write_queue(queue, |state, now| {
            let limits = self.limits_of(state, queue);
            let (queues, met) = self.queues(state);
            let Some(queue) = queues.get_mut(queue) else { return Vec::new() };
            let mut good = Vec::new();
            for (receipt, visibility) in batch {
                let Some((_, message)) = queue.of(&receipt) else { continue };
                if message.may_be_hidden_until(now.plus(millis(visibility)), limits) {
                    message.visible_at = now.plus(millis(visibility));
                    good.push(receipt);
                } else {
                    met.hidden += 1;
                }
            }
            good
        }))
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        check_batch(batch.len())?;
        self.write_queue(queue, |state, _| {
            let Some(queue) = self.queues(state).0.get_mut(queue) else { return };
            for receipt in &batch {
                if let Some((number, _)) = queue.of(receipt) {
                    queue.messages.remove(&number);
                }
            }
        });
        Ok(())
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        self.write_queue(queue, |state, _| self.queues(state).0.remove(queue));
        Ok(())
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        let mut state = self.state();
        let now = state.clock.now();
        let messages = self.queues(&mut state).0.get(queue).map(|queue| queue.messages.values());
        let visible = messages.into_iter().flatten().filter(|message| message.visible_at <= now).count();
        Ok(u64::try_from(visible).unwrap_or(u64::MAX))
    }
}

fn check_outgoing(message: &Outgoing) -> Result<(), PortError> {
    if message.body.len() > MAX_MESSAGE_BYTES {
        let bytes = message.body.len();
        return Err(over_limit(format!("send a message of {bytes} bytes: at most {MAX_MESSAGE_BYTES} are sent")));
    }
    if message.delay.0 > MAX_DELAY_MS {
        let (delay, most) = (message.delay, Millis(MAX_DELAY_MS));
        return Err(over_limit(format!("delay a message by {delay}: at most {most} is possible")));
    }
    Ok(())
}
