//! A queue with SQS's visibility, delay and receive count. Messages are received in the order in which they became
//! visible, which no caller may count on.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_domain::ids::RunId;
use windlass_domain::run::ActionAt;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::ports::{Outgoing, Receipt, Received, Sender};

/// The limits of a queue. The default is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueueLimits {
    /// How long a message may be hidden after it was received, however often that is extended.
    pub hidden: Option<Millis>,
    /// How many messages of a queue may be hidden after they were received, before further ones are.
    pub in_flight: Option<usize>,
    /// How long after it was sent a message is dropped.
    pub retention: Option<Millis>,
    /// How often a message is received before its queue gives it up (`maxReceiveCount` of a redrive policy).
    pub receives: Option<u32>,
}

impl QueueLimits {
    /// Those of a standard queue of SQS: 12 hours, 120,000 messages, and by default 4 days (Amazon SQS Developer Guide,
    /// "Message quotas").
    pub const SQS: Self = Self {
        hidden: Some(Millis(12 * 3_600_000)),
        in_flight: Some(120_000),
        retention: Some(Millis(4 * 24 * 3_600_000)),
        receives: None,
    };
    /// Those of the queues in `infra/`: kept for 14 days, given up after 120 receives.
    pub const STACK: Self = Self { retention: Some(Millis(14 * 24 * 3_600_000)), receives: Some(120), ..Self::SQS };
}

/// The messages that met a limit of a queue.
#[derive(Debug, Clone, Default)]
pub struct LimitsMet {
    /// Extensions that were refused.
    pub hidden: u64,
    /// Receives that got less than there was.
    pub in_flight: u64,
    /// Messages that were dropped.
    pub retention: u64,
    /// The bodies of the messages that were given up.
    pub given_up: Vec<String>,
}

#[derive(Default)]
pub(super) struct Queue {
    /// By the number of the sending, which is unique on the host.
    pub(super) messages: BTreeMap<u64, Message>,
}

pub(super) struct Message {
    pub(super) body: String,
    about: Option<About>,
    sent_at: Timestamp,
    pub(super) visible_at: Timestamp,
    received_at: Option<Timestamp>,
    receive_count: u32,
}

/// The run and the attempt that a message names.
#[derive(serde::Deserialize)]
struct About {
    run: RunId,
    /// The attempt that an agent should perform. Absent: the message is a report, or about the whole run.
    of: Option<ActionAt>,
}

impl Message {
    pub(super) fn may_be_hidden_until(&self, until: Timestamp, limits: QueueLimits) -> bool {
        let end = limits.hidden.and_then(|most| Some(self.received_at?.plus(most)));
        end.is_none_or(|end| until <= end)
    }
}

impl Queue {
    /// Adds a message that was sent now.
    pub(super) fn add(&mut self, number: u64, message: Outgoing, now: Timestamp) {
        let Outgoing { body, delay } = message;
        let (about, visible_at) = (serde_json::from_str(&body).ok(), now.plus(delay));
        let message = Message { body, about, sent_at: now, visible_at, received_at: None, receive_count: 0 };
        self.messages.insert(number, message);
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        self.all().map(str::to_owned).collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.messages.values().map(|message| message.body.as_str())
    }

    /// The attempt of each message about that run.
    pub(super) fn all_of(&self, run: RunId) -> impl Iterator<Item = Option<ActionAt>> {
        let about = self.messages.values().filter_map(|message| message.about.as_ref());
        about.filter(move |about| about.run == run).map(|about| about.of)
    }

    /// Removes the messages that the queue gives up instead of delivering them once more.
    pub(super) fn give_up(&mut self, now: Timestamp, limits: QueueLimits) -> BTreeMap<u64, Message> {
        let Some(most) = limits.receives else { return BTreeMap::new() };
        let is_worn = |message: &Message| message.visible_at <= now && message.receive_count >= most;
        let worn: Vec<u64> = self.messages.iter().filter(|(_, message)| is_worn(message)).map(|(at, _)| *at).collect();
        let removed = worn.into_iter().filter_map(|number| Some((number, self.messages.remove(&number)?)));
        removed.map(|(number, message)| (number, Message { receive_count: 0, received_at: None, ..message })).collect()
    }

    pub(super) fn receive(
        &mut self,
        most: usize,
        visibility: Duration,
        now: Timestamp,
        limits: QueueLimits,
        met: &mut LimitsMet,
    ) -> Vec<Received> {
        let oldest = self.messages.values().next().map(|message| message.sent_at);
        if let Some(retention) = limits.retention.filter(|most| oldest.is_some_and(|at| now >= at.plus(*most))) {
            let before = self.messages.len();
            self.messages.retain(|_, message| now < message.sent_at.plus(retention));
            met.retention += (before - self.messages.len()) as u64;
        }
        let is_in_flight = |message: &&Message| message.received_at.is_some() && message.visible_at > now;
        let in_flight = || self.messages.values().filter(is_in_flight).count();
        let allowed = limits.in_flight.map_or(most, |limit| most.min(limit.saturating_sub(in_flight())));
        let visible = self.messages.iter().filter(|(_, message)| message.visible_at <= now);
        let mut numbers: Vec<_> = visible.map(|(number, message)| (message.visible_at, *number)).collect();
        numbers.sort_unstable();
        met.in_flight += u64::from(allowed < most.min(numbers.len()));
        let most = allowed;
        let taken = numbers.into_iter().take(most);
        taken.filter_map(|(_, number)| self.take(number, visibility, now)).collect()
    }

    fn take(&mut self, number: u64, visibility: Duration, now: Timestamp) -> Option<Received> {
        let message = self.messages.get_mut(&number)?;
        message.receive_count += 1;
        message.visible_at = now.plus(millis(visibility));
        message.received_at = Some(now);
        Some(Received {
            receipt: receipt(number, message.receive_count),
            id: number.to_string(),
            sender: Sender::Host,
            body: message.body.clone(),
            receive_count: message.receive_count,
            sent_at: message.sent_at,
        })
    }

    /// The message of a receipt that has not been replaced.
    pub(super) fn of(&mut self, of: &Receipt) -> Option<(u64, &mut Message)> {
        let (number, _) = of.0.split_once('.')?;
        let number = number.parse().ok()?;
        let message = self.messages.get_mut(&number)?;
        (message.receive_count > 0 && receipt(number, message.receive_count) == *of).then_some((number, message))
    }

    /// When the next hidden message becomes visible.
    pub(super) fn next_visible(&self, now: Timestamp) -> Option<Timestamp> {
        self.messages.values().map(|message| message.visible_at).filter(|at| *at > now).min()
    }
}

fn receipt(number: u64, receive_count: u32) -> Receipt {
    Receipt(format!("{number}.{receive_count}"))
}

pub(super) fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
